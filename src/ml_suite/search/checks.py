"""What can be said of a study before anything is trained, beside what its file says by itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from ml_suite.config import metrics
from ml_suite.config.findings import FileError, Finding, Severity
from ml_suite.config.search_rules import RESULTS, SIZE
from ml_suite.config.source import Keys, Source
from ml_suite.config.study_file import StudyFile
from ml_suite.errors import StudyError
from ml_suite.search import samples
from ml_suite.study import expressions, feasibility, trials
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.expressions import Expression
from ml_suite.trainers.mlp import settings

Tell = Callable[[Finding], None]
"""Told what is doubtful."""

_LOOKED_AT = 500
"""Trials whose hyperparameters are looked at before any is trained."""

_SLACK = 1e-6
"""Of targets that are rounded."""

_LISTED = 3
"""Targets that a message names."""


def of_file(study: StudyFile, source: Source, tell: Tell) -> None:
    """Compare the space with the trainer, and try it out, before samples are looked at.

    Raises
    ------
    FileError
        With everything that is wrong; what is only doubtful is told.
    """
    found = [*_metric(study, source)]
    if not any(SIZE in constraint.names for constraint in _constraints(study)):
        found += feasibility.check(study.hpo, source)
    for problem in settings.check(study.hpo.space, study.training.settings) if _mlp(study) else ():
        inside = problem.key in study.hpo.space
        where: Keys = ("hpo", "space", problem.key) if inside else ("training", problem.key)
        if not inside and problem.key not in study.training.settings:
            where = ("hpo", "space")
        found.append(source.finding(Severity.ERROR, where, problem.message, problem.hint or None, key=True))
    _tell(found, source, tell)


def of_samples(study: StudyFile, source: Source, table: samples.Table, tell: Tell) -> StudyFile:
    """Compare the file with the samples.

    Returns
    -------
    StudyFile
        The same, with constraints that need no more than hyperparameters.

    Raises
    ------
    FileError
        With everything that is wrong; what is only doubtful is told.
    """
    if not _mlp(study):
        return study
    inputs, outputs = table.arrays.shape
    found = [*_range(study, source, table)]
    if study.hpo.metric not in metrics.of_mlp(outputs):
        names = ", ".join(metrics.of_mlp(outputs)[2:][:12])
        message = f"there is no target of this number: the samples have {outputs}"
        found.append(source.finding(Severity.ERROR, ("hpo", "metric"), message, f"there are {names}"))
    texts = [_expanded(study, constraint, inputs, outputs) for constraint in _constraints(study)]
    if texts != study.hpo.constraints:
        study = study.model_copy(update={"hpo": study.hpo.model_copy(update={"constraints": texts})})
        found += feasibility.check(study.hpo, source)
    _tell(found, source, tell)
    return study


def of_trials(plan: ArrayPlan) -> None:
    """Draw some trials, and have the trainer read them; look whether any can become a candidate.

    Raises
    ------
    StudyError
        If one cannot be, or none fulfils a filter that asks for nothing that only a training tells.
    """
    if plan.sampling.startswith(trials.OPTUNA):
        return
    for trial in islice(range(plan.trials), _LOOKED_AT):
        params = trials.parameters(plan, trial)
        if plan.trainer == "mlp":
            settings.parse(params, plan.settings)
    text = plan.choice.filter
    if text is None:
        return
    fulfils = expressions.compile(text, [*plan.space, *RESULTS])
    sized = plan.trainer == "mlp"
    if not set(fulfils.names) <= {*plan.space, *([SIZE] if sized else [])}:
        return
    for trial in range(plan.trials):
        params = trials.parameters(plan, trial)
        if fulfils({**params, **({SIZE: _size(plan, params)} if sized else {})}):
            return
    raise StudyError(
        f"none of the {plan.trials:,} trials that will be drawn fulfils the filter: {text}",
        "Loosen hpo.step2.filter, or narrow hpo.space to what it asks for.",
    )


def _size(plan: ArrayPlan, params: Mapping[str, Any]) -> int:
    chosen = settings.parse(params, plan.settings)
    return settings.parameters(settings.sizes(chosen, *plan.arrays.shape))


def _mlp(study: StudyFile) -> bool:
    return study.training.trainer == "mlp"


def _constraints(study: StudyFile) -> list[Expression]:
    names = [*study.hpo.space, *([SIZE] if _mlp(study) else [])]
    return [expressions.compile(text, names) for text in study.hpo.constraints]


def _expanded(study: StudyFile, constraint: Expression, inputs: int, outputs: int) -> str:
    """Text of a constraint with the size of a network written as a function of its hyperparameters."""
    stated = study.training.settings

    def told(name: str) -> str:
        return name if name in study.hpo.space else _written(stated.get(name))

    size = f"weights({inputs}, {told('units')}, {outputs}, {told('layers')})"
    return expressions.replaced(constraint, SIZE, size)


def _written(value: object) -> str:
    return "None" if value is None else json.dumps(value)


def _metric(study: StudyFile, source: Source) -> Iterator[Finding]:
    """A program may report what it likes; what is called a loss is seldom to be large."""
    metric = study.hpo.metric
    if study.hpo.direction == "maximize" and metrics.smaller_is_better(metric):
        message = (
            f"{metric} is to be as large as possible, and is called as if it were better when it is small"
        )
        yield source.finding(
            Severity.WARNING, ("hpo", "direction"), message, "leave `direction` out", key=True
        )


def _range(study: StudyFile, source: Source, table: samples.Table) -> Iterator[Finding]:
    """A sigmoid gives what lies between 0 and 1, and a network that cannot reach its targets trains all the same."""
    searched = study.hpo.space.get("output")
    outputs = searched.choice or [] if searched else [study.training.output or "sigmoid"]
    if "sigmoid" not in outputs:
        return
    beyond = [t for t in table.targets if t.low < -_SLACK or t.high > 1 + _SLACK]
    if not beyond:
        return
    told = [f"{t.name} from {t.low:.4g} to {t.high:.4g}" for t in beyond[:_LISTED]]
    more = f" and {len(beyond) - _LISTED} more" if len(beyond) > _LISTED else ""
    message = f"the sigmoid output of trainer mlp lies between 0 and 1, and {', '.join(told)}{more} does not"
    if len(beyond) > 1:
        message = message.replace("does not", "do not")
    severity = Severity.ERROR if len(set(map(str, outputs))) == 1 else Severity.WARNING
    where: Keys = ("hpo", "space", "output") if searched else ("training", "output")
    hint = "write `output: linear` under training, or scale these targets in the file of the samples"
    yield source.finding(severity, where, message, hint, key=True)


def _tell(found: list[Finding], source: Source, tell: Tell) -> None:
    if any(finding.severity is Severity.ERROR for finding in found):
        raise FileError(source.file, found)
    for finding in found:
        tell(finding)
