"""A search that begins where a study of Optuna ended."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from ml_suite.errors import StudyError
from ml_suite.search import start
from ml_suite.search.folder import Folder
from ml_suite.study import asking
from ml_suite.study.contract import SearchPlan
from tests.search.studies import plan
from tests.study.results import result

SPACE = {
    "layers": {"int": [1, 3]},
    "units": {"choice": [8, 16], "per": "layers"},
    "lr": {"log": [1e-4, 1e-1]},
}


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A study that somebody made with Optuna alone: ten trials in the space, one beyond it, one that failed."""
    storage = f"sqlite:///{tmp_path}/a.db"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(storage=storage, study_name="earlier", direction="minimize")

    def objective(trial: optuna.Trial) -> float:
        layers = trial.suggest_int("layers", 1, 3)
        units = [trial.suggest_categorical(f"units[{i}]", [8, 16]) for i in range(layers)]
        return trial.suggest_float("lr", 1e-4, 10.0, log=True) + sum(units)

    for lr in [0.001] * 10 + [5.0]:
        study.enqueue_trial({"lr": lr})
    study.optimize(objective, n_trials=11)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    return storage


def adaptive(**changes: object) -> SearchPlan:
    return plan(**{"space": SPACE, "sampling": "optuna:tpe", "rounds": 2, "trials": 8, **changes})


def test_the_sampler_is_told_what_lies_in_the_space(url: str, tmp_path: Path) -> None:
    made, folder = adaptive(), Folder(tmp_path / "study")
    taken = start.take(made, folder, url)
    assert (taken.name, taken.found, taken.kept, taken.asked) == ("earlier", 12, 10, 0)
    before = start.known(folder)
    assert all(len(r.params["units"]) == r.params["layers"] for r in before)
    first = asking.settle(made, folder.root, 0, [], before)
    assert first is not None
    assert first.seen == 10
    # what is taken later is of no use to rounds that are drawn
    assert start.take(made, folder, url).asked == 1
    assert len(start.known(folder)) == 10


def test_without_an_import_nothing_is_known(tmp_path: Path) -> None:
    assert start.known(Folder(tmp_path)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampling": "random"}, "sampling random asks nobody"),
        ({"direction": "maximize"}, "earlier of Optuna is minimized, and this one maximized"),
        ({"space": {"a": {"int": [1, 2]}}}, r"none of the 11 trials of study earlier .* lies in hpo\.space"),
    ],
)
def test_what_is_of_no_use_is_refused(
    changes: dict[str, object], message: str, url: str, tmp_path: Path
) -> None:
    with pytest.raises(StudyError, match=message):
        start.take(adaptive(**changes), Folder(tmp_path / "study"), url)
    assert not (tmp_path / "study").exists()


def test_a_failed_or_stopped_trial_of_ours_tells_nothing(tmp_path: Path) -> None:
    from ml_suite.study.contract import TrialState
    from ml_suite.study.optuna_export import export

    made = adaptive()
    params = {"layers": 1, "units": [8], "lr": 0.001}
    results = [
        result(0, 0.5, study=made.study, params=params),
        result(1, None, study=made.study, state=TrialState.FAILED, params=params),
        result(0, 0.4, step=2, study=made.study, params=params),
    ]
    export(made, results, f"journal:{tmp_path}/j.log")
    taken = start.take(made, Folder(tmp_path / "study"), f"journal:{tmp_path}/j.log", made.suite)
    assert taken.kept == 1
