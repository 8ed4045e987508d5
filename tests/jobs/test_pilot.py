"""The pilot of a deployment: judged and resumed, and the search that it decides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import StudyError
from ml_suite.jobs import pilot as pilots
from ml_suite.jobs import study as jobs
from ml_suite.report.collect import collect as report
from ml_suite.report.figures import figures
from ml_suite.study import record
from ml_suite.study.certificate import Certificate
from ml_suite.study.contract import Selection, Shortlist, StudyPlan, TrialSpec
from ml_suite.study.cost import Cost
from ml_suite.study.dated import DatedPilot, PilotDecision
from ml_suite.study.planning import candidates
from tests.jobs.study_rig import PROGRAM, Rig, make

SEEDED = PROGRAM.replace(
    '1 / spec["samples"]', '1 / spec["samples"] + 1e-3 * (spec["seed"] % 97) / 97 / spec["samples"]'
)
"""The program with a value that depends on the seed a little."""


def changed(rig: Rig, pilot: dict[str, Any] | None, step1: dict[str, Any], **step2: Any) -> Rig:
    given = rig.job.deployment.model_dump(mode="json", exclude_none=True)
    given["hpo"]["step1"] |= {"trials": 40, "shards": 2, **step1}
    given["hpo"]["step2"] |= step2
    if pilot is not None:
        given["hpo"]["pilot"] = {"configurations": 9, "budget": "90%", "regret": "90%", **pilot}
    return rig.deployed(given)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Rig:
    rig = make(tmp_path, monkeypatch)
    (tmp_path / "program.py").write_text(SEEDED)
    # how long the program takes says nothing: a training is as long as its data
    monkeypatch.setattr(pilots, "_clock", lambda deployment: lambda share, result: 0.001 + share)
    return rig


def stated(rig: Rig, **pilot: Any) -> Rig:
    return changed(rig, pilot, {"subset": "40%"}, keep=4)


def auto(rig: Rig, **pilot: Any) -> Rig:
    return changed(rig, pilot, {"subset": "auto"}, keep="auto")


def parts(rig: Rig) -> dict[str, list[tuple[int, int]]]:
    found = rig.job.tree.pilot.glob("*/record.jsonl")
    return {path.parent.name: [(r.trial, r.replicate) for r in record.read(path)] for path in found}


def trained_in(rig: Rig) -> int:
    """Trainings of the pilot, every one that was begun."""
    return len((rig.job.tree.pilot / "calls").read_text().split())


def through(rig: Rig) -> Selection:
    """Everything after the pilot, as the suite's tasks do it."""
    hpo = rig.job.deployment.hpo
    assert hpo is not None
    for shard in range(2):
        rig.study("shard", "--shard", str(shard))
    rig.study("shortlist")
    for rank in range(1, candidates(hpo) + 1):
        rig.study("retrain", "--rank", str(rank))
    rig.study("select")
    return Selection.load(rig.job.tree.selection)


def test_a_stated_search_is_judged_before_and_after(rig: Rig) -> None:
    rig = stated(rig)
    rig.study("plan")
    plan = rig.job.tree.plan.read_bytes()
    rig.study("pilot")
    trained = parts(rig)
    assert set(trained) >= {"40%-0", "40%-1", "80%-0"}
    assert len({number for runs in trained.values() for _, number in runs}) == len(trained)
    assert min(number for runs in trained.values() for _, number in runs) >= 100
    rig.study("judge")
    assert rig.job.tree.plan.read_bytes() == plan
    before = Certificate.load(rig.job.tree.certificate)
    assert (before.subset, before.kept, before.realised) == (0.4, 4, None)
    assert before.pilot_trainings == sum(map(len, trained.values()))
    assert before.replicate is not None
    winner = through(rig)
    after = Certificate.load(rig.job.tree.certificate)
    assert f"trial {winner.trial}" in after.sentence
    assert after.panels == before.panels
    lines = {line.part: line.trainings for line in Cost.load(rig.job.tree.cost).lines}
    assert lines == {"pilot": before.pilot_trainings, "step1": 40, "step2": 4}
    # what the pilot trained is neither in the table nor delivered
    assert {r.replicate for r in rig.records(1)} == {0}
    assert not list(rig.job.tree.outbox.glob("*-r1*"))


