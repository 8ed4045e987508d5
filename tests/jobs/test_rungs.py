"""Successive halving inside step 1, finalists, and what a plan freezes: with a small program as trainer."""

from __future__ import annotations

import csv
import io
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import StudyError
from ml_suite.jobs import outbox
from ml_suite.study.contract import Selection, Shortlist, StudyPlan, TrialState
from tests.jobs.study_rig import Rig, make

# waits after `until` epochs with its state in `resume`; curves of trials cross, so early ranks are not the last ones
PROGRAM = """
import json, os, sys, time
from pathlib import Path
spec = json.loads(Path(sys.argv[1]).read_text())
here = Path(sys.argv[1]).parent
how = json.loads(Path(os.environ["HOW"]).read_text()).get(f"{spec['step']}/{spec['trial']}", "well")
x, n, budget = spec["params"]["x"], spec["params"]["n"], spec["budget"]
history = json.loads(Path("resume").read_text()) if Path("resume").exists() else []
while len(history) < (budget["until"] or budget["epochs"]):
    epoch = len(history)
    time.sleep(0.02)
    value = abs(x - 0.3) + 10 * x / (epoch + 1) ** 2 + (spec["seed"] % 1000) * 1e-7 + 1e-3 / n
    if how == "nan at 5" and epoch >= 5:
        value = None
    history.append({"epoch": epoch, "step": 3 * (epoch + 1), "value": value})
    with open(here.parents[2] / "epochs", "a") as f:
        f.write(f"{spec['trial']}\\n")
    Path("resume.new").write_text(json.dumps(history))
    os.replace("resume.new", "resume")
waits = len(history) < budget["epochs"]
outcome = {"metrics": {"val": history[-1]["value"]}, "history": history, "paused": waits, "parameters": n}
if spec["step"] != 1:
    (here / "weights.bin").write_bytes(str(history).encode())
    outcome["checkpoint"] = "weights.bin"
Path("outcome.json").write_text(json.dumps(outcome))
"""

RUNGS = {"at": [2, 4], "keep": "50%", "cohort": 4}


def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch, **step1: Any) -> Rig:
    """Twelve trials of eight epochs in cohorts of four."""
    rig = make(folder, monkeypatch, **{"trials": 12, "epochs": 8, "shards": 1, "rungs": RUNGS, **step1})
    (folder / "program.py").write_text(PROGRAM)
    return rig


def changed(rig: Rig, step1: dict[str, Any] | None = None, **step2: Any) -> Rig:
    """The same deployment with another search."""
    given = rig.job.deployment.model_dump(mode="json", exclude_none=True)
    given["hpo"]["step1"] |= step1 or {}
    given["hpo"]["step2"] |= step2
    deployment = type(rig.job.deployment).model_validate(given)
    return Rig(
        rig.folder, type(rig.job)(rig.job.resolved.model_copy(update={"deployment": deployment}), "here")
    )


def table(rig: Rig) -> bytes:
    rig.study("shortlist")
    return (rig.job.tree.study / "step1.csv").read_bytes()


def rows(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode())))


def trained(rig: Rig) -> Counter[str]:
    """Epochs of each trial, those that were repeated too."""
    return Counter((rig.job.tree.study / "epochs").read_text().split())


