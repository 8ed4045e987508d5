"""The figures of a report, by topic; pure: what to draw, not how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ml_suite.report.figure import Figure
from ml_suite.report.figures import (
    agreement,
    complexity,
    forecasts,
    predictions,
    ranking,
    spending,
    trainings,
)
from ml_suite.report.figures.view import View
from ml_suite.report.model import Report

MAKERS = (
    agreement.agreement,
    ranking.by_rank,
    ranking.step1_against_step2,
    ranking.rank_groups,
    complexity.depth,
    complexity.parameters,
    complexity.inference,
    trainings.hyperparameters,
    trainings.histograms,
    trainings.learning_curves,
    predictions.truth_against_prediction,
    forecasts.rmse,
    spending.cost_map,
)
"""In the order of the page."""


T = TypeVar("T")


@dataclass(frozen=True)
class Undrawn:
    """A figure that could not be drawn."""

    name: str
    reason: str

    @property
    def words(self) -> str:
        """Which, and why."""
        return f"{self.name}: {self.reason}"


def each(report: Report, use: Callable[[Figure], T]) -> tuple[list[T], list[Undrawn]]:
    """Make something of each figure that the report has data for.

    A study is worth more than a figure of it: one that cannot be drawn takes no other down.
    """
    made: list[T] = []
    lost: list[Undrawn] = []
    try:
        view = View(report)
    except Exception as error:  # what no figure can be drawn of
        return [], [_undrawn("all figures", error)]
    for make in MAKERS:
        try:
            if (figure := make(view)) is not None:
                made.append(use(figure))
        except ImportError:
            raise  # what is not installed draws none
        except Exception as error:  # whatever is wrong with this one
            lost.append(_undrawn(make.__name__.replace("_", " ").replace("step", "step "), error))
    return made, lost


def _undrawn(name: str, error: Exception) -> Undrawn:
    return Undrawn(name, f"{type(error).__name__}: {error}")


def figures(report: Report) -> list[Figure]:
    """All figures that the report has data for."""
    view = View(report)
    return [figure for make in MAKERS if (figure := make(view)) is not None]
