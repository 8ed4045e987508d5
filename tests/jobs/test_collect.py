"""Trials of several hosts become one study, as if one host had run them all."""

from __future__ import annotations

import os
import tarfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ml_suite.errors import CredentialNeeded, StudyError
from ml_suite.evaluation.scores import Evaluation
from ml_suite.hosts import reach
from ml_suite.jobs import archive, collect, evaluate, pilot, planning, study
from ml_suite.report.collect import collect as report
from ml_suite.study.certificate import Certificate
from ml_suite.study.contract import Selection, TrialResult, TrialState
from ml_suite.study.dated import PilotDecision
from tests.hosts.sshd_fixture import Sshd
from tests.jobs.remote_rig import Remote, make_remote
from tests.jobs.study_rig import NAME, Rig, make


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd) -> tuple[Rig, Remote]:
    """A planned study of three shards over this host and another one."""
    rig, [far] = make_remote(tmp_path, monkeypatch, sshd.way, shards=3)
    rig.study("plan")
    return rig, far


def collected(rig: Rig, *words: str) -> None:
    collect.run(rig.job, ["--host", "bighost", *words])


def move_away(far: Remote) -> None:
    """No path of the host leads anywhere any more."""
    far.work.rename(far.work.with_name("gone"))


def test_a_study_over_two_hosts_has_the_tables_of_one(
    pair: tuple[Rig, Remote],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rig, far = pair
    rig.behave(**{"1/1": "nan", "1/5": "crash"})
    far.shard(0)
    rig.study("shard", "--shard", "1")
    far.shard(2)
    collected(rig, "--step", "1", "--shards", "0,2")
    assert capsys.readouterr().out.splitlines()[-1].startswith("4 trials; ")
    rig.study("shortlist")
    rig.study("retrain", "--rank", "2")
    far.retrain(1)
    collected(rig, "--step", "2", "--ranks", "1")
    move_away(far)
    rig.study("select")
    evaluate.run(rig.job, [])

    alone = make(tmp_path / "alone", monkeypatch)
    alone.behave(**{"1/1": "nan", "1/5": "crash"})
    alone.all_shards()
    alone.study("shortlist")
    for rank in ("1", "2"):
        alone.study("retrain", "--rank", rank)
    alone.study("select")
    for table in ("step1.csv", "step2.csv"):
        assert (rig.job.tree.study / table).read_bytes() == (alone.job.tree.study / table).read_bytes()

    winner = Selection.load(rig.job.tree.selection).result
    assert winner.params == Selection.load(alone.job.tree.selection).result.params
    assert winner.checkpoint is not None
    assert winner.checkpoint.path.is_file()
    assert planning.place_of(rig.job, winner).host == "bighost"
    spec = planning.specification_of(rig.job, winner)
    assert (spec.dataset.path, spec.output) == (rig.job.tree.dataset(NAME), winner.checkpoint.path.parent)
    scores = Evaluation.load(rig.job.tree.evaluation / "scores.json")
    assert scores.winner.sha256 == winner.checkpoint.sha256
    told = report(rig.job.resolved)
    assert [(row.step, row.trial) for row in told.rows if row.step == 1] == [(1, t) for t in range(6)]
    assert told.winner is not None
    packed = tmp_path / "x.tar.gz"
    archive.pack(rig.job.tree.root, packed, {"bighost": far.mirror / "suites" / "rig" / "once"})
    with tarfile.open(packed) as members:
        assert "once/hosts/bighost/study/step1/trials/00000/log.txt" in members.getnames()
        assert "once/study/step1/trials/00001/log.txt" in members.getnames()


def test_finalists_trained_elsewhere_decide_with_those_trained_here(pair: tuple[Rig, Remote]) -> None:
    rig, far = pair
    plan = planning.current(rig.job)
    choice = plan.choice.model_copy(update={"finalists": 2, "replicates": 3})
    plan.model_copy(update={"choice": choice}).save(rig.job.tree.plan)
    for shard in (0, 1, 2):
        rig.study("shard", "--shard", str(shard))
    rig.study("shortlist")
    for rank in ("1", "2"):
        rig.study("retrain", "--rank", rank)
    rig.study("finalists")
    rig.study("final", "--finalist", "1", "--replicate", "1")
    rig.study("final", "--finalist", "2", "--replicate", "2")
    far.submit(rig.job.tree.plan, rig.job.tree.finalists)
    with pytest.raises(StudyError, match=r"trial \d \(seed 2\) of step 2 has no result") as told:
        collect.collect(rig.job, ["bighost"], collect.wanted(rig.job, 2, finals=((1, 2),)), lag=0.0)
    assert told.value.hint == "Run again: finalists 1_2."
    study.run(far.job, ["final", "--finalist", "1", "--replicate", "2"])
    study.run(far.job, ["final", "--finalist", "2", "--replicate", "1"])
    collected(rig, "--step", "2", "--finals", "1:2,2:1")
    move_away(far)
    rig.study("select")
    winner = Selection.load(rig.job.tree.selection)
    assert len(winner.replicates) == 3
    found = planning.whereabouts(rig.job, 2)
    elsewhere = [f.result for f in found if f.place.host == "bighost"]
    assert sorted(r.replicate for r in elsewhere) == [1, 2]
    for result in elsewhere:
        assert result.checkpoint is not None
        assert result.checkpoint.path.is_file()
        assert planning.place_of(rig.job, result).host == "bighost"
        assert planning.specification_of(rig.job, result).replicate == result.replicate


def test_a_pilot_elsewhere_decides_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd) -> None:
    rig, [far] = make_remote(tmp_path, monkeypatch, sshd.way, trials=40, subset="auto", shards=1)
    given = rig.job.deployment.model_dump(mode="json", exclude_none=True)
    given["hpo"]["step2"] |= {"keep": "auto"}
    given["hpo"]["pilot"] = {"configurations": 8, "budget": "100%"}
    rig = rig.deployed(given)
    far = replace(far, rig=rig)
    rig.study("plan")
    far.submit(rig.job.tree.pilot_plan)
    with pytest.raises(StudyError, match="the pilot has left no decision"):
        collect.collect(
            rig.job, ["bighost"], collect.Wanted(1, (), "the task pilot/train", pilot=True), lag=0.0
        )
    monkeypatch.setattr(pilot, "_clock", lambda deployment: lambda share, result: 0.001 + share)
    study.run(far.job, ["pilot"])
    made = PilotDecision.load(far.job.tree.pilot_decision)
    collected(rig, "--step", "1", "--pilot")
    move_away(far)
    rig.study("judge")
    plan = planning.current(rig.job)
    assert (plan.subset, plan.keep) == (made.subset, made.keep)
    judged = Certificate.load(rig.job.tree.certificate)
    assert judged.pilot_trainings == sum(part.trainings for part in made.parts) >= 24
    log = (
        far.mirror / "suites" / "rig" / "once" / "study" / "pilot" / "40%-0" / "trials" / "00000" / "log.txt"
    )
    assert log.exists()


