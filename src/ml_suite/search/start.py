"""Results of another study that an adaptive sampler is told before it draws the first trial."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ml_suite import atomic
from ml_suite.errors import StudyError
from ml_suite.search.folder import Folder
from ml_suite.study import asking, distributions, optuna_import, record, space
from ml_suite.study.contract import SearchPlan, TrialResult, TrialState
from ml_suite.study.space import Space

_TELLING = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED)
"""States of trials that say something of their hyperparameters."""


@dataclass(frozen=True)
class Taken:
    """What was taken of a study of Optuna."""

    name: str
    metric: str
    found: int
    """Its finished trials."""
    kept: int
    """Those whose hyperparameters lie in the space."""
    asked: int
    """Rounds that were drawn before, and know nothing of it."""


def take(plan: SearchPlan, folder: Folder, url: str, name: str | None = None) -> Taken:
    """Leave the trials of a study of Optuna for the sampler of a study; those of an earlier import are replaced.

    Raises
    ------
    StudyError
        If the study asks no sampler, that of Optuna cannot be read or is about something else, or none of its trials
        lies in the space.
    """
    asking.sampler(plan)
    other = optuna_import.read(url, name)
    if other.plan.direction != plan.direction:
        raise StudyError(
            f"study {other.plan.suite} of Optuna is {other.plan.direction}d, and this one {plan.direction}d",
            "Import a study with the same direction.",
        )
    ready = space.build(space.parse(plan.space), plan.constraints)
    telling = [r for r in other.results if r.step == 1 and not r.replicate and r.state in _TELLING]
    kept = [fitted for r in telling if (fitted := _fitted(ready, r)) is not None]
    if not kept:
        raise StudyError(
            f"none of the {len(telling)} trials of study {other.plan.suite} of Optuna lies in hpo.space",
            f"Names and ranges have to agree; it has {', '.join(list(other.plan.space)[:8])}.",
        )
    lines = "".join(result.model_dump_json() + "\n" for result in kept)
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        atomic.write(folder.start, lines)
    except OSError as error:
        raise StudyError(
            f"{folder.start} cannot be written: {(error.strerror or str(error)).lower()}"
        ) from error
    asked = len(asking.known(folder.root, plan))
    return Taken(other.plan.suite, other.plan.metric, len(other.results), len(kept), asked)


def known(folder: Folder) -> Sequence[TrialResult]:
    """Results that were taken; none without an import."""
    return record.read(folder.start)


def _fitted(ready: Space, result: TrialResult) -> TrialResult | None:
    """Return the result with hyperparameters as a trial of the space has them; None where they lie outside of it."""
    if distributions.inside(ready, result.params):
        return result
    params: dict[str, Any] | None = distributions.nested(
        ready, result.params
    )  # lists as `units[0]`, `units[1]`
    return result.model_copy(update={"params": params}) if params is not None else None
