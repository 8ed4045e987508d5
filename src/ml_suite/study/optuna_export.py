"""Write a study's trials into a storage of Optuna, so that its dashboard and its plots work on them.

Each step is a study of its own there, because a candidate of step 2 is a trial of step 1 trained again. The parameters
of lists are named ``units[0]``; what Optuna has no place for is in the user attributes of a trial.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from ml_suite.errors import StudyError
from ml_suite.study import distributions, optuna_storage, space
from ml_suite.study.contract import SearchPlan, TrialResult, TrialState
from ml_suite.study.space import Space

OURS = "ml_suite"
"""User attribute of a study with what `optuna_import` needs to read it back."""

_TOLD = (
    "trial",
    "step",
    "replicate",
    "reason",
    "best",
    "epochs",
    "steps",
    "parameters",
    "stopped_early",
    "seconds",
    "cpu_seconds",
    "inference_seconds",
    "effective_lr",
    "global_batch",
    "host",
    "run_id",
    "metrics",
)
"""Fields of a result that become user attributes of its trial, where they have a value."""


def trials(ready: Space, results: Sequence[TrialResult]) -> list[Any]:
    """Return results as ``FrozenTrial``; numbers are for the storage to give."""
    return [_trial(ready, result) for result in results]


def export(plan: SearchPlan, results: Sequence[TrialResult], url: str, name: str = "") -> dict[str, int]:
    """Write all results; those that are there already are not written again.

    Parameters
    ----------
    url
        ``journal:FILE``, ``sqlite:///FILE``, or the URL of another database.
    name
        Of the study there, default: the suite's; step 2 is ``NAME-step2``, a single training ``NAME-training``.

    Returns
    -------
    dict
        Trials that were added, by name of the study.

    Raises
    ------
    StudyError
        If the storage cannot be used, or has another study of that name.
    """
    ready = space.build(space.parse(plan.space), plan.constraints) if plan.space else None
    added: dict[str, int] = {}
    with quiet(), optuna_storage.writing(url) as storage:
        for step, ending in ((1, ""), (2, "-step2"), (0, "-training")):
            mine = [result for result in results if result.step == step]
            if mine or (step == 1 and not results):
                title = (name or plan.suite) + ending
                added[title] = _add(storage, plan, title, ready, mine, url)
    return added


def _add(
    storage: Any, plan: SearchPlan, title: str, ready: Space | None, results: list[TrialResult], url: str
) -> int:
    import optuna

    try:
        study = optuna.create_study(
            storage=storage, study_name=title, direction=plan.direction, load_if_exists=True
        )
    except ValueError as error:
        raise StudyError(f"{optuna_storage.shown(url)}: {error}") from error
    known = study.user_attrs.get(OURS, {}).get("study")
    if (known is None and study.trials) or known not in (None, plan.study):
        raise StudyError(
            f"{optuna_storage.shown(url)} has another study with the name {title}",
            "Give this one another name, or another file.",
        )
    if known is None:
        study.set_metric_names([plan.metric])
        told = plan.model_dump(
            mode="json", include={"study", "suite", "metric", "seed", "space", "constraints"}
        )
        study.set_user_attr(OURS, {**told, "sampling": plan.sampling})
    there = {json.dumps(trial.user_attrs.get("key")) for trial in study.get_trials(deepcopy=False)}
    new = [result for result in results if json.dumps(_key(result)) not in there]
    study.add_trials([_trial(ready, result) for result in new])
    return len(new)


def _key(result: TrialResult) -> list[Any]:
    """What tells a training from others, and from itself when it was made again."""
    return [result.trial, result.replicate, result.ended.isoformat()]


def _trial(ready: Space | None, result: TrialResult) -> Any:
    from optuna.trial import FrozenTrial
    from optuna.trial import TrialState as Theirs

    states = {TrialState.COMPLETE: Theirs.COMPLETE, TrialState.PRUNED: Theirs.PRUNED}
    state = states.get(result.state, Theirs.FAIL)
    if state is Theirs.COMPLETE and result.value is None:
        state = Theirs.FAIL
    params, found = distributions.flat(ready, result.params) if ready else ({}, {})
    attributes: dict[str, Any] = {"key": _key(result), "state": result.state.value}
    told = result.model_dump(mode="json", include=set(_TOLD))
    attributes |= {
        name: each for name in _TOLD if (each := told[name]) not in ("", {}, None) and each is not False
    }
    if left := {name: value for name, value in result.params.items() if not _covered(name, value, params)}:
        attributes["params"] = left
    return FrozenTrial(
        number=-1,
        trial_id=-1,
        state=state,
        value=None if state is Theirs.FAIL else result.value,
        datetime_start=_naive(result.started),
        datetime_complete=_naive(result.ended),
        params=params,
        distributions=found,
        user_attrs=attributes,
        system_attrs={},
        intermediate_values={p.epoch: p.value for p in result.history if p.value is not None},
    )


def _covered(name: str, value: Any, params: dict[str, Any]) -> bool:
    """Tell whether all of a hyperparameter is among Optuna's parameters."""
    if isinstance(value, list) and name not in params:
        return all(f"{name}[{i}]" in params for i in range(len(value)))
    return name in params


def _naive(when: datetime) -> datetime:
    """Optuna counts in local time without saying so."""
    return when.astimezone().replace(tzinfo=None) if when.tzinfo else when


@contextmanager
def quiet() -> Iterator[None]:
    """Without Optuna's own messages, of which there is one for each trial.

    Raises
    ------
    StudyError
        If it is not installed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise StudyError(
            f"{error.name} is not installed on this machine",
            f"Run: {sys.executable} -m pip install 'optuna>=5,<6'",
        ) from error
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