def test_subset_and_candidates_are_decided_and_the_search_runs_to_its_end(rig: Rig) -> None:
    rig = auto(rig)
    rig.study("plan")
    assert not rig.job.tree.plan.exists()
    assert "the pilot has not decided yet (family pilot)" in report(rig.job.resolved).missing
    rig.study("pilot")
    rig.study("judge")
    made = PilotDecision.load(rig.job.tree.pilot_decision)
    plan = StudyPlan.load(rig.job.tree.plan)
    assert (plan.subset, plan.keep) == (made.subset, made.keep)
    assert plan.samples["subset"] == round(made.subset * 45)
    winner = through(rig)
    hpo = rig.job.deployment.hpo
    assert hpo is not None
    kept = Shortlist.load(rig.job.tree.shortlist).candidates
    assert len(kept) == made.keep < candidates(hpo)
    assert winner.study == plan.study
    told = report(rig.job.resolved)
    assert told.cost is not None
    assert told.cost.pilot is not None
    assert told.cost.pilot.trainings == sum(part.trainings for part in made.parts)
    assert "agreement" in {figure.id for figure in figures(told)}
    # the tasks before step 1 may run again, and nothing changes
    files = (rig.job.tree.plan, rig.job.tree.pilot_plan, rig.job.tree.pilot_decision)
    told = [path.read_bytes() for path in files]
    calls = trained_in(rig)
    for verb in ("plan", "pilot", "judge"):
        rig.study(verb)
    assert [path.read_bytes() for path in files] == told
    assert trained_in(rig) == calls


def test_the_parts_are_trained_on_data_and_with_seeds_of_their_own(rig: Rig) -> None:
    rig = auto(rig)
    rig.study("plan")
    rig.study("pilot")
    rig.study("judge")
    specs = {
        path.parent.parent.parent.name: TrialSpec.load(path)
        for path in rig.job.tree.pilot.glob("*/trials/00000/trial.json")
    }
    rig.study("shard", "--shard", "0")
    plan = StudyPlan.load(rig.job.tree.plan)
    own = f"{100 * plan.subset:g}%"
    assert specs[f"{own}-0"].samples == specs[f"{own}-1"].samples == plan.samples["subset"]
    dates = [tuple(spec.blocks) for name, spec in specs.items() if name.startswith(f"{own}-")]
    assert len({*dates, tuple(plan.split.blocks)}) == 3
    seeds = [spec.seed for spec in specs.values()]
    step1 = TrialSpec.load(rig.job.tree.trial(1, 0) / "trial.json")
    assert len({*seeds, step1.seed}) == len(seeds) + 1
    assert {str(spec.params) for spec in specs.values()} == {str(step1.params)}
    assert all(spec.budget.walltime is None for spec in specs.values())


def test_a_contiguous_subset_of_the_pilot_begins_elsewhere(rig: Rig) -> None:
    rig = changed(rig, {}, {"subset": "30%", "contiguous": True}, keep=4)
    rig.study("plan")
    pilot = DatedPilot.load(rig.job.tree.pilot_plan)
    found = [pilot.part(pilots.Part(0.3, i)).split.subset for i in (0, 1)]
    assert pilot.plan.split.subset not in found
    assert found[0] != found[1]
    for span in found:
        assert pilot.plan.split.training.start <= span.start < span.end <= pilot.plan.split.training.end


def test_a_pilot_that_is_stopped_goes_on(rig: Rig) -> None:
    rig = stated(rig)
    rig.study("plan")
    rig.behave(**{"1/5": "crash", "1/3": "nan"})
    rig.study("pilot")
    record_ = rig.job.tree.pilot_record("40%-1")
    lines = record_.read_bytes().splitlines(keepends=True)
    record_.write_bytes(b"".join(lines[:4]) + lines[4][:50])  # killed while it wrote the fifth
    rig.job.tree.pilot_decision.unlink()
    calls = trained_in(rig)
    rig.study("pilot")
    # results that were whole on disk are taken up; one that failed is tried again
    assert trained_in(rig) - calls <= 1
    assert [json.loads(line)["trial"] for line in record_.read_bytes().splitlines()][:4] == [0, 1, 2, 3]
    states = {r.trial: r.state.value for r in record.read(record_)}
    assert (states[3], states[5], len(states)) == ("diverged", "failed", 9)


