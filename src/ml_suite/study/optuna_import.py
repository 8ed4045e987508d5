"""Read a study of Optuna as a plan and results: to look at with our tables and figures, or to start a search from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, cast

from ml_suite.errors import StudyError
from ml_suite.study import distributions, optuna_storage, space
from ml_suite.study.contract import HistoryPoint, SearchPlan, TrialResult, TrialState
from ml_suite.study.optuna_export import OURS, quiet
from ml_suite.study.space import Space


@dataclass(frozen=True)
class Imported:
    """A study that was made elsewhere."""

    plan: SearchPlan
    """Says what it searched; nothing can be trained with it."""
    results: list[TrialResult]
    """Of its finished trials, in their order."""


def names(url: str) -> list[str]:
    """Studies in a storage.

    Raises
    ------
    StudyError
        If it cannot be read.
    """
    with quiet(), optuna_storage.reading(url) as storage:
        import optuna

        return sorted(optuna.get_all_study_names(storage))


def read(url: str, name: str | None = None) -> Imported:
    """Read one study; the only one without a name.

    Raises
    ------
    StudyError
        If there is none of that name, it has several metrics, or no parameters.
    """
    with quiet(), optuna_storage.reading(url) as storage:
        import optuna

        there = sorted(optuna.get_all_study_names(storage))
        if name is None and len(there) == 1:
            name = there[0]
        if name is None or name not in there:
            what = f"no study {name}" if name else f"{len(there)} studies"
            listed = ", ".join(there[:10]) or "none"
            raise StudyError(f"{optuna_storage.shown(url)} has {what}", f"Name one of: {listed}")
        study = optuna.load_study(study_name=name, storage=storage)
        return _imported(study, name)


def _imported(study: Any, name: str) -> Imported:
    if len(study.directions) != 1:
        raise StudyError(f"study {name} of Optuna has {len(study.directions)} metrics", "One is needed.")
    finished = [t for t in study.get_trials(deepcopy=False) if t.state.is_finished()]
    ours = study.user_attrs.get(OURS)
    told: dict[str, Any] = {
        "space": dict(ours["space"]) if ours else _space(finished),
        "constraints": list(ours["constraints"]) if ours else [],
        "sampling": ours["sampling"] if ours else "optuna",
        "seed": ours["seed"] if ours else 0,
        "metric": (study.metric_names or ["value"])[0],
        "direction": study.direction.name.lower(),
    }
    if not told["space"]:
        raise StudyError(f"study {name} of Optuna has no parameters", "Nothing can be said of its trials.")
    digest = hashlib.sha256(json.dumps([name, told], sort_keys=True).encode()).hexdigest()[:16]
    ready = space.build(space.parse(told["space"]), told["constraints"])
    identity = ours["study"] if ours else digest
    results = [_result(identity, told["metric"], t, ready if ours else None) for t in finished]
    epochs = max((r.epochs or 1 for r in results), default=1)
    plan = SearchPlan(
        study=identity,
        suite=ours["suite"] if ours else name,
        trials=max((r.trial for r in results), default=0) + 1,
        keep=1,
        subset=1.0,
        shards=1,
        epochs={"step1": epochs, "step2": epochs},
        trainer="optuna",
        software={},
        **told,
    )
    return Imported(plan, results)


def _space(trials: Iterable[Any]) -> dict[str, dict[str, Any]]:
    """Ranges that hold every trial's distributions."""
    found: dict[str, dict[str, Any]] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            range_ = _range(distribution)
            found[name] = _joined(found[name], range_) if name in found else range_
    return found


def _range(distribution: Any) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return {"choice": list(distribution.choices)}
    ends = [distribution.low, distribution.high]
    if isinstance(distribution, IntDistribution):
        return {"int": ends}
    return {"log" if distribution.log else "float": ends}


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    ((kind, a),), ((second, b),) = one.items(), other.items()
    if kind == "choice" or second == "choice":
        return {"choice": [*a, *(value for value in b if value not in a)]}
    kind = kind if kind == second else "float"
    return {kind: [min(a[0], b[0]), max(a[1], b[1])]}


def _result(study: str, metric: str, trial: Any, ready: Space | None) -> TrialResult:
    attributes = trial.user_attrs
    params = dict(trial.params)
    if ready is not None:
        params = {**(distributions.gathered(ready, params)), **attributes.get("params", {})}
    began = _aware(trial.datetime_start)
    ended = _aware(trial.datetime_complete)
    history = [
        HistoryPoint(epoch=step, step=step, value=value)
        for step, value in sorted(trial.intermediate_values.items())
    ]
    own = {
        field: attributes[field]
        for field in (*_NUMBERS, "metrics", "host", "run_id", "reason", "stopped_early")
        if field in attributes and ready is not None
    }
    fields: dict[str, Any] = {
        "host": "optuna",
        "seconds": (ended - began).total_seconds(),
        "epochs": None if ready else max(trial.intermediate_values, default=None),
        **own,
    }
    return TrialResult(
        study=study,
        trial=attributes["trial"] if ready is not None else trial.number,
        step=cast(Literal[0, 1, 2], attributes.get("step", 1)) if ready is not None else 1,
        replicate=attributes.get("replicate", 0) if ready is not None else 0,
        state=TrialState(attributes["state"]) if ready is not None else _STATES[trial.state.name],
        params=params,
        metric=metric,
        value=trial.value,
        history=history,
        started=began,
        ended=ended,
        **fields,
    )


_NUMBERS = (
    "best",
    "epochs",
    "steps",
    "parameters",
    "seconds",
    "cpu_seconds",
    "inference_seconds",
    "effective_lr",
    "global_batch",
)
_STATES = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED, "FAIL": TrialState.FAILED}


def _aware(when: datetime | None) -> datetime:
    return when.astimezone(UTC) if when else datetime.fromtimestamp(0, UTC)
