"""Which weights are put to use."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from ml_suite.evaluation.promotion import decide
from ml_suite.evaluation.scores import Contestant, Evaluation, ModelScores, Request, summary
from ml_suite.study.contract import Span


def evaluation(
    winner: dict[str, Any], incumbent: dict[str, Any] | None, direction: Any = "minimize"
) -> Evaluation:
    request = Request(
        trainer="anemoi",
        metric="val_loss",
        direction=direction,
        contestants=[Contestant(role="winner", uuid="a", sha256="b")],
        dataset="d",
        dataset_uuid="e",
        manifest="f",
        test=Span(start=datetime(1996, 1, 19), end=datetime(1996, 1, 20)),
        lead_hours=24,
        forecasts=3,
    )
    models = [ModelScores(role="winner", uuid="a", sha256="b", **winner)]
    if incumbent is not None:
        models.append(ModelScores(role="incumbent", uuid="c", sha256="d", **incumbent))
    return Evaluation(request=request, models=models)


@pytest.mark.parametrize(
    ("winner", "incumbent", "direction", "promote"),
    [
        ({"loss": 0.2}, None, "minimize", True),
        ({"loss": 0.2}, {"loss": 0.3}, "minimize", True),
        ({"loss": 0.2}, {"loss": 0.2}, "minimize", True),
        ({"loss": 0.3}, {"loss": 0.2}, "minimize", False),
        ({"loss": 0.3}, {"loss": 0.2}, "maximize", True),
        ({"loss": 0.2}, {"loss": 0.3}, "maximize", False),
        ({"loss": None, "skill": {"t": [0.1]}}, {"loss": 0.3, "skill": {"t": [0.2]}}, "minimize", False),
        ({"loss": None, "skill": {"t": [0.3]}}, {"loss": 0.3, "skill": {"t": [0.2]}}, "minimize", True),
        ({"loss": None}, {"loss": None}, "minimize", True),
    ],
)
def test_the_better_weights_are_promoted(
    winner: dict[str, Any], incumbent: dict[str, Any] | None, direction: Any, promote: bool
) -> None:
    decision = decide(evaluation(winner, incumbent, direction))
    assert decision.promote is promote
    assert decision.reason


def test_weights_that_fail_on_these_data_are_replaced_and_the_reason_says_so() -> None:
    scores = evaluation({"loss": 0.2}, None)
    contestants = [*scores.request.contestants, Contestant(role="incumbent", uuid="c", sha256="d")]
    request = scores.request.model_copy(update={"contestants": contestants})
    decision = decide(scores.model_copy(update={"request": request}))
    assert decision.promote
    assert "could not be judged" in decision.reason


def test_the_reason_names_both_numbers() -> None:
    reason = decide(evaluation({"loss": 0.25}, {"loss": 0.125})).reason
    assert "0.25" in reason
    assert "0.125" in reason
    assert "worse" in reason


def test_the_label_fits_on_a_line() -> None:
    told = summary(evaluation({"loss": 0.25, "skill": {"t": [0.5]}}, {"loss": 0.125}))
    assert told == "test loss 0.25, incumbent 0.125, skill against persistence +50%"
    assert summary(evaluation({"loss": None}, None)) == "not scored on the test period"
