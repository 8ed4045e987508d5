"""What the keys of the section `hpo` say together: the same for a deployment and for a study file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from ml_suite import quantities
from ml_suite.config import expressions, relations
from ml_suite.config.findings import Problem
from ml_suite.config.hpo import Dimension

Data = dict[str, Any]

RESULTS = ("value", "parameters", "seconds", "inference_seconds", "rank")
"""What a filter of candidates can ask of a trial of step 1 beside its hyperparameters."""


SIZE = "parameters"
"""What a constraint can ask for beside hyperparameters, of a trainer that tells a model's size before it trains."""


def problems(data: Data, sized: bool = False, epochs: int | None = None) -> Iterator[Problem]:
    """Every rule that the section `hpo` of a file breaks.

    Parameters
    ----------
    sized
        The trainer can tell a model's `SIZE` from its hyperparameters.
    epochs
        Of a training where the file says nothing; None: that is not known.
    """
    if not isinstance(data.get("hpo"), dict):
        return
    yield from _constraints(data, sized)
    yield from _cuts(data, epochs)
    for rule in (_space, _filter, _grid, _rounds, _cohorts, _blocks, _kept, _finals):
        yield from rule(data)


def dimensions(data: Data) -> dict[str, Dimension]:
    """Those hyperparameters of a space that can be read by themselves."""
    found = {}
    space = _get(data, "hpo", "space")
    for name, given in space.items() if isinstance(space, dict) else ():
        try:
            found[name] = Dimension.model_validate_json(json.dumps(given), strict=True)
        except (ValidationError, TypeError, ValueError):
            continue
    return found


def _get(data: Any, *path: str) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _names(data: Data) -> list[str]:
    space = _get(data, "hpo", "space")
    return [str(name) for name in space] if isinstance(space, dict) else []


def _space(data: Data) -> Iterator[Problem]:
    """Hyperparameters depend only on others that there are, and on values that these can have."""
    space = _get(data, "hpo", "space")
    if isinstance(space, dict):
        for wrong in relations.problems(dimensions(data), space):
            yield Problem(("hpo", "space", *wrong.path), wrong.message, wrong.hint, wrong.on_key)


def _constraints(data: Data, sized: bool) -> Iterator[Problem]:
    """Constraints can be read."""
    given, names = _get(data, "hpo", "constraints"), _names(data)
    for i, text in enumerate(given if isinstance(given, list) else ()):
        for problem in _read(("hpo", "constraints", i), text, [*names, SIZE] if sized and names else names):
            if f"'{SIZE}'" in problem.message:
                hint = "only trainer mlp knows it before a trial runs: ask for it in step2.filter"
                problem = replace(problem, hint=hint)
            yield problem


def _filter(data: Data) -> Iterator[Problem]:
    """A filter of candidates can be read."""
    names = _names(data)
    yield from _read(
        ("hpo", "step2", "filter"), _get(data, "hpo", "step2", "filter"), [*names, *RESULTS] if names else []
    )


def _read(path: tuple[str | int, ...], text: Any, names: list[str]) -> Iterator[Problem]:
    if not isinstance(text, str) or not names:
        return
    try:
        read = expressions.compile(text, names)
    except expressions.ExpressionError as error:
        hint = error.hint and error.hint[0].lower() + error.hint[1:].rstrip(".")
        yield Problem(path, error.what, hint, column=error.column)
        return
    if not read.names:
        yield Problem(path, "this reads no hyperparameter, so that it is always the same", "leave it out")


def _grid(data: Data) -> Iterator[Problem]:
    """A grid knows how many values a real range has."""
    if _get(data, "hpo", "sampling") != "grid":
        return
    for name, given in dimensions(data).items():
        if given.kind in ("float", "log") and given.points is None:
            low, high = getattr(given, given.kind)
            yield Problem(
                ("hpo", "space", name),
                "a grid needs to know how many values of this range it has",
                f"write {{{given.kind}: [{low:g}, {high:g}], points: 5}}",
            )