def test_half_of_a_cohort_goes_on_after_each_rung(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = prepared(tmp_path, monkeypatch)
    rig.all_shards()
    told = rows(table(rig))
    assert Counter(row["state"] for row in told) == {"complete": 3, "pruned": 9}
    assert Counter(row["epochs"] for row in told) == {"2": 6, "4": 3, "8": 3}
    for first in (0, 4, 8):
        cohort = {r.trial: r for r in rig.records(1) if first <= r.trial < first + 4}
        early = sorted(cohort, key=lambda t: min(p.value or 9 for p in cohort[t].history[:2]))
        assert {t for t, r in cohort.items() if (r.epochs or 0) > 2} == set(early[:2])
    pruned = next(r for r in rig.records(1) if r.state is TrialState.PRUNED)
    assert pruned.value == pruned.best == min(p.value or 9 for p in pruned.history)
    assert f"after {pruned.epochs} epochs" in pruned.reason
    # nothing was trained twice, and half of the epochs were saved
    assert sum(trained(rig).values()) == 6 * 2 + 3 * 4 + 3 * 8 == 48
    chosen = Shortlist.load(rig.job.tree.shortlist).candidates
    complete = {r.trial for r in rig.records(1) if r.state is TrialState.COMPLETE}
    assert complete < {c.trial for c in chosen}, "pruned trials only where there are too few complete"
    assert chosen[0].trial in complete


def test_shards_share_whole_cohorts_and_leave_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = set()
    for shards in (1, 2, 7):
        rig = prepared(tmp_path / str(shards), monkeypatch, shards=shards)
        rig.behave(**{"1/1": "nan at 5"})
        rig.all_shards()
        assert StudyPlan.load(rig.job.tree.plan).shards == min(shards, 3)
        tables.add(table(rig))
    assert len(tables) == 1


def test_a_shard_that_is_killed_again_and_again_leaves_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepared(tmp_path / "whole", monkeypatch)
    whole.all_shards()
    rig = prepared(tmp_path / "killed", monkeypatch)
    rig.study("plan")
    dice = random.Random(4)
    kills = 0
    while True:
        job = rig.start("study", "shard", "--shard", "0")
        begun = rig.job.tree.study / "epochs"
        size = begun.stat().st_size if begun.exists() else 0
        deadline = time.monotonic() + 60
        # killed some epochs after it has begun to train, wherever that is
        while job.poll() is None and not (begun.exists() and begun.stat().st_size > size):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        if kills < 6:
            time.sleep(dice.uniform(0.0, 0.7))
            job.kill()
        job.communicate(timeout=60)
        if job.returncode == 0:
            break
        kills += 1
    assert kills > 2
    assert table(rig) == table(whole)
    assert sum(trained(rig).values()) <= 48 + kills, "at most the epoch at hand is repeated"


def test_who_was_cut_stays_cut_when_another_diverges_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = prepared(tmp_path, monkeypatch)
    rig.all_shards()
    winner = next(r.trial for r in rig.records(1) if r.epochs == 8)
    other = prepared(tmp_path / "other", monkeypatch)
    other.behave(**{f"1/{winner}": "nan at 5"})
    other.all_shards()
    states = {r.trial: r.state for r in other.records(1)}
    assert states[winner] is TrialState.DIVERGED
    assert {t for t, s in states.items() if s is TrialState.PRUNED} == {
        r.trial for r in rig.records(1) if r.state is TrialState.PRUNED
    }
    before = table(other)
    other.all_shards()
    assert table(other) == before


def test_finalists_are_trained_again_and_their_further_mean_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = changed(prepared(tmp_path, monkeypatch), finalists=2, replicates=3, controls=1, epochs=3)
    rig.all_shards()
    rig.study("shortlist")
    candidates = Shortlist.load(rig.job.tree.shortlist).candidates
    assert [c.role for c in candidates] == ["ranked"] * 4 + ["control"]
    with pytest.raises(StudyError, match="Run the task finalists first"):
        rig.study("final", "--finalist", "1", "--replicate", "1")
    for candidate in candidates:
        rig.study("retrain", "--rank", str(candidate.rank))
    rig.study("finalists")
    last = Shortlist.load(rig.job.tree.finalists).candidates
    with pytest.raises(StudyError, match="fewer trainings than 3"):
        rig.study("select")
    for finalist in (1, 2, 3):  # there is no third one, which is no failure
        for replicate in (1, 2):
            rig.study("final", "--finalist", str(finalist), "--replicate", str(replicate))
    rig.study("select")
    winner = Selection.load(rig.job.tree.selection)
    assert winner.trial in [c.trial for c in last]
    own = {r.replicate: r for r in rig.records(2) if r.trial == winner.trial}
    assert winner.replicates == [own[i].value for i in range(3)]
    assert len({r.value for r in own.values()}) == 3, "seeds differ"
    assert winner.value == pytest.approx(((own[1].value or 0) + (own[2].value or 0)) / 2)
    assert winner.judged == "the mean of 2 further seeds"
    assert winner.result.value == min(r.value or 9 for r in own.values())
    assert (rig.job.tree.trial(2, winner.trial, 2) / "trial.json").is_file()
    assert rig.job.tree.trial(2, 7, 2).name == "00007-r2"
    parcels = {p.name for p in outbox.current(rig.job.tree.outbox)}
    study = winner.study
    assert {f"{study}.2-run-2-{winner.trial:05d}{end}.json" for end in ("", "-r1", "-r2")} <= parcels
    assert f"{study}.1-checkpoint-2-{winner.trial:05d}-r2.json" in parcels
    run = outbox.load(rig.job.tree.outbox / f"{study}.2-run-2-{winner.trial:05d}-r2.json")
    assert isinstance(run, outbox.RunParcel)
    assert run.id == f"{study}/2/{winner.trial}-r2"
    assert (rig.job.tree.study / "cost.json").is_file()


def test_a_plan_freezes_what_decides_a_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = changed(
        prepared(tmp_path, monkeypatch, patience="9 steps", block="1d"),
        epochs=5,
        patience="40 steps",
        filter="n > 8",
        select="lightest within 5%",
    )
    rig.study("plan")
    plan = StudyPlan.load(rig.job.tree.plan)
    assert plan.epochs == {"step1": 8, "step2": 5}
    assert plan.patience == {"step1": 9, "step2": 40}
    assert plan.rungs is not None
    assert (plan.rungs.at, plan.rungs.keep, plan.rungs.cohort) == ([2, 4], 0.5, 4)
    assert (plan.choice.filter, plan.choice.select) == ("n > 8", "lightest within 5%")
    assert len(plan.split.blocks) > 1
    assert len(plan.split.members) == 64
    rig.study("shard", "--shard", "0")
    told = (rig.job.tree.trial(1, 0) / "trial.json").read_text()
    assert f'"start": "{plan.split.blocks[1].start.isoformat()}' in told
    # the choice may change while the study runs
    changed(rig, filter="n > 16").study("plan")
    with pytest.raises(StudyError, match=r"rungs.keep: 0.5 -> 0.25"):
        changed(rig, {"rungs": {**RUNGS, "keep": "25%"}}).study("plan")


@pytest.mark.parametrize(
    ("step1", "message"),
    [
        ({"epochs": 4}, "a rung after epoch 4 cuts nothing"),
        ({"patience": "5 epochs"}, "only the program knows how many steps"),
    ],
)
def test_what_cannot_be_is_told_by_the_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step1: dict[str, Any], message: str
) -> None:
    rig = changed(prepared(tmp_path, monkeypatch), step1)
    with pytest.raises(StudyError, match=message):
        rig.study("plan")


