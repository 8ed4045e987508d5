"""Carry out an evaluation: loss and forecasts of every contestant on the same dates, in one process."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from ml_suite.evaluation.forecast import ForecastScores, score_forecasts
from ml_suite.evaluation.loss import trainer_loss
from ml_suite.evaluation.rmse import skill
from ml_suite.evaluation.scores import Contestant, Evaluation, ModelScores, Request

PACKAGES = (
    "anemoi-datasets",
    "anemoi-graphs",
    "anemoi-inference",
    "anemoi-models",
    "anemoi-registry",
    "anemoi-training",
    "anemoi-transform",
    "anemoi-utils",
    "mlflow-skinny",
    "pytorch-lightning",
    "torch",
    "zarr",
)
"""Packages whose versions decide what a training gives."""


def evaluate(
    request: Request, files: Mapping[str, Path], dataset: Path, validation: float | None
) -> Evaluation:
    """Score every contestant.

    Parameters
    ----------
    files
        Checkpoint of each contestant, by role.
    dataset
        Zarr store on this machine.
    validation
        The winner's metric on the validation period.
    """
    winner, *others = request.contestants
    metrics, forecasts = _score(request, files[winner.role], dataset)
    models, notes = [_scores(request, winner, metrics, forecasts, validation)], []
    for contestant in others:
        try:
            models.append(
                _scores(request, contestant, *_score(request, files[contestant.role], dataset), None)
            )
        # old weights may want other variables or another grid and fail anywhere; that must not stop the new ones
        except Exception as error:
            notes.append(
                f"the {contestant.role} could not be judged on these data: {type(error).__name__}: {error}"
            )
    return Evaluation(
        request=request,
        starts=forecasts.starts,
        lead_hours=forecasts.lead_hours,
        units=forecasts.units,
        persistence=forecasts.persistence,
        models=models,
        software=software(),
        note="; ".join(" ".join(note.split())[:300] for note in notes),
    )


def without_forecasts(request: Request, validation: float) -> Evaluation:
    """Say what a trainer without Anemoi checkpoints knows: its own value on the validation period."""
    contestant = request.contestants[0]
    model = ModelScores(
        role="winner", uuid=contestant.uuid, sha256=contestant.sha256, loss=None, validation=validation
    )
    note = f"trainer {request.trainer} leaves no Anemoi checkpoint: only its value on the validation period is known"
    return Evaluation(request=request, models=[model], software=software(), note=note)


def software() -> dict[str, str]:
    """Versions of the packages that matter, as far as they are installed here."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _score(request: Request, checkpoint: Path, dataset: Path) -> tuple[dict[str, float], ForecastScores]:
    metrics = trainer_loss(checkpoint, dataset, request.test)
    lead_time = timedelta(hours=request.lead_hours)
    return metrics, score_forecasts(checkpoint, dataset, request.test, lead_time, request.forecasts)


def _scores(
    request: Request,
    contestant: Contestant,
    metrics: dict[str, float],
    forecasts: ForecastScores,
    validation: float | None,
) -> ModelScores:
    return ModelScores(
        role=contestant.role,
        uuid=contestant.uuid,
        sha256=contestant.sha256,
        loss=metrics.get(request.metric),
        validation=validation,
        metrics=metrics,
        rmse=forecasts.rmse,
        skill=skill(forecasts.rmse, forecasts.persistence),
    )