def test_a_pilot_in_which_nothing_trains_stops_at_once(rig: Rig) -> None:
    rig = auto(rig)
    rig.study("plan")
    rig.behave(**{f"1/{i}": "crash" for i in range(40)})
    with pytest.raises(StudyError, match="no trial of this job trains"):
        rig.study("pilot")
    assert (rig.job.tree.pilot / "calls").read_text().split() == ["1/0", "1/1"]
    with pytest.raises(StudyError, match="the pilot has not ended"):
        rig.study("judge")


def test_a_pilot_in_which_too_little_trains_decides_nothing(rig: Rig) -> None:
    rig = auto(rig)
    rig.study("plan")
    rig.behave(**{f"1/{i}": "nan" for i in range(4, 40)})
    with pytest.raises(StudyError, match="the pilot cannot decide"):
        rig.study("pilot")


def test_another_pilot_wants_another_decision(rig: Rig) -> None:
    first = auto(rig)
    for verb in ("plan", "pilot", "judge"):
        first.study(verb)
    other = auto(rig, regret="50%")
    other.study("plan")
    with pytest.raises(StudyError, match="the pilot has not ended"):
        other.study("judge")
    calls = trained_in(rig)
    other.study("pilot")
    other.study("judge")
    assert trained_in(rig) - calls < 27, "what was trained is taken up"


def test_another_study_is_refused_before_its_pilot_trains(rig: Rig) -> None:
    first = auto(rig)
    for verb in ("plan", "pilot", "judge"):
        first.study(verb)
    first.study("shard", "--shard", "0")
    first.study("plan")  # the same
    given = first.job.deployment.model_dump(mode="json", exclude_none=True)
    given["hpo"]["seed"] = 4
    other = rig.deployed(given)
    with pytest.raises(StudyError, match=r"would become another one: seed: 3 -> 4"):
        other.study("plan")


def test_results_that_are_not_here_are_missed(rig: Rig) -> None:
    rig = stated(rig)
    rig.study("plan")
    rig.study("pilot")
    path = rig.job.tree.pilot_record("80%-0")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
    with pytest.raises(StudyError, match="2 of 9 trainings of 80%-0 have no result"):
        rig.study("judge")


def test_a_search_without_a_pilot_has_a_certificate_of_step_2(rig: Rig) -> None:
    rig = changed(rig, None, {}, keep=4)
    jobs.make_plan(rig.job)
    through(rig)
    made = Certificate.load(rig.job.tree.certificate)
    assert made.verdict == "not judged"
    assert made.pilot_trainings == 0


def test_a_pilot_that_is_asked_for_after_the_search_costs_no_winner(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = changed(rig, None, {}, keep=2)
    jobs.make_plan(rig.job)
    through(rig)
    winner = rig.job.tree.selection.read_bytes()
    capsys.readouterr()
    stated(rig).study("select")
    assert "judged without the pilot: there is no pilot in" in capsys.readouterr().out
    assert rig.job.tree.selection.read_bytes() == winner


def test_without_numpy_beside_the_server_there_is_a_winner_and_no_certificate(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")

    monkeypatch.setattr("ml_suite.jobs.judging.certify", absent)
    rig = changed(rig, None, {}, keep=2)
    jobs.make_plan(rig.job)
    through(rig)
    assert "there is no certificate: numpy is not installed in" in capsys.readouterr().out
    assert not rig.job.tree.certificate.exists()


def test_a_budget_that_no_pilot_is_within_is_refused_by_the_plan(rig: Rig) -> None:
    with pytest.raises(StudyError, match="the budget is too small: pilot and cheapest search cost about"):
        auto(rig, budget="20%").study("plan")
    assert not rig.job.tree.pilot.exists()
