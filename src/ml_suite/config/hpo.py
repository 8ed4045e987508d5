"""Two-step hyperparameter optimisation as frozen models: the section `hpo` of a deployment or of a study file.

Only pydantic is imported here, so jobs on a host read the same models.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from ml_suite.config.resources import Resources
from ml_suite.config.values import Duration, Share, Strict, share
from ml_suite.quantities import format_fraction

# the model below has fields named like these types
_Integer = int
_Real = float
RANGES = ("choice", "int", "float", "log")
MOST_POINTS = 100_000
"""Values of a real range in a grid."""


class Dimension(Strict):
    """One hyperparameter's range: exactly one of choice, int, float, log."""

    choice: Annotated[list[Any], Field(min_length=1)] | None = None
    int: tuple[_Integer, _Integer] | None = None
    float: tuple[_Real, _Real] | None = None
    log: tuple[_Real, _Real] | None = None
    points: Annotated[_Integer, Field(gt=1)] | None = None
    """Values of a real range in a grid, both ends included."""
    per: str | None = None
    """An integer hyperparameter that says how many values this one has, such as units per layer; it is then a list."""
    when: dict[str, Any] | None = None
    """Only there where other hyperparameters have these values: one value or a list of them by name."""

    @model_validator(mode="after")
    def _one_range(self) -> Self:
        given = {kind: getattr(self, kind) for kind in RANGES if getattr(self, kind) is not None}
        if len(given) != 1:
            raise ValueError(
                "write one of {choice: [...]}, {int: [low, high]}, {float: [low, high]}, {log: [low, high]}"
            )
        ((kind, values),) = given.items()
        if kind != "choice":
            low, high = values
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ValueError("both ends of a range are finite numbers")
            if low > high:
                raise ValueError(f"the range is reversed: {low:g} is above {high:g}")
            if kind == "log" and low <= 0:
                raise ValueError("a log range lies above zero")
        if self.points and kind not in {"float", "log"}:
            raise ValueError("points is for the real ranges float and log")
        if self.points and self.points > MOST_POINTS:
            raise ValueError(f"a range has at most {MOST_POINTS:,} points")
        return self

    @property
    def kind(self) -> str:
        """Which of the four is given."""
        return next(k for k in RANGES if getattr(self, k) is not None)


def _any(value: object) -> object:
    return None if value == "any" else value


Hosts = Annotated[
    list[str] | None,
    BeforeValidator(_any),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"const": "any"}]}),
]


class Patience(Strict):
    """How long a training goes on without getting better; stated in optimiser steps or in epochs."""

    count: int
    unit: Literal["steps", "epochs"]

    def steps(self, per_epoch: int) -> int:
        """Optimiser steps."""
        return self.count * (per_epoch if self.unit == "epochs" else 1)


def _patience(value: object) -> object:
    if isinstance(value, Patience | dict):
        return value
    match = re.fullmatch(r"\s*(\d+)\s*(step|epoch)s?\s*", value) if isinstance(value, str) else None
    if match is None or not int(match[1]):
        raise ValueError("write a patience as a number and its unit: 200 steps, 5 epochs")
    return Patience(count=int(match[1]), unit="steps" if match[2] == "step" else "epochs")


def _format_patience(value: Patience) -> str:
    return f"{value.count} {value.unit}"


PatienceText = Annotated[
    Patience,
    BeforeValidator(_patience),
    PlainSerializer(_format_patience, return_type=str),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\d+ *(steps?|epochs?)$", "examples": ["200 steps", "5 epochs"]}
    ),
]


def _share_or_auto(value: object, info: ValidationInfo) -> float | str:
    return "auto" if value == "auto" else share(value, info)


def _format_share(value: float | str) -> str:
    return value if isinstance(value, str) else format_fraction(value)


ShareOrAuto = Annotated[
    float | Literal["auto"],
    BeforeValidator(_share_or_auto),
    PlainSerializer(_format_share, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(auto|\d+(\.\d+)?\s*%)$", "examples": ["5%", "auto"]}),
]


def _keep(value: object, info: ValidationInfo) -> float | int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError("a number of trials to keep is at least 1")
        return value
    if value == "auto" or (isinstance(value, str) and value.strip().endswith("%")):
        return _share_or_auto(value, info)
    if isinstance(value, float) and not info.context:
        return value
    raise ValueError("write a share of the trials, their number, or auto: 5%, 12, auto")


def _format_keep(value: float | int | str) -> int | str:
    return value if isinstance(value, int | str) else format_fraction(value)


Keep = Annotated[
    float | int | Literal["auto"],
    BeforeValidator(_keep),
    PlainSerializer(_format_keep, return_type=int | str),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^(auto|\d+(\.\d+)?\s*%)$"},
                {"type": "integer", "minimum": 1},
            ],
            "examples": ["5%", 12, "auto"],
        }
    ),
]
SELECT = r"^(best|pareto|lightest within \d+(\.\d+)?\s*%)$"


class Adaptive(Strict):
    """Trials drawn in rounds by a sampler of Optuna that sees the results of earlier rounds."""

    optuna: Literal["tpe", "gp", "cmaes", "random"]
    rounds: Annotated[int, Field(gt=1, le=100)] = 4