def test_the_plan_is_frozen_from_the_build_where_nothing_was_transferred(pair: tuple[Rig, Remote]) -> None:
    rig, far = pair
    plan = planning.current(rig.job)
    store, built = rig.job.tree.dataset(NAME), rig.job.tree.build(NAME)
    built.parent.mkdir()
    store.rename(built)
    manifest = store.with_name(f"{store.name}.manifest.jsonl")
    with pytest.raises(StudyError, match="there is no dataset"):
        rig.study("plan")  # both are unfinished
    manifest.rename(built.with_name(manifest.name))
    rig.study("plan")
    again = planning.current(rig.job)
    assert (again.study, again.dataset.path) == (plan.study, built)
    far.shard(0)
    assert planning.results(far.job, 1)[0].study == plan.study


def test_a_trial_without_a_result_is_named(pair: tuple[Rig, Remote]) -> None:
    rig, far = pair
    far.shard(0)
    want = collect.wanted(rig.job, 1, (0, 2))
    with pytest.raises(StudyError, match=r"trial 2 of step 1 has no result; 2 missing") as told:
        collect.collect(rig.job, ["bighost"], want, lag=0.0)
    assert told.value.hint == "Run again: shards 0, 2."


def test_what_shows_up_late_is_waited_for(pair: tuple[Rig, Remote]) -> None:
    rig, far = pair
    far.shard(0)
    record = far.job.tree.shard(1, "000")
    whole = record.read_bytes()
    record.write_bytes(whole[:-30])
    later = threading.Timer(0.5, lambda: record.write_bytes(whole))
    later.start()
    assert collect.collect(rig.job, ["bighost"], collect.wanted(rig.job, 1, (0,))).startswith("2 trials; ")
    later.join()


