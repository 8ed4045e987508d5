"""Pilots of real studies, with real workers on a table of samples."""

from __future__ import annotations

import json
import re
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_suite.errors import StudyError
from ml_suite.search import finish, freeze, pilot
from ml_suite.search.quoting import quote
from ml_suite.search.run import Options, run
from ml_suite.search.stages import Progress, Stopped, run_stage
from ml_suite.study import record
from ml_suite.study.certificate import Certificate
from ml_suite.study.contract import TrialResult, TrialState
from tests.search.studies import TEXT, samples, study

AUTO = (
    ("trials: 12, subset: 20%", "trials: 60, subset: auto"),
    ("keep: 17%", "keep: auto"),
    ("  step2:", "  pilot: {configurations: 9, budget: 70%, regret: 50%, confidence: 80%}\n  step2:"),
    ("batch: 32", "batch: 16"),
)


PROGRAM = TEXT.replace("  batch: 32", "  trainer: command\n  command: [train]  # batch: 32").replace(
    ", rungs: {at: [2], cohort: 4}", ""
)


@pytest.fixture(autouse=True)
def environment(anemoi_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_SUITE_ENVIRONMENT", str(anemoi_python.parents[1]))


def work(**given: Any) -> Any:
    return partial(run_stage, **{"workers": 1, "stop": threading.Event(), **given})


def stages(folder: Path) -> dict[str, list[TrialResult]]:
    return {path.parent.name: record.read(path) for path in sorted(folder.glob("pilot/*/*.jsonl"))}


def test_a_study_that_leaves_subset_and_keep_to_its_pilot_runs_to_its_end(tmp_path: Path) -> None:
    path = study(tmp_path, *AUTO)
    samples(tmp_path / "small.npz", 3000)
    said: list[str] = []
    options = Options(root=tmp_path / "study", workers=1)
    frozen = freeze.freeze(path, options.root)
    found = pilot.run_pilot(frozen, work(), said.append)
    trained = stages(tmp_path / "study")
    share = min(s for s, _ in found.parts if s < 1)
    assert {f"{100 * share:g}%-0", f"{100 * share:g}%-1", f"{200 * share:g}%-0", "100%-0"} <= set(trained)
    assert any("of one step's cost" in words for words in said)
    # no training of a pilot is one of the steps, or of another of its parts
    numbers = [{r.replicate for r in results} for results in trained.values()]
    assert all(len(of) == 1 and min(of) >= 100 for of in numbers)
    assert len(set.union(*numbers)) == len(numbers)
    merged = record.merge((tmp_path / "study").glob("pilot/*/*.jsonl"))
    assert len(merged) == sum(map(len, trained.values()))
    assert not (tmp_path / "study" / "weights").exists()
    # nothing is trained twice, and the same is decided
    again = pilot.run_pilot(frozen, work(progress=_refuse))
    assert (again.subset, again.keep) == (found.subset, found.keep)

    assert run(path, threading.Event(), options) is not None
    made = Certificate.load(tmp_path / "study" / "certificate.json")
    assert (made.subset, made.kept, made.trials) == (found.subset, found.keep, 60)
    assert made.verdict in ("enough", "too small")
    assert made.realised is not None
    assert made.pilot_trainings == sum(map(len, found.parts.values()))
    assert "After step 2: trial" in made.sentence
    assert {panel.kind for panel in made.panels} >= {"replicate", "next", "full"}


def _refuse(progress: Progress) -> None:
    assert progress.done == progress.total


def test_a_pilot_that_is_stopped_goes_on(tmp_path: Path) -> None:
    path = study(tmp_path, *AUTO)
    samples(tmp_path / "small.npz", 3000)
    frozen, stop = freeze.freeze(path, tmp_path / "study"), threading.Event()

    def five(progress: Progress) -> None:
        if progress.stage.endswith("-1") and progress.done >= 5:
            stop.set()

    with pytest.raises(Stopped):
        pilot.run_pilot(frozen, work(stop=stop, progress=five))
    before = stages(tmp_path / "study")
    assert len(before) == 2
    pilot.run_pilot(frozen, work())
    after = stages(tmp_path / "study")
    for name, results in before.items():
        assert after[name][: len(results)] == results


def slowed(*args: Any, workers: int = 2, **given: Any) -> list[TrialResult]:
    """Stages beside other work, which makes some trainings forty times slower."""
    results = run_stage(*args, workers=workers, stop=threading.Event(), **given)
    factors = np.random.default_rng(len(results)).uniform(0.5, 40, len(results))
    return [
        r.model_copy(update={"seconds": f * r.seconds, "cpu_seconds": f * (r.cpu_seconds or 0.0)})
        for r, f in zip(results, factors, strict=True)
    ]


def test_what_is_auto_does_not_depend_on_how_busy_the_machine_is(tmp_path: Path) -> None:
    path = study(tmp_path, *AUTO)
    samples(tmp_path / "small.npz", 3000)
    idle = pilot.run_pilot(freeze.freeze(path, tmp_path / "idle"), work())
    busy = pilot.run_pilot(freeze.freeze(path, tmp_path / "busy"), slowed)
    assert (busy.subset, busy.keep, busy.rate) == (idle.subset, idle.keep, idle.rate)
    assert busy.parts.keys() == idle.parts.keys()
    assert busy.decision.option is not None
    assert idle.decision.option is not None
    assert busy.decision.option.cost == idle.decision.option.cost


def test_of_a_program_it_is_said_what_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    frozen = freeze.freeze(study(tmp_path, *AUTO, text=PROGRAM), tmp_path / "study")
    said: list[str] = []

    def stop(*args: Any, **given: Any) -> list[TrialResult]:
        raise Stopped("enough")

    with pytest.raises(Stopped):
        pilot.run_pilot(frozen, stop, said.append)
    (told,) = said
    assert told.startswith("what is `auto` is decided by the processor time that the program takes")


def test_a_stated_search_is_only_judged(tmp_path: Path) -> None:
    path = study(
        tmp_path,
        ("trials: 12", "trials: 24"),
        ("  step2:", "  pilot: {configurations: 8, budget: 90%}\n  step2:"),
    )
    found = pilot.run_pilot(freeze.freeze(path, tmp_path / "study"), work())
    assert (found.subset, found.keep) == (0.2, 4)
    assert {share for share, _ in found.parts} >= {0.2, 0.4}
    assert {share for share, _ in found.parts} <= {0.2, 0.4, 1.0}

    assert quote(freeze.freeze(path, tmp_path / "study")).measured

    # a budget that it is not within is told, and the search is made all the same
    path.write_text(path.read_text().replace("budget: 90%", "budget: 5%"))
    frozen, said = freeze.freeze(path, tmp_path / "study"), list[str]()
    again = pilot.run_pilot(frozen, work(progress=_refuse), said.append)
    assert "more than the budget of 5 %, the pilot alone " in said[-1]
    made = finish.certificate(frozen, frozen.plan, pilot=again.parts)
    assert any(words.startswith("pilot and search will cost ") for words in made.warnings)


def test_a_budget_that_is_far_too_small_for_all_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    path = study(tmp_path, *AUTO, ("budget: 70%", "budget: 5%"))
    with pytest.raises(StudyError, match=r"hpo\.pilot\.budget is 5 %") as caught:
        run(path, threading.Event(), Options(root=tmp_path / "study", workers=1))
    assert re.search(r"Write budget: \d+(\.\d)?% in hpo\.pilot", caught.value.hint or "")
    assert stages(tmp_path / "study") == {}


@pytest.mark.parametrize("normalise", ["training", "subset"])
def test_a_pilot_leaves_the_normalisation_of_the_study_alone(tmp_path: Path, normalise: str) -> None:
    path = study(
        tmp_path,
        ("  test: 10%", f"  test: 10%\n  normalise: {normalise}"),
        ("trials: 12", "trials: 16"),
        ("  step2:", "  pilot: {configurations: 8, budget: 90%}\n  step2:"),
    )
    frozen = freeze.freeze(path, tmp_path / "study")
    freeze.settle(frozen)
    before = frozen.folder.normalisation.read_bytes()
    found = pilot.run_pilot(frozen, work())
    assert frozen.folder.normalisation.read_bytes() == before
    own = {p.stem: dict(np.load(p)) for p in frozen.folder.members.glob("pilot-*.npz")}
    if normalise == "training":
        assert own == {}
        return
    assert {f"pilot-{100 * share:g}%-{i}" for share, i in found.parts} == set(own)
    assert not np.array_equal(own["pilot-20%-0"]["mean"], own["pilot-20%-1"]["mean"])
    numbers = np.load(frozen.folder.members / "pilot-20%-1.npy")
    np.testing.assert_allclose(own["pilot-20%-1"]["mean"], frozen.x[numbers].mean(0), rtol=1e-5)
    if "pilot-100%-0" in own:
        np.testing.assert_array_equal(own["pilot-100%-0"]["mean"], own["pilot-20%-0"]["mean"])


def test_a_pilot_in_which_hardly_anything_trains_decides_nothing(tmp_path: Path) -> None:
    path = study(tmp_path, *AUTO)
    samples(tmp_path / "small.npz", 3000)
    frozen = freeze.freeze(path, tmp_path / "study")

    def broken(*args: Any, **given: Any) -> list[TrialResult]:
        results = run_stage(*args, workers=1, stop=threading.Event(), **given)
        gone = {"state": TrialState.DIVERGED, "value": None}
        return [r.model_copy(update=gone) if r.trial > 3 else r for r in results]

    with pytest.raises(StudyError, match="the pilot cannot decide") as caught:
        pilot.run_pilot(frozen, broken)
    assert "hpo.pilot" in (caught.value.hint or "")


def test_without_a_pilot_the_certificate_does_not_judge(tmp_path: Path) -> None:
    path = study(tmp_path, text=TEXT)
    assert run(path, threading.Event(), Options(root=tmp_path / "study", workers=1)) is not None
    made = json.loads((tmp_path / "study" / "certificate.json").read_text())
    assert made["verdict"] == "not judged"
    assert made["sentence"].startswith("There is not enough to judge by: no pilot was trained at 20 %.")