class Cuts(Strict):
    """Successive halving (Jamieson and Talwalkar 2016; Hyperband, Li et al. 2018): in step 2, of all candidates."""

    at: Annotated[list[Annotated[int, Field(gt=0)]], Field(min_length=1)]
    """Epochs after which those that compete are cut, ascending."""
    keep: Share = 0.5
    """Part of the running trials that goes on after each cut, rounded up."""

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if sorted(set(self.at)) != self.at:
            raise ValueError("at: lists epochs in ascending order, each once")
        return self


class Rungs(Cuts):
    """Successive halving inside step 1.

    Trials compete in cohorts of neighbouring numbers, so shards need not talk to each other and the outcome is the
    same for any number of them.
    """

    cohort: Annotated[int, Field(gt=1)] = 16
    """Trials that compete."""


class Step1(Strict):
    """Many trials on a small subset of the training data."""

    trials: Annotated[int, Field(gt=1)]
    subset: ShareOrAuto
    """Part of the training data; `auto` is found by the certificate's pilot."""
    contiguous: bool = False
    """Of a dataset with dates the first part, rather than blocks spread over the training period."""
    block: Duration | None = None
    """Length of a block; default: a block a month, ten at least, or as many as fit."""
    epochs: Annotated[int, Field(gt=0)] | None = None
    """Epochs of a trial; default: the training's."""
    patience: PatienceText | None = None
    """A trial stops when it was not better for so long."""
    rungs: Rungs | None = None
    shards: Annotated[int, Field(gt=0, le=999)] | None = None
    """Jobs that share the trials; default: the hosts' limits added up."""
    resources: Resources | None = None
    """Per shard; default: the training's."""
    hosts: Hosts = None
    """Default, or `any`: all of the deployment. Of several other machines one is chosen when a job is submitted."""
    trial_walltime: Duration | None = None
    """A trial that takes longer is stopped and counted as failed."""


class Step2(Strict):
    """The best trials of step 1 trained again on all of the training data."""

    keep: Keep
    """Part of the trials that is trained again, or their number; `auto` is found by the certificate's pilot."""
    by: Literal["rank", "pareto"] = "rank"
    """`pareto`: trials that no other beats in both the metric and `against`."""
    against: Literal["parameters", "inference"] = "parameters"
    filter: str | None = None
    """Only trials for which this expression of hyperparameters is true, such as `layers in [2, 3]`."""
    controls: Annotated[int, Field(ge=0)] = 0
    """Trials from the middle of the ranking that are trained too, to see what ranking is worth."""
    finalists: Annotated[int, Field(ge=0)] = 0
    """Best candidates that are trained again with other seeds before a winner is named."""
    replicates: Annotated[int, Field(gt=0)] = 1
    """Trainings of a finalist in all; its value is their mean."""
    epochs: Annotated[int, Field(gt=0)] | None = None
    """Default: the training's."""
    patience: PatienceText | None = None
    rungs: Cuts | None = None
    """All candidates compete; controls and further trainings of finalists do not take part."""
    select: Annotated[str, Field(pattern=SELECT)] = "best"
    """The winner: the best, the best balance, or the smallest model nearly as good as the best."""
    narrow: Annotated[int, Field(gt=1)] | None = None
    """Instead of the candidates themselves, so many new trials drawn between them."""
    resources: Resources | None = None
    """Per candidate; default: the training's."""
    hosts: Hosts = None
    """Default, or `any`: all of the deployment. Of several other machines one is chosen when a job is submitted."""

    @property
    def again(self) -> int:
        """Trainings of finalists with other seeds."""
        return self.finalists * (self.replicates - 1)

    @model_validator(mode="after")
    def _finals(self) -> Self:
        if (self.replicates > 1) != (self.finalists > 0):
            raise ValueError(
                "finalists and replicates belong together: who is trained again, and how often in all"
            )
        return self


class Pilot(Strict):
    """Small experiment by which the two steps are judged, and `auto` is decided."""

    configurations: Annotated[int, Field(ge=8)] = 48
    """Hyperparameter sets, each trained twice at a subset size and once at twice the size."""
    budget: Share = 0.1
    """Most that pilot and search may cost, as a part of training every trial on everything."""
    regret: Share = 0.1
    """Loss against the best trial that is accepted, relative to its metric."""
    confidence: Share = 0.9


def _sampling(value: object) -> str:
    return "drawn" if isinstance(value, dict | Adaptive) else "named"


Sampling = Annotated[
    Annotated[Literal["random", "sobol", "grid"], Tag("named")] | Annotated[Adaptive, Tag("drawn")],
    Discriminator(_sampling),
]
"""Told apart first, so that an error is about the form that a person chose."""


class Hpo(Strict):
    """Two-step hyperparameter optimisation (Yu et al. 2023, doi:10.1175/AIES-D-23-0013.1)."""

    metric: str
    """Name under which the trainer reports the value to optimise."""
    direction: Literal["minimize", "maximize"] = "minimize"
    sampling: Sampling = "random"
    seed: Annotated[int, Field(ge=0)] = 0
    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    constraints: Annotated[list[str], Field(default_factory=list)]
    """Expressions of hyperparameters that every trial fulfils, such as `units[0] >= units[-1]`."""
    step1: Step1
    step2: Step2
    pilot: Pilot | None = None

    @property
    def keep_count(self) -> int:
        """Candidates that step 2 retrains; 0 when the share is too small, or decided later."""
        keep = self.step2.keep
        if isinstance(keep, float):
            return round(self.step1.trials * keep)
        return keep if isinstance(keep, int) else 0