def _rounds(data: Data) -> Iterator[Problem]:
    """Each round of an adaptive sampler has a trial."""
    rounds, trials = (
        _whole(_get(data, "hpo", "sampling", "rounds")),
        _whole(_get(data, "hpo", "step1", "trials")),
    )
    if rounds and trials and rounds > trials:
        message = f"{trials} trials cannot be drawn in {rounds} rounds"
        yield Problem(("hpo", "sampling", "rounds"), message, f"write at most {trials}")


def _cuts(data: Data, usual: int | None) -> Iterator[Problem]:
    """Rungs lie before the end of a trial."""
    usual = _whole(_get(data, "training", "epochs")) or usual
    for step, what in (("step1", "trial"), ("step2", "candidate")):
        at = _get(data, "hpo", step, "rungs", "at")
        epochs = _whole(_get(data, "hpo", step, "epochs")) or usual
        for i, epoch in enumerate(at if isinstance(at, list) else ()):
            if epochs and _whole(epoch) and epoch >= epochs:
                where = ("hpo", step, "rungs", "at", i)
                message = f"a {what} has {epochs} epochs, so that it cannot be cut after {epoch}"
                yield Problem(where, message, "write an earlier one, or leave it out")


def _cohorts(data: Data) -> Iterator[Problem]:
    """No job without a cohort; a cohort is not larger than the search."""
    rungs = _get(data, "hpo", "step1", "rungs")
    trials, shards = (_whole(_get(data, "hpo", "step1", key)) for key in ("trials", "shards"))
    if not isinstance(rungs, dict) or not trials:
        return
    cohort = _whole(rungs.get("cohort", 16))
    if shards and cohort and shards <= trials < (shards - 1) * cohort + 1:
        number = math.ceil(trials / cohort)
        yield Problem(
            ("hpo", "step1", "shards"),
            f"{shards} jobs cannot share {trials} trials that compete in {number} cohorts of {cohort}",
            f"write at most {number}, or a smaller cohort",
        )


def _blocks(data: Data) -> Iterator[Problem]:
    """A part that is contiguous has no blocks."""
    step1 = _get(data, "hpo", "step1")
    if isinstance(step1, dict) and step1.get("contiguous") is True and "block" in step1:
        message = "a contiguous subset has no blocks"
        yield Problem(("hpo", "step1", "block"), message, "keep one of the two", on_key=True)


def _kept(data: Data) -> Iterator[Problem]:
    """No more trials are kept than there are."""
    trials, keep = (_whole(_get(data, "hpo", *path)) for path in (("step1", "trials"), ("step2", "keep")))
    if trials and keep and keep > trials:
        message = f"{keep} candidates cannot be kept of {trials} trials"
        yield Problem(("hpo", "step2", "keep"), message, f"write at most {trials}, or a share: 5%")


def _finals(data: Data) -> Iterator[Problem]:
    """Who is trained again is among the candidates, and controls are among the others."""
    trials, step2 = _whole(_get(data, "hpo", "step1", "trials")), _get(data, "hpo", "step2")
    if not trials or not isinstance(step2, dict):
        return
    try:
        keep = _whole(step2.get("keep")) or round(trials * quantities.fraction(step2.get("keep")))
    except ValueError:
        return
    if keep > trials:
        return
    narrow, finalists, controls = (_whole(step2.get(key)) for key in ("narrow", "finalists", "controls"))
    candidates = narrow + 1 if narrow else keep
    left = _left(candidates, step2.get("rungs"))
    if keep and finalists and finalists > left:
        which = "candidates" if left == candidates else f"candidates that rungs leave of {candidates}"
        message = f"{finalists} finalists cannot be chosen of {left} {which}"
        yield Problem(("hpo", "step2", "finalists"), message, f"write at most {left}")
    if keep and controls and controls > trials - keep:
        message = f"{controls} controls cannot be chosen of the {trials - keep} trials that are not kept"
        yield Problem(("hpo", "step2", "controls"), message, f"write at most {trials - keep}")


def _left(candidates: int, rungs: Any) -> int:
    """Candidates that are trained to their end."""
    at, keep = _get(rungs, "at"), _get(rungs, "keep")
    try:
        share = 0.5 if keep is None else quantities.fraction(keep)
    except ValueError:
        return candidates
    for _ in at if isinstance(at, list) else ():
        candidates = quantities.part_of(candidates, share)
    return candidates
