"""Read the record of a study and what came after it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from ml_suite.config.deployment import Deployment
from ml_suite.config.resolved import Resolved
from ml_suite.config.resources import Resources
from ml_suite.errors import MlSuiteError
from ml_suite.evaluation.scores import Evaluation
from ml_suite.jobs.places import found, piloted, places
from ml_suite.layout import ONCE, WorkTree
from ml_suite.lineage.training import Registered, StoredObject, TrainingMetadata
from ml_suite.report.assemble import Found, assemble
from ml_suite.report.model import Links, Report
from ml_suite.study import planning
from ml_suite.study.certificate import Certificate
from ml_suite.study.contract import Selection, Shortlist, StudyPlan, TrialResult
from ml_suite.study.files import load

State = Literal["empty", "running", "selected", "evaluated", "registered"]


def collect(resolved: Resolved, cycle: str = ONCE, now: datetime | None = None) -> Report:
    """Everything that is known of one cycle of a suite; a half-finished study gives a report too.

    Raises
    ------
    StudyError
        If a file of the study is damaged.
    """
    deployment = resolved.deployment
    tree = WorkTree.of(resolved, resolved.ops, cycle)
    plan = load(StudyPlan, tree.plan)
    selection = load(Selection, tree.selection)
    results = _results(resolved, cycle, plan)
    searching = deployment.hpo is not None
    found = Found(
        results=results,
        plan=plan,
        chosen=load(Shortlist, tree.shortlist),
        selection=selection,
        planned=None if searching and plan else _planned(deployment),
        gpus=_gpus(deployment),
        pilot=_pilot(resolved, cycle),
        certificate=load(Certificate, tree.certificate),
    )
    evaluation = load(Evaluation, tree.evaluation / "scores.json")
    registered = load(Registered, tree.registered)
    base = assemble(found, deployment.suite, now or datetime.now(UTC), searching)
    return base.model_copy(
        update={
            "cycle": cycle,
            "state": _state(results, selection, evaluation, registered),
            "missing": _missing(deployment, tree, plan, selection, evaluation, registered),
            "dataset": deployment.dataset_name,
            "samples": plan.samples if plan else {},
            "evaluation": evaluation,
            "training": registered.metadata if registered else None,
            "links": _links(registered, tree),
        }
    )


def cycles(resolved: Resolved) -> list[str]:
    """Cycles that have a folder, oldest first."""
    root = WorkTree.of(resolved, resolved.ops).root.parent
    return sorted(p.name for p in root.iterdir() if (p / "study").is_dir()) if root.is_dir() else []


def _results(resolved: Resolved, cycle: str, plan: StudyPlan | None) -> list[TrialResult]:
    if plan is None:
        return []
    where = places(resolved, resolved.ops, cycle)
    return [one.result for step in (0, 1, 2) for one in found(where, step, plan.study)]


def _pilot(resolved: Resolved, cycle: str) -> list[TrialResult]:
    """Trainings of the pilot, wherever it ran; its parts train the same trials, so each is a record of its own."""
    where = places(resolved, resolved.ops, cycle)
    names = {path.parent.name for place in where for path in place.tree.pilot.glob("*/record.jsonl")}
    return [result for name in sorted(names) for result in piloted(where, name)]


def _planned(deployment: Deployment) -> dict[int, int]:
    hpo = deployment.hpo
    if hpo is None:
        return {0: 1}
    return {1: hpo.step1.trials, 2: planning.candidates(hpo) + hpo.step2.again}


def _gpus(deployment: Deployment) -> dict[int, int]:
    """GPUs of one training by step."""
    usual = deployment.training.resources

    def gpus(chosen: Resources | None) -> int:
        return (chosen or usual).gpus

    if deployment.hpo is None:
        return {0: usual.gpus}
    return {1: gpus(deployment.hpo.step1.resources), 2: gpus(deployment.hpo.step2.resources)}


def _state(
    results: list[TrialResult],
    selection: Selection | None,
    evaluation: Evaluation | None,
    registered: Registered | None,
) -> State:
    if registered:
        return "registered"
    if evaluation:
        return "evaluated"
    if selection:
        return "selected"
    return "running" if results else "empty"


def _missing(
    deployment: Deployment,
    tree: WorkTree,
    plan: StudyPlan | None,
    selection: Selection | None,
    evaluation: Evaluation | None,
    registered: Registered | None,
) -> list[str]:
    searching = deployment.hpo is not None
    wanted = [
        (
            plan or not searching,
            "the pilot has not decided yet (family pilot)"
            if tree.pilot_plan.exists()
            else "the study is not planned yet (task plan)",
        ),
        (
            tree.shortlist.exists() or not searching,
            "step 1 is not finished: there is no shortlist (task shortlist)",
        ),
        (
            selection,
            "there is no winner yet (task select)"
            if searching
            else "the training is not finished (task train)",
        ),
        (evaluation, "the winner is not scored on the test period yet (task evaluate)"),
        (registered, "the weights are not in the catalogue yet (task register)"),
    ]
    return [words for there, words in wanted if not there]


def _links(registered: Registered | None, tree: WorkTree) -> Links:
    if registered is None:
        return Links()
    training: TrainingMetadata = registered.metadata
    objects = {}
    if training.checkpoint:
        objects["weights"] = training.checkpoint.s3
    if training.evaluation:
        objects["scores"] = training.evaluation.scores.s3
        objects |= {f"figure ({kind})": figure.s3 for kind, figure in training.evaluation.figures.items()}
    if archive := load(StoredObject, tree.root / "archive.json"):
        objects["archive"] = archive.s3
    return Links(
        mlflow=registered.mlflow_page,
        catalogue=registered.catalogue_page,
        ecflow=training.ecflow_path,
        objects=objects,
    )


def deployed(suite: str, home: Path) -> Resolved:
    """Resolved deployment of a suite.

    Raises
    ------
    MlSuiteError
        If it was never deployed from here.
    """
    path = home / "suites" / suite / "resolved.json"
    if not path.exists():
        known = sorted(p.parent.name for p in home.glob("suites/*/resolved.json"))
        hint = f"Deployed here: {', '.join(known)}." if known else "Run: ml-suite deploy FILE"
        raise MlSuiteError(f"suite {suite!r} is not deployed from here ({path})", hint)
    return Resolved.load(path)
