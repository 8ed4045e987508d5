"""Whether the space of a search can be drawn from as it is stated, tried out before anything is queued."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ml_suite.config.findings import Finding, Severity
from ml_suite.config.hpo import Hpo
from ml_suite.errors import StudyError
from ml_suite.study import sampling, space
from ml_suite.study.expressions import ExpressionError
from ml_suite.study.grid import Grid
from ml_suite.study.space import Space

if TYPE_CHECKING:
    from ml_suite.config.source import Source

DRAWS = 1000
"""Trials that are drawn to see how many fulfil the constraints."""
FEW = 0.01
"""Share of draws below which a person is warned."""


def check(hpo: Hpo | None, source: Source) -> Iterator[Finding]:
    """Draw from the space: errors and warnings with their places in the file.

    Parameters
    ----------
    hpo
        None: there is no search, and nothing to say.
    source
        The file that has the section `hpo`.
    """
    if hpo is None:
        return
    try:
        ready = space.build(hpo.space, hpo.constraints)
    except StudyError as error:
        yield source.finding(Severity.ERROR, ("hpo", "space"), error.message, error.hint)
        return
    if ready.constraints:
        yield from _constraints(ready, hpo.seed, source)
    if hpo.sampling == "grid":
        yield from _grid(ready, hpo.step1.trials, source)
    elif hpo.sampling in ("random", "sobol"):
        yield from _repeated(ready, hpo.step1.trials, source)


def satisfied(ready: Space, seed: int, draws: int = DRAWS) -> list[float]:
    """Share of draws that fulfil each constraint, and last the share that fulfils all of them.

    Raises
    ------
    ExpressionError
        If a constraint has no answer for some draw.
    """
    free = Space(ready.dimensions, ready.parts, (), (), ready.parts)
    counts = [0] * (len(ready.constraints) + 1)
    for trial in range(draws):
        values = free.place(sampling.numbers(seed, trial)) or {}
        held = [constraint.holds(values, absent=True) for constraint in ready.constraints]
        for i, holds in enumerate([*held, all(held)]):
            counts[i] += holds
    return [count / draws for count in counts]


def _constraints(ready: Space, seed: int, source: Source) -> Iterator[Finding]:
    try:
        *alone, together = satisfied(ready, seed)
        if not together:
            # rarer than the warning can see; what a trial can still find is no error
            *alone, together = satisfied(ready, seed, sampling.ATTEMPTS)
    except ExpressionError as error:
        texts = [constraint.text for constraint in ready.constraints]
        number = texts.index(error.text)
        where = ("hpo", "constraints", number)
        if source.data["hpo"]["constraints"][number] != error.text:  # a name of it stands for more
            yield source.finding(Severity.ERROR, where, error.message, error.hint)
            return
        yield source.finding(Severity.ERROR, where, error.what, error.hint, column=error.column)
        return
    worst = ("hpo", "constraints", alone.index(min(alone)))
    hint = "loosen it, or choose ranges of which a larger part fulfils it"
    if not together:
        what = _what(alone, "fulfils")
        message = f"none of {sampling.ATTEMPTS:,} trials that were drawn {what}"
        yield source.finding(Severity.ERROR, worst, message, hint)
    elif together < FEW:
        what = _what(alone, "fulfil")
        message = f"only {100 * together:.2g}% of the trials that are drawn {what}"
        yield source.finding(Severity.WARNING, worst, message, hint)


def _what(alone: Sequence[float], verb: str) -> str:
    if len(alone) == 1:
        return f"{verb} this constraint"
    return f"{verb} all {len(alone)} constraints; this one alone: {100 * min(alone):.2g}%"


def _grid(ready: Space, trials: int, source: Source) -> Iterator[Finding]:
    where = ("hpo", "step1", "trials")
    try:
        grid = Grid(ready)
        size = grid.size(trials + 1)
    except StudyError as error:
        yield source.finding(Severity.ERROR, ("hpo", "sampling"), error.message, error.hint)
        return
    if size < trials:
        message = f"the grid has {size:,} points for {trials:,} trials"
        hint = f"write {size}, or give real ranges more points" if size > 1 else "widen hpo.space"
        yield source.finding(Severity.ERROR, where, message, hint)
    elif size > trials:
        whole = f"{_number(grid.combinations)} points" if not ready.constraints else "more points"
        message = f"the grid has {whole}, of which only the first {trials:,} are tried"
        hint = "write `sampling: sobol` to fill the space evenly with fewer trials"
        yield source.finding(Severity.WARNING, where, message, hint)


def _repeated(ready: Space, trials: int, source: Source) -> Iterator[Finding]:
    """Trials of a small space are drawn more than once."""
    if any(given.kind in ("float", "log") for given in ready.dimensions.values()):
        return
    try:
        size = Grid(ready).combinations
    except StudyError:
        return  # far too many to repeat
    if size < trials:
        message = f"the space has {size:,} combinations, so that {trials:,} trials repeat some"
        hint = f"write `sampling: grid` and trials: {size} to try each once"
        yield source.finding(Severity.WARNING, ("hpo", "step1", "trials"), message, hint)


def _number(count: int) -> str:
    return f"{count:,}" if count < 10**15 else f"about 10^{len(str(count)) - 1}"
