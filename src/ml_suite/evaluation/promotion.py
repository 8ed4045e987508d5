"""Decide whether new weights replace those in use; pure."""

from __future__ import annotations

from dataclasses import dataclass

from ml_suite.evaluation.scores import Evaluation, ModelScores, mean_skill


@dataclass(frozen=True)
class Promotion:
    """A decision and its reason."""

    promote: bool
    reason: str


def decide(evaluation: Evaluation) -> Promotion:
    """Promote the winner unless the weights in use did better on the same test dates.

    The trainer's loss decides; where only one of the two has it, the mean skill against persistence.
    """
    winner, incumbent = evaluation.winner, evaluation.incumbent
    if incumbent is None and len(evaluation.request.contestants) > 1:
        return Promotion(True, "the weights in use could not be judged on these data")
    if incumbent is None:
        return Promotion(True, "there were no weights in use to compare with")
    minimise = evaluation.request.direction == "minimize"
    what, new, old = _compared(evaluation.request.metric, winner, incumbent)
    if new is None or old is None:
        return Promotion(True, "the weights in use could not be compared")
    higher_is_better = what == "skill" or not minimise
    promote = new >= old if higher_is_better else new <= old
    verdict = "is not worse than" if promote else "is worse than"
    return Promotion(
        promote, f"{what} {new:.6g} on the test period {verdict} {old:.6g} of the weights in use"
    )


def _compared(
    metric: str, winner: ModelScores, incumbent: ModelScores
) -> tuple[str, float | None, float | None]:
    if winner.loss is not None and incumbent.loss is not None:
        return metric, winner.loss, incumbent.loss
    return "skill", mean_skill(winner), mean_skill(incumbent)
