"""Studies in Optuna's storages: written, opened by Optuna itself, and read back."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.study import distributions, optuna_export, optuna_import, optuna_storage, space, trials
from ml_suite.study.contract import HistoryPoint, SearchPlan, TrialResult, TrialState
from tests.study.results import plan, result

SPACE: dict[str, dict[str, Any]] = {
    "layers": {"int": [0, 3]},
    "units": {"choice": [8, 16, 32], "per": "layers"},
    "lr": {"log": [1e-5, 1e-1]},
    "kind": {"choice": ["adam", "sgd"]},
    "momentum": {"float": [0.0, 0.9], "when": {"kind": "sgd"}},
    "shape": {"choice": [[3, 3], [5], None]},
    "flag": {"choice": [1, True]},
}
CONSTRAINT = "layers < 3 or lr < 0.05"


def search(**changes: Any) -> SearchPlan:
    return plan(**{"space": SPACE, "constraints": [CONSTRAINT], "trials": 20, "suite": "clouds", **changes})


def results(of: SearchPlan, count: int = 20) -> list[TrialResult]:
    """One of each state, and histories with gaps."""
    states = [TrialState.COMPLETE] * 3 + list(TrialState)
    found = []
    for trial in range(count):
        state = states[trial % len(states)]
        value = 1 / (trial + 1) if state in (TrialState.COMPLETE, TrialState.PRUNED) else None
        points = [HistoryPoint(epoch=e, step=10 * e, value=None if e == 2 else 1 / e) for e in (1, 2, 3)]
        begun = datetime(2026, 3, 28, 12, tzinfo=UTC) + timedelta(hours=trial)
        found.append(
            result(
                trial,
                value,
                study=of.study,
                state=state,
                params=trials.parameters(of, trial),
                history=points,
                started=begun,
                ended=begun + timedelta(seconds=90),
                seconds=90.0,
                parameters=100 + trial,
                reason="" if value else "it broke",
                metrics={"loss": 0.25},
            )
        )
    return found


@pytest.fixture(params=["journal:{}/o.log", "sqlite:///{}/o.db"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path / "new")


def test_optuna_reads_every_trial(url: str) -> None:
    of = search()
    made = results(of)
    assert optuna_export.export(of, made, url) == {"clouds": 20}
    with optuna_storage.reading(url) as storage:
        study = optuna.load_study(study_name="clouds", storage=storage)
        assert study.direction.name == "MINIMIZE"
        assert study.metric_names == ["m"]
        assert [t.number for t in study.trials] == list(range(20))
        for ours, theirs in zip(made, study.trials, strict=True):
            expected = {"complete": "COMPLETE", "pruned": "PRUNED"}.get(ours.state.value, "FAIL")
            assert theirs.state.name == expected
            assert theirs.value == ours.value
            assert theirs.intermediate_values == {1: 1.0, 3: 1 / 3}
            assert theirs.duration == timedelta(seconds=90)
            assert (theirs.user_attrs["trial"], theirs.user_attrs["parameters"]) == (
                ours.trial,
                ours.parameters,
            )
            lists = [f"units[{i}]" for i in range(ours.params["layers"])]
            inactive = [] if ours.params["kind"] == "sgd" else ["momentum"]
            assert set(theirs.params) == {*SPACE, *lists} - {"units", *inactive}
        best = min((r for r in made if r.state is TrialState.COMPLETE), key=lambda r: r.value or 0)
        assert study.best_trial.user_attrs["trial"] == best.trial
        # its own analyses work
        names = [name for name in optuna.importance.get_param_importances(study, params=["lr", "layers"])]
        assert sorted(names) == ["layers", "lr"]


def test_what_was_written_is_not_written_again_and_what_is_new_is_added(url: str) -> None:
    of = search()
    made = results(of)
    optuna_export.export(of, made[:12], url)
    assert optuna_export.export(of, made, url) == {"clouds": 8}
    assert optuna_export.export(of, made, url) == {"clouds": 0}
    again = result(3, 0.5, study=of.study, params=made[3].params, ended=datetime(2026, 5, 1, tzinfo=UTC))
    # one that ran again is another trial there, since nothing is ever taken back
    assert optuna_export.export(of, [again], url) == {"clouds": 1}
    assert len(optuna_import.read(url, "clouds").results) == 21


def test_each_step_is_a_study_of_its_own(url: str) -> None:
    of = search()
    first = results(of)
    second = [
        result(t, 0.1, 2, study=of.study, params=first[t].params, replicate=r) for t in (4, 2) for r in (0, 1)
    ]
    assert optuna_export.export(of, [*first, *second], url, "mine") == {"mine": 20, "mine-step2": 4}
    assert optuna_import.names(url) == ["mine", "mine-step2"]
    back = optuna_import.read(url, "mine-step2").results
    assert sorted((r.trial, r.step, r.replicate) for r in back) == [
        (2, 2, 0),
        (2, 2, 1),
        (4, 2, 0),
        (4, 2, 1),
    ]


def test_another_study_of_the_same_name_is_left_alone(url: str) -> None:
    of = search()
    optuna_export.export(of, results(of), url)
    other = search(seed=1)
    with pytest.raises(StudyError, match="another study with the name clouds"):
        optuna_export.export(other, results(other), url)
    assert optuna_export.export(other, results(other), url, "clouds-1") == {"clouds-1": 20}


def test_a_study_comes_back_as_it_was(url: str) -> None:
    of = search()
    made = results(of)
    optuna_export.export(of, made, url)
    found = optuna_import.read(url)
    assert (found.plan.study, found.plan.metric, found.plan.direction) == (of.study, "m", "minimize")
    assert (found.plan.space, found.plan.constraints) == (of.space, of.constraints)
    for before, after in zip(made, found.results, strict=True):
        # steps between validations are the one thing that Optuna has no place for
        points = [(p.epoch, p.value) for p in before.history if p.value is not None]
        assert [(p.epoch, p.value) for p in after.history] == points
        left_out = {"history", "metric"}
        assert after.model_dump(exclude=left_out) == before.model_dump(exclude=left_out)


def test_a_study_that_optuna_made_can_be_looked_at(tmp_path: Path) -> None:
    url = f"journal:{tmp_path}/theirs.log"
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(f"{tmp_path}/theirs.log")
    )
    study = optuna.create_study(storage=storage, study_name="theirs", direction="maximize")

    def objective(trial: optuna.Trial) -> float:
        depth = trial.suggest_int("depth", 1, 3)
        rates = [trial.suggest_float(f"rate[{i}]", 1e-4, 1e-1, log=True) for i in range(depth)]
        if trial.number == 4:
            raise optuna.TrialPruned
        trial.report(sum(rates), 7)
        return sum(rates)

    study.optimize(objective, 6)
    study.enqueue_trial({"depth": 2})
    found = optuna_import.read(url)
    assert (found.plan.direction, found.plan.metric, found.plan.suite) == ("maximize", "value", "theirs")
    assert found.plan.space["depth"] == {"int": [1, 3]}
    assert found.plan.space["rate[0]"] == {"log": [1e-4, 1e-1]}
    assert [r.trial for r in found.results] == list(range(6))  # what waits there has not ended
    assert [r.state.value for r in found.results] == ["complete"] * 4 + ["pruned", "complete"]
    assert found.results[5].params == study.trials[5].params
    assert (found.results[0].value, found.results[0].epochs) == (study.trials[0].value, 7)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("study.log", "no storage of Optuna"),
        ("ftp://x/y", "no storage of Optuna"),
        ("sqlite:///", "no storage of Optuna"),
        ("journal:{}/absent", "there is no file"),
        ("sqlite:///{}/broken", "cannot be used: file is not a database"),
        ("journal:{}/broken", "no storage that Optuna can read"),
        ("postgresql://me:secret@localhost:1/x", r"me:\*\*\*@localhost"),
    ],
)
def test_a_storage_that_cannot_be_read_is_an_error_without_its_password(
    tmp_path: Path, url: str, message: str
) -> None:
    (tmp_path / "broken").write_text("nothing of the kind\nat all\n" * 100)
    with pytest.raises(StudyError, match=message) as caught:
        optuna_import.names(url.format(tmp_path))
    assert "secret" not in str(caught.value)


def test_a_storage_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, url: str) -> None:
    of = search()
    kind, _, _ = url.partition(":")
    (tmp_path / "new").write_text("a file where a folder has to be")
    with pytest.raises(StudyError, match="cannot be used"):
        optuna_export.export(of, results(of), url)
    assert [p.name for p in tmp_path.iterdir()] == ["new"]
    assert kind in url


def test_a_new_storage_is_there_whole_or_not_at_all(tmp_path: Path, url: str) -> None:
    of = search()
    broken = [*results(of), result(1, 0.5, params={"lr": object()})]
    with pytest.raises(Exception, match=r"serial|JSON"):
        optuna_export.export(of, broken, url)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_study_without_results_is_an_empty_study(url: str) -> None:
    assert optuna_export.export(search(), [], url) == {"clouds": 0}
    with pytest.raises(StudyError, match="has no study x"):
        optuna_import.read(url, "x")
    assert optuna_import.read(url).results == []


@given(st.integers(0, 10_000), st.integers(0, 3))
def test_parameters_go_there_and_back(trial: int, seed: int) -> None:
    of = search(seed=seed)
    ready = space.build(space.parse(SPACE), [CONSTRAINT])
    values = trials.parameters(of, trial)
    there, ranges = distributions.flat(ready, values)
    assert set(there) == set(ranges)
    assert distributions.nested(ready, there) == values
    assert distributions.gathered(ready, there) == values
    assert distributions.inside(ready, values)
    json.dumps(there)
    if values["layers"]:
        there.pop("units[0]")
        assert distributions.nested(ready, there) is None


def test_what_is_not_of_the_space_is_not_inside() -> None:
    ready = space.build(space.parse(SPACE), [CONSTRAINT])
    values = trials.parameters(search(), 0)
    assert distributions.inside(ready, values)
    for name, value in {"lr": 0.5, "kind": "lamb", "more": 1, "layers": 2.5, "flag": False}.items():
        assert not distributions.inside(ready, {**values, name: value}), name
    refused = {**values, "layers": 3, "units": [8, 8, 8], "lr": 0.06}
    assert not distributions.inside(ready, refused)


def test_the_modules_load_optuna_only_when_they_are_used() -> None:
    code = (
        "import sys; from ml_suite.study import optuna_export, optuna_import, asking, exports; "
        "print({'optuna', 'numpy', 'pyarrow', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_without_optuna_the_error_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from ml_suite.errors import StudyError\n"
        "from ml_suite.study import asking, optuna_export, optuna_import\n"
        "from tests.study.results import plan, result\n"
        "of = plan(sampling='optuna:tpe')\n"
        "for ask in (lambda: optuna_export.export(of, [], 'journal:x'), lambda: optuna_import.names('journal:x'),\n"
        "            lambda: asking.ask(of, 1, [1], [result(0, 0.5)])):\n"
        "    try: ask()\n"
        "    except StudyError as error: print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert done.stdout.splitlines() == ["optuna is not installed on this machine"] * 3
