"""A report seen by what figures ask of it: trainings by step and rank, each with its position among the rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from statistics import quantiles

from ml_suite.report.figure import Axis, Box, Marker, Points, Role
from ml_suite.report.model import Report, Row
from ml_suite.report.scales import value_axis
from ml_suite.report.summary import Pair, step_pairs, value
from ml_suite.study.contract import TrialState

Entry = tuple[int, Row]
"""Position among the rows of the report, and the row."""


class View:
    """The report's rows in useful orders."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.minimise = report.direction == "minimize"

    @cached_property
    def places(self) -> dict[int, int]:
        """Place of each trial in step 1: its rank, and behind those that are complete the ones that were cut."""
        ordered = [*self.ranked(1), *self.pruned]
        return {row.trial: place for place, (_, row) in enumerate(ordered, start=1)}

    @property
    def metric(self) -> str:
        """Name of the metric."""
        return self.report.metric or "value"

    @property
    def better(self) -> str:
        """Which way is good."""
        return "lower is better" if self.minimise else "higher is better"

    @cached_property
    def position(self) -> dict[tuple[int, int], int]:
        """Position of a step's trial, without replicates."""
        return {(r.step, r.trial): i for i, r in enumerate(self.report.rows) if not r.replicate}

    @cached_property
    def pairs(self) -> list[Pair]:
        """Candidates with a value in both steps."""
        return step_pairs(self.report.rows)

    def ranked(self, step: int) -> list[Entry]:
        """Complete trainings of a step, best first."""
        return self._ranked.get(step, [])

    @cached_property
    def _ranked(self) -> dict[int, list[Entry]]:
        found: dict[int, list[Entry]] = {}
        for i, row in enumerate(self.report.rows):
            if row.rank and row.value is not None:
                found.setdefault(row.step, []).append((i, row))
        return {step: sorted(entries, key=lambda e: e[1].rank or 0) for step, entries in found.items()}

    @cached_property
    def pruned(self) -> list[Entry]:
        """Trials of step 1 that were cut, best first."""
        sign = 1 if self.minimise else -1
        cut = [
            (i, row)
            for i, row in enumerate(self.report.rows)
            if row.step == 1 and row.state is TrialState.PRUNED and value(row) is not None
        ]
        return sorted(cut, key=lambda e: sign * (value(e[1]) or 0))

    @cached_property
    def judged(self) -> int:
        """Step whose values count at last: 2 when candidates were trained again."""
        return next((step for step in (2, 1, 0) if self.ranked(step)), 1)

    def axis(self, values: Iterable[float | None], what: str = "", whole: bool = False) -> Axis:
        """Axis of the metric."""
        return value_axis(f"{self.metric}{f', {what}' if what else ''}", values, whole=whole)

    def step_points(self, step: int, x: Sequence[float], entries: Sequence[Entry]) -> Points:
        """Marks of one step at the metric; those of step 1 are small where there are many."""
        size = mark_size(len(entries)) if step == 1 else 6.5
        name = {0: "training", 1: "step 1, on the subset", 2: "step 2, on all data"}[step]
        role: Role = "step1" if step == 1 else "step2"
        return points(name, role, list(zip(x, entries, strict=True)), size=size)

    def winner_points(self, places: Sequence[tuple[float, Entry]]) -> list[Points]:
        """The winner's mark, when it is among the entries."""
        won = [(x, e) for x, e in places if e[1].winner]
        return [points("winner", "winner", won, "star", 12)] if won else []


def mark_size(count: int) -> float:
    """Diameter in points, so that many marks leave room for each other."""
    return 6.5 if count < 60 else 5.0 if count < 600 else 4.0


def points(
    name: str,
    role: Role,
    places: Sequence[tuple[float, Entry]],
    marker: Marker = "circle",
    size: float = 6,
) -> Points:
    """Marks of trainings at (x, metric)."""
    known = [(x, i, v) for x, (i, row) in places if (v := value(row)) is not None]
    return Points(
        name,
        role,
        [x for x, _, _ in known],
        [v for _, _, v in known],
        [i for _, i, _ in known],
        marker=marker,
        size=size,
    )


def box(x: float, values: Sequence[float], label: str = "") -> Box:
    """Spread of some values, at least one."""
    if len(values) < 2:
        lower = median = upper = values[0]
    else:
        lower, median, upper = quantiles(values, n=4, method="inclusive")
    return Box(x, min(values), lower, median, upper, max(values), len(values), label)


def count(number: int, one: str, many: str = "") -> str:
    """Write a number of things.

    >>> count(1, "trial"), count(12000, "trial")
    ('1 trial', '12,000 trials')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"
