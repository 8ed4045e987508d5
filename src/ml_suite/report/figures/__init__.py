"""The figures of a report, by topic; pure: what to draw, not how."""

from __future__ import annotations

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


def figures(report: Report) -> list[Figure]:
    """All figures that the report has data for."""
    view = View(report)
    return [figure for make in MAKERS if (figure := make(view)) is not None]
