"""The two-step search with a tiny program as trainer, and everything that can go wrong in it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from ml_suite.errors import StudyError
from ml_suite.study.contract import Selection, Shortlist, StudyPlan, TrialState
from tests.jobs.study_rig import Rig, make


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    return make(tmp_path, monkeypatch)


def states(rig: Rig, step: int = 1) -> dict[int, str]:
    return {r.trial: r.state.value for r in rig.records(step)}


def table(rig: Rig) -> bytes:
    rig.study("shortlist")
    return (rig.job.tree.study / "step1.csv").read_bytes()


def wait_for(path: Path, seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} never appeared"
        time.sleep(0.02)


def test_two_steps_end_with_a_winner(rig: Rig) -> None:
    rig.all_shards()
    rig.study("shortlist")
    rig.study("retrain", "--rank", "1")
    rig.study("retrain", "--rank", "2")
    rig.study("select")
    plan = StudyPlan.load(rig.job.tree.plan)
    assert plan.samples == {"training": 45, "subset": 11, "validation": 8, "test": 8}
    chosen = Shortlist.load(rig.job.tree.shortlist)
    assert chosen.states == {TrialState.COMPLETE: 6}
    assert len(chosen.candidates) == 2
    assert chosen.candidates[0].value <= chosen.candidates[1].value
    winner = Selection.load(rig.job.tree.selection)
    assert winner.trial in [c.trial for c in chosen.candidates]
    # all data instead of the subset: the program's value depends on the number of samples
    assert winner.value == pytest.approx((winner.step1_value or 0) - 1 / 11 + 1 / 45)
    assert winner.result.checkpoint is not None
    assert winner.result.checkpoint.path.is_file()


def test_finished_trials_are_not_run_again(rig: Rig) -> None:
    rig.all_shards()
    calls = rig.calls()
    rig.all_shards()
    rig.study("shortlist")
    rig.study("retrain", "--rank", "1")
    rig.study("retrain", "--rank", "1")
    assert sorted(calls) == sorted(f"1/{i}" for i in range(6))
    assert len(rig.calls()) == 7


def test_the_table_is_the_same_for_any_number_of_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = set()
    for shards in (1, 2, 7):
        rig = make(tmp_path / str(shards), monkeypatch, trials=8, shards=shards)
        rig.behave(**{"1/2": "nan", "1/5": "crash"})
        rig.all_shards()
        tables.add(table(rig))
    assert len(tables) == 1
    assert tables.pop().count(b"\n") == 9


def test_every_trial_is_accounted_for_and_costs_its_neighbours_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make(tmp_path, monkeypatch, trials=9, shards=1, trial_walltime="1s")
    rig.behave(
        **{
            "1/1": "nan",
            "1/2": "crash",
            "1/3": "killed",
            "1/4": "killed once",
            "1/5": "hang",
            "1/6": "pruned",
            "1/7": "torn",
            "1/8": "silent",
        }
    )
    rig.all_shards()
    assert states(rig) == {
        0: "complete",
        1: "diverged",
        2: "failed",
        3: "failed",
        4: "complete",
        5: "failed",
        6: "pruned",
        7: "failed",
        8: "failed",
    }
    reasons = {r.trial: r.reason for r in rig.records(1)}
    assert "ValueError: no such layer" in reasons[2]
    assert "SIGKILL twice" in reasons[3]
    assert "walltime of 1 s" in reasons[5]
    assert "outcome.json cannot be read" in reasons[7]
    assert "left no outcome.json" in reasons[8]
    rig.study("shortlist")
    assert Shortlist.load(rig.job.tree.shortlist).states == {
        TrialState.COMPLETE: 2,
        TrialState.PRUNED: 1,
        TrialState.DIVERGED: 1,
        TrialState.FAILED: 5,
    }


def test_a_killed_shard_leaves_nothing_running_and_goes_on(rig: Rig) -> None:
    rig.study("plan")
    rig.behave(**{"1/2": "hang"})
    shard = rig.start("study", "shard", "--shard", "0")
    pid_file = rig.job.tree.trial(1, 2) / "process.json"
    wait_for(pid_file)
    trial = int(pid_file.read_text().split('"pid": ')[1].split(",")[0])
    shard.kill()
    shard.wait()
    until = time.monotonic() + 5
    while Path(f"/proc/{trial}/cmdline").exists() and Path(f"/proc/{trial}/cmdline").read_bytes():
        assert time.monotonic() < until, "the trial outlives its job"
        time.sleep(0.02)
    assert states(rig) == {0: "complete"}
    rig.behave()
    rig.all_shards()
    assert set(states(rig).values()) == {"complete"}
    assert rig.calls().count("1/0") == 1


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_what_a_killed_trial_left_running_is_ended_before_it_runs_again(rig: Rig) -> None:
    rig.study("plan")
    rig.behave(**{"1/0": "brood"})
    shard = rig.start("study", "shard", "--shard", "0")
    child_file = rig.job.tree.study / "child"
    wait_for(child_file)
    while not (text := child_file.read_text()):
        time.sleep(0.01)
    shard.kill()
    shard.communicate()
    assert alive(int(text))
    rig.behave()
    rig.study("shard", "--shard", "0")
    assert not alive(int(text))
    assert states(rig)[0] == "complete"


def test_a_program_that_does_not_exist_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make(tmp_path, monkeypatch)
    rig.study("plan")
    plan = StudyPlan.load(rig.job.tree.plan)
    plan.model_copy(update={"command": ["/no/such/program"]}).save(rig.job.tree.plan)
    with pytest.raises(StudyError, match=r"cannot be started: .*No such file"):
        rig.study("shard", "--shard", "0")


def test_a_shard_beyond_their_number_has_nothing_to_do(rig: Rig) -> None:
    rig.study("plan")
    rig.study("shard", "--shard", "2")
    assert rig.calls() == []


def test_sigterm_preempts_the_trial_and_a_second_run_finishes(rig: Rig) -> None:
    rig.study("plan")
    rig.behave(**{"1/2": "hang"})
    shard = rig.start("study", "shard", "--shard", "0")
    wait_for(rig.job.tree.trial(1, 2) / "process.json")
    shard.send_signal(signal.SIGTERM)
    told, _ = shard.communicate(timeout=20)
    assert shard.returncode == 1
    assert "trial 2 of step 1 was stopped" in told
    assert "Traceback" not in told
    assert states(rig) == {0: "complete", 2: "preempted"}
    assert not list(rig.job.tree.outbox.glob("*run-1-00002*"))
    with pytest.raises(StudyError, match="have no result"):
        rig.study("shortlist")
    rig.behave()
    rig.all_shards()
    assert states(rig)[2] == "complete"


def test_a_torn_last_line_costs_one_look_at_the_result(rig: Rig) -> None:
    rig.all_shards()
    whole = table(rig)
    path = rig.job.tree.shard(1, "000")
    path.write_bytes(path.read_bytes()[:-40])
    rig.all_shards()
    assert table(rig) == whole
    assert len(rig.calls()) == 6  # result.json was whole


def test_two_jobs_never_train_the_same_trial(rig: Rig) -> None:
    rig.study("plan")
    rig.behave(**{"1/0": "slow", "1/2": "slow"})
    jobs = [rig.start("study", "shard", "--shard", "0") for _ in range(2)]
    assert [job.wait(timeout=60) for job in jobs] == [0, 0]
    assert sorted(rig.calls()) == ["1/0", "1/2", "1/4"]
    for job in jobs:
        assert job.stdout is not None
        job.stdout.close()


def test_a_metric_that_never_appears_ends_the_shard_at_once(rig: Rig) -> None:
    rig.study("plan")
    rig.behave(**{f"1/{i}": "other" for i in range(6)})
    with pytest.raises(StudyError, match=r"never reported the metric 'val'; it reported loss"):
        rig.study("shard", "--shard", "0")
    assert rig.calls() == ["1/0"]
    rig.behave()  # the program was cured: nothing is remembered against its trials
    rig.all_shards()
    assert set(states(rig).values()) == {"complete"}


def test_a_shard_gives_up_when_nothing_trains(rig: Rig) -> None:
    rig.study("plan")
    rig.behave(**{f"1/{i}": "crash" for i in range(6)})
    with pytest.raises(StudyError, match="no trial of this job trains"):
        rig.study("shard", "--shard", "1")
    assert rig.calls() == ["1/1", "1/3"]
    rig.behave(**{"1/1": "crash", "1/3": "crash"})  # it was the trials after all: the others come first now
    rig.study("shard", "--shard", "1")
    assert rig.calls()[2] == "1/5"
    assert states(rig) == {1: "failed", 3: "failed", 5: "complete"}
    rig.study("shard", "--shard", "1")
    assert len(rig.calls()) == 5  # now their failures are their own


def test_a_lone_trial_that_fails_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make(tmp_path, monkeypatch, shards=6)
    rig.behave(**{"1/3": "crash"})
    rig.all_shards()
    assert states(rig)[3] == "failed"
    rig.study("shortlist")


def test_a_study_without_a_complete_trial_has_no_winner(rig: Rig) -> None:
    rig.behave(**{f"1/{i}": "nan" for i in range(6)})
    rig.all_shards()
    with pytest.raises(StudyError, match="none of the 6 trials of step 1 is complete: 6 diverged"):
        rig.study("shortlist")
    assert not rig.job.tree.shortlist.exists()


def test_a_candidate_that_fails_is_red_and_retried_one_that_diverges_is_not(rig: Rig) -> None:
    rig.all_shards()
    rig.study("shortlist")
    first, second = (c.trial for c in Shortlist.load(rig.job.tree.shortlist).candidates)
    rig.behave(**{f"2/{first}": "crash", f"2/{second}": "nan"})
    with pytest.raises(StudyError, match="no such layer"):
        rig.study("retrain", "--rank", "1")
    rig.study("retrain", "--rank", "2")
    with pytest.raises(
        StudyError, match="none of the 2 candidates of step 2 is complete: 1 diverged, 1 failed"
    ):
        rig.study("select")
    rig.behave()
    rig.study("retrain", "--rank", "1")
    rig.study("retrain", "--rank", "2")
    rig.study("select")
    assert Selection.load(rig.job.tree.selection).trial == first
    assert states(rig, 2) == {first: "complete", second: "diverged"}


def test_a_rank_beyond_the_candidates_is_no_failure(rig: Rig) -> None:
    rig.behave(**{f"1/{i}": "nan" for i in range(1, 6)})
    rig.all_shards()
    rig.study("shortlist")
    rig.study("retrain", "--rank", "2")
    rig.study("retrain", "--rank", "1")
    rig.study("select")
    assert Selection.load(rig.job.tree.selection).trial == 0


def test_planning_again_gives_the_same_file(rig: Rig) -> None:
    rig.study("plan")
    before = rig.job.tree.plan.read_bytes()
    parcels = {p.name: p.read_bytes() for p in rig.job.tree.outbox.glob("*.json")}
    rig.all_shards()
    rig.study("plan")
    assert rig.job.tree.plan.read_bytes() == before
    assert parcels.items() <= {p.name: p.read_bytes() for p in rig.job.tree.outbox.glob("*.json")}.items()


def changed(rig: Rig, **hpo: object) -> Rig:
    deployment = rig.job.deployment
    assert deployment.hpo is not None
    new = deployment.model_copy(update={"hpo": deployment.hpo.model_copy(update=hpo)})
    resolved = rig.job.resolved.model_copy(update={"deployment": new})
    return Rig(rig.folder, type(rig.job)(resolved, "here"))


def test_another_study_does_not_replace_one_with_finished_trials(rig: Rig) -> None:
    rig.all_shards()
    other = changed(rig, seed=4)
    with pytest.raises(
        StudyError, match="6 finished trials and would become another one: seed: 3 -> 4"
    ) as caught:
        other.study("plan")
    assert "mv " in (caught.value.hint or "")


def test_another_study_replaces_one_without_finished_trials(rig: Rig) -> None:
    rig.study("plan")
    other = changed(rig, seed=4)
    other.study("plan")
    assert StudyPlan.load(rig.job.tree.plan).seed == 4


def test_more_trials_and_other_shards_keep_what_is_finished(rig: Rig) -> None:
    rig.all_shards()
    deployment = rig.job.deployment
    assert deployment.hpo is not None
    more = changed(rig, step1=deployment.hpo.step1.model_copy(update={"trials": 8, "shards": 3}))
    more.all_shards()
    assert sorted(rig.calls()) == sorted(f"1/{i}" for i in range(8))
    more.study("shortlist")
    assert Shortlist.load(rig.job.tree.shortlist).states == {TrialState.COMPLETE: 8}


@pytest.mark.parametrize(
    ("hpo", "message"),
    [
        ({"subset": 0.01}, "has no sample"),
        ({"keep": 0.05}, "keeps none"),
    ],
)
def test_a_study_that_cannot_be_is_refused(rig: Rig, hpo: dict[str, float], message: str) -> None:
    deployment = rig.job.deployment
    assert deployment.hpo is not None
    step1 = deployment.hpo.step1.model_copy(update={k: v for k, v in hpo.items() if k == "subset"})
    step2 = deployment.hpo.step2.model_copy(update={k: v for k, v in hpo.items() if k == "keep"})
    with pytest.raises(StudyError, match=message):
        changed(rig, step1=step1, step2=step2).study("plan")


def test_a_missing_dataset_says_what_to_run(rig: Rig) -> None:
    (rig.job.tree.dataset(rig.job.deployment.dataset_name) / ".zattrs").unlink()
    with pytest.raises(StudyError, match="there is no dataset at") as caught:
        rig.study("plan")
    assert "transfer" in (caught.value.hint or "")


def test_a_shard_before_the_plan_says_so(rig: Rig) -> None:
    job = rig.start("study", "shard", "--shard", "0")
    told, _ = job.communicate(timeout=20)
    assert job.returncode == 1
    assert "there is no study" in told
    assert "Traceback" not in told