def test_a_shard_that_ran_elsewhere_in_the_end_is_there(pair: tuple[Rig, Remote]) -> None:
    rig, far = pair
    far.shard(0)
    path = far.job.tree.shard(1, "000")
    results = [TrialResult.model_validate_json(line) for line in path.read_text().splitlines()]
    stopped = [r.model_copy(update={"state": TrialState.PREEMPTED, "value": None}) for r in results]
    path.write_text("".join(r.model_dump_json() + "\n" for r in stopped))
    rig.study("shard", "--shard", "0")
    collected(rig, "--step", "1", "--shards", "0")
    found = planning.whereabouts(rig.job, 1)
    assert [(f.place.host, f.result.state) for f in found] == [("here", TrialState.COMPLETE)] * 2


def test_weights_that_were_damaged_on_the_way_come_again(pair: tuple[Rig, Remote]) -> None:
    rig, far = pair
    for shard in (0, 1, 2):
        far.shard(shard)
    collected(rig, "--step", "1", "--shards", "0,1,2")
    rig.study("shortlist")
    far.retrain(1)
    collected(rig, "--step", "2", "--ranks", "1")
    [result] = planning.results(rig.job, 2)
    assert result.checkpoint is not None
    path, times = result.checkpoint.path, result.checkpoint.path.stat()
    path.write_bytes(b"x" * result.checkpoint.size)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    collected(rig, "--step", "2", "--ranks", "1")
    (far.job.tree.trial(2, result.trial) / "weights.bin").write_bytes(b"other weights")
    path.unlink()
    with pytest.raises(StudyError, match="are not those that were trained"):
        collect.collect(rig.job, ["bighost"], collect.wanted(rig.job, 2, ranks=(1,)), lag=0.0)


def test_while_a_login_is_needed_it_waits_then_says_what_to_type(
    pair: tuple[Rig, Remote], sshd: Sshd
) -> None:
    rig, far = pair
    far.shard(0)
    reach.save((replace(sshd.way, auth="totp"),) * 2)
    want = collect.wanted(rig.job, 1, (0,))
    begun = time.monotonic()
    with pytest.raises(CredentialNeeded) as told:
        collect.collect(rig.job, ["bighost"], want, patience=0.5)
    assert time.monotonic() - begun >= 0.5
    assert told.value.hint == "Run: ml-suite hosts login bighost"
    later = threading.Timer(0.5, lambda: reach.save((sshd.way, sshd.way)))
    later.start()
    assert collect.collect(rig.job, ["bighost"], want, patience=60).startswith("2 trials; ")
    later.join()


def test_a_single_training_elsewhere_is_evaluated_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd
) -> None:
    rig, [far] = make_remote(tmp_path, monkeypatch, sshd.way, hpo=False)
    program = tmp_path / "program.py"
    program.write_text(program.read_text().replace('"val": value', '"value": value'))
    with pytest.raises(StudyError, match=r"left no selection.json"):
        collect.collect(rig.job, ["bighost"], collect.wanted(rig.job, 0), lag=0.0)
    far.train()
    collected(rig, "--step", "0")
    move_away(far)
    selection = Selection.load(rig.job.tree.selection)
    assert selection.result.checkpoint is not None
    assert selection.result.checkpoint.path.is_file()
    assert planning.current(rig.job).dataset.path == rig.job.tree.dataset(NAME)
    assert planning.specification_of(rig.job, selection.result).trial == 0
    evaluate.run(rig.job, [])


def test_a_host_that_is_not_the_deployments_is_refused(pair: tuple[Rig, Remote]) -> None:
    rig, _ = pair
    with pytest.raises(StudyError, match="nowhere is no other machine"):
        collect.run(rig.job, ["--host", "nowhere", "--step", "0"])
