"""Task evaluate: score the winner, and the weights in use if there are any, on the test period.

Leaves ``evaluation/scores.json`` and the figure. Run again it finds its own scores and computes nothing; with other
weights, data or settings it starts anew.
"""

from __future__ import annotations

import argparse
from datetime import timedelta
from pathlib import Path

from ml_suite import atomic
from ml_suite.config.deployment import Deployment
from ml_suite.errors import StudyError
from ml_suite.evaluation import figure
from ml_suite.evaluation import run as evaluation
from ml_suite.evaluation.scores import Contestant, Evaluation, Request, summary
from ml_suite.jobs import callback, planning
from ml_suite.jobs.context import Job
from ml_suite.layout import WorkTree
from ml_suite.lineage.training import CheckpointLink
from ml_suite.study.contract import Checkpoint, Selection, TrialSpec

SCORES = "scores.json"
FIGURES = {"png": "rmse.png", "svg": "rmse.svg"}


def run(job: Job, arguments: list[str]) -> None:
    """Evaluate and tell the operator the score."""
    argparse.ArgumentParser(prog="evaluate").parse_args(arguments)
    scores = evaluate(job)
    callback.label("score", summary(scores))
    print(summary(scores))
    if scores.note:
        callback.label("info", scores.note)
        print(scores.note)


def evaluate(job: Job) -> Evaluation:
    """Leave the scores and the figure of the winner.

    Raises
    ------
    StudyError
        If there is no winner yet, its checkpoint is gone, or the test period is too short.
    DeliveryError
        If the weights in use cannot be fetched.
    """
    tree = job.tree
    selection = winner_of(tree)
    spec = planning.specification_of(job, selection.result)
    if spec.trainer != "anemoi":
        weights = selection.result.checkpoint
        contestant = Contestant(
            role="winner",
            uuid=weights.uuid if weights else None,
            sha256=weights.sha256 if weights else None,
        )
        scores = evaluation.without_forecasts(_request(job.deployment, spec, [contestant]), _own(selection))
        scores.save(tree.evaluation / SCORES)
        return scores
    winner = _checkpoint(selection)
    incumbent = _incumbent(job, winner)
    contestants = [Contestant(role="winner", uuid=winner.uuid, sha256=winner.sha256)]
    if incumbent:
        contestants.append(Contestant(role="incumbent", uuid=incumbent.uuid, sha256=incumbent.sha256))
    request = _request(job.deployment, spec, contestants)
    scores = _known(tree, request) or _compute(job, request, winner, incumbent, spec, selection)
    _draw(tree, scores)
    return scores


def winner_of(tree: WorkTree) -> Selection:
    """Read the winner of the study, or the single training.

    Raises
    ------
    StudyError
        If there is none yet.
    """
    if not tree.selection.exists():
        raise StudyError(f"there is no winner yet: {tree.selection} is missing", "Run the task select first.")
    return Selection.load(tree.selection)


def _checkpoint(selection: Selection) -> Checkpoint:
    found = selection.result.checkpoint
    if found is None or not found.path.is_file():
        where = f": {found.path}" if found else ""
        raise StudyError(f"the winner's checkpoint is missing{where}", "Run the task of its candidate again.")
    return found


def _own(selection: Selection) -> float:
    """Value of the weights that won; that of a finalist is the mean of several trainings."""
    own = selection.result.value
    return selection.value if own is None else own


def _request(deployment: Deployment, spec: TrialSpec, contestants: list[Contestant]) -> Request:
    return Request(
        trainer=spec.trainer,
        metric=spec.metric,
        direction=spec.direction,
        contestants=contestants,
        dataset=spec.dataset.name,
        dataset_uuid=spec.dataset.uuid,
        manifest=spec.dataset.manifest,
        test=spec.test,
        lead_hours=deployment.evaluation.lead_time // timedelta(hours=1),
        forecasts=deployment.evaluation.forecasts,
    )


def _known(tree: WorkTree, request: Request) -> Evaluation | None:
    """Scores of an earlier run, if they answer the same request."""
    try:
        scores = Evaluation.load(tree.evaluation / SCORES)
    except (OSError, ValueError):  # none yet, or written by another version
        return None
    return scores if scores.request == request else None


def _compute(
    job: Job,
    request: Request,
    winner: Checkpoint,
    incumbent: CheckpointLink | None,
    spec: TrialSpec,
    selection: Selection,
) -> Evaluation:
    files: dict[str, Path] = {"winner": winner.path}
    if incumbent:
        files["incumbent"] = _fetch(job, incumbent)
    scores = evaluation.evaluate(request, files, spec.dataset.path, _own(selection))
    scores.save(job.tree.evaluation / SCORES)
    return scores


def _incumbent(job: Job, winner: Checkpoint) -> CheckpointLink | None:
    """Weights that the catalogue says were in use before the winner."""
    from ml_suite.lineage.entries import read_training
    from ml_suite.stores.s3 import head

    entry = read_training(job.deployment.suite, job.connections().catalogue)
    version = entry.incumbent(excluding=winner.uuid) if entry else None
    weights = version.checkpoint if version else None
    if weights and head(weights.s3, job.connections().s3) is None:
        words = f"the weights in use are gone from {weights.s3}: nothing to compare with"
        callback.label("info", words)
        print(words)
        return None
    return weights


def _fetch(job: Job, incumbent: CheckpointLink) -> Path:
    """Download weights and check them; a file that is there already and right is kept."""
    import hashlib

    from ml_suite.stores.s3 import get_file

    path = job.tree.evaluation / "incumbent" / f"{incumbent.uuid}.ckpt"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != incumbent.sha256:
        get_file(incumbent.s3, path, job.connections().s3, sha256=incumbent.sha256)
    return path


def _draw(tree: WorkTree, scores: Evaluation) -> None:
    if scores.persistence:
        atomic.write(tree.evaluation / FIGURES["png"], figure.draw(scores, "png"))
        atomic.write(tree.evaluation / FIGURES["svg"], figure.draw(scores, "svg"))