def in_rounds(folder: Path, monkeypatch: pytest.MonkeyPatch, shards: int) -> Rig:
    """Twelve trials in three rounds of an adaptive sampler."""
    rig = prepared(folder, monkeypatch, shards=shards)
    given = rig.job.deployment.model_dump(mode="json", exclude_none=True)
    given["hpo"]["sampling"] = {"optuna": "tpe", "rounds": 3}
    deployment = type(rig.job.deployment).model_validate(given)
    resolved = rig.job.resolved.model_copy(update={"deployment": deployment})
    return Rig(rig.folder, type(rig.job)(resolved, "here"))


def test_rounds_of_a_sampler_are_the_same_for_any_number_of_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = set()
    for shards in (1, 2):
        rig = in_rounds(tmp_path / str(shards), monkeypatch, shards)
        rig.study("plan")
        with pytest.raises(StudyError, match="Run the task round_1/ask first"):
            rig.study("shard", "--shard", "0", "--round", "0")
        for number in range(3):
            rig.study("ask", "--round", str(number))
            for shard in range(shards):
                rig.study("shard", "--shard", str(shard), "--round", str(number))
            assert len(rig.records(1)) == 4 * (number + 1)
        rig.study("ask", "--round", "3")  # nothing is left to draw
        tables.add(table(rig))
        rig.study("retrain", "--rank", "1")
        best = Shortlist.load(rig.job.tree.shortlist).candidates[0]
        (again,) = rig.records(2)
        assert (again.trial, again.params) == (best.trial, best.params)
    assert len(tables) == 1


def test_a_round_waits_for_the_results_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = in_rounds(tmp_path, monkeypatch, 1)
    rig.study("plan")
    rig.study("ask", "--round", "0")
    with pytest.raises(StudyError, match="4 trials of them have none"):
        rig.study("ask", "--round", "1")
