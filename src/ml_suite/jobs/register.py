"""Task register: the winner's weights and the training into the catalogue, with the whole lineage.

Every object is uploaded, or found there with the right bytes, before an entry refers to it, and every entry is read
back. Run again with the same winner it changes nothing.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Any

from ml_suite import atomic
from ml_suite.config.resolved import GitSource
from ml_suite.errors import DeliveryError, StudyError
from ml_suite.evaluation.promotion import decide
from ml_suite.evaluation.scores import Evaluation
from ml_suite.jobs import callback, planning
from ml_suite.jobs.artefacts import Artefacts
from ml_suite.jobs.context import Job
from ml_suite.jobs.entry import Facts, compose, outdated
from ml_suite.jobs.evaluate import FIGURES, SCORES, winner_of
from ml_suite.jobs.outbox import Deliveries
from ml_suite.jobs.setup import HostEnvironment
from ml_suite.layout import WorkTree
from ml_suite.lineage.entries import parse_training
from ml_suite.lineage.training import CheckpointLink, Registered, SourceFile, TrainingMetadata
from ml_suite.study.contract import Selection

if TYPE_CHECKING:
    from ml_suite.stores.catalogue import Catalogue

DELIVERIES = "deliveries.json"


def run(job: Job, arguments: list[str]) -> None:
    """Register and tell the operator what is in use now."""
    argparse.ArgumentParser(prog="register").parse_args(arguments)
    done = register(job)
    verb = "promoted" if done.promoted else "not promoted"
    callback.label("weights", f"{done.weights or 'none'}, {verb}: {done.reason}")
    print(f"weights {done.weights} {verb}: {done.reason}")
    print(f"catalogue: {done.catalogue_page}")


def register(job: Job) -> Registered:
    """Write weights and training, and leave registered.json.

    Raises
    ------
    StudyError
        If there is no winner, or it was not evaluated.
    DeliveryError
        If the object store or the catalogue does not take or keep something.
    """
    from ml_suite.stores.catalogue import connect

    tree = job.tree
    selection = winner_of(tree)
    evaluation = scores_of(tree, selection)
    deliveries = deliveries_of(tree, selection)
    catalogue = connect(job.connections())
    artefacts = Artefacts.of(job)
    recipe, config = job.resolved.recipe, job.resolved.config
    host = planning.place_of(job, selection.result).host
    facts = Facts(
        suite=job.deployment.suite,
        cycle=job.cycle,
        host=host,
        ecflow_path=os.environ.get("ECF_NAME") or f"/{job.deployment.suite}",
        selection=selection,
        spec=planning.specification_of(job, selection.result),
        evaluation=evaluation,
        scores=artefacts.put(tree.evaluation / SCORES, SCORES),
        figures={
            kind: artefacts.put(tree.evaluation / name, name)
            for kind, name in FIGURES.items()
            if (tree.evaluation / name).exists()
        },
        checkpoint=_weights(job, selection, deliveries, catalogue),
        deliveries=deliveries,
        recipe=_built_from(catalogue, job.deployment.dataset_name) or _source(recipe),
        config=_source(config) if config else None,
        deployment=_source(job.resolved.source),
        environment=_environment(tree, host),
    )
    decision = decide(evaluation)
    previous = _previous(catalogue, job.deployment.suite)
    metadata = compose(facts, decision, previous)
    kept = previous if previous and outdated(metadata, previous) else metadata
    entry = catalogue.put_training(job.deployment.suite, kept.model_dump(mode="json"))
    run_page = deliveries.run(selection.result)
    done = Registered(
        training=entry.key,
        weights=metadata.checkpoint.uuid if metadata.checkpoint else None,
        promoted=decision.promote,
        reason=decision.reason,
        catalogue_page=catalogue.page("trainings", entry.key),
        mlflow_page=run_page.url if run_page else None,
        # the archive has a receipt of its own, made later
        metadata=metadata.model_copy(update={"archive": None}),
    )
    atomic.write(tree.registered, done.model_dump_json(indent=1) + "\n")
    return done


def _environment(tree: WorkTree, host: str) -> dict[str, Any]:
    """What the set-up of a host found there; nothing if it was never set up in this cycle."""
    try:
        found = HostEnvironment.load(tree.root / f"environment-{host}.json")
    except (OSError, ValueError):
        return {}
    return found.model_dump(mode="json")


def scores_of(tree: WorkTree, selection: Selection) -> Evaluation:
    """Read the scores of the winner.

    Raises
    ------
    StudyError
        If there are none, or they are of other weights.
    """
    path = tree.evaluation / SCORES
    if not path.exists():
        raise StudyError(f"the winner is not evaluated: {path} is missing", "Run the task evaluate first.")
    scores = Evaluation.load(path)
    weights = selection.result.checkpoint
    if scores.winner.sha256 != (weights.sha256 if weights else None):
        raise StudyError(f"{path} is of other weights than the winner's", "Run the task evaluate again.")
    return scores


def deliveries_of(tree: WorkTree, selection: Selection) -> Deliveries:
    """Read what the courier delivered.

    Raises
    ------
    StudyError
        If there is nothing, or it is of another study.
    """
    path = tree.root / DELIVERIES
    if not path.exists():
        raise StudyError(f"nothing was delivered: {path} is missing", "Run the task deliver first.")
    found = Deliveries.load(path)
    if found.study != selection.study:
        raise StudyError(
            f"{path} is of study {found.study}, not {selection.study}", "Run the task deliver again."
        )
    return found


def _weights(
    job: Job, selection: Selection, deliveries: Deliveries, catalogue: Catalogue
) -> CheckpointLink | None:
    """Prove that the object store has the weights, and register them; None if they are not Anemoi's."""
    from ml_suite.stores.s3 import put_file

    weights = selection.result.checkpoint
    if weights is None or weights.uuid is None:
        return None
    delivered = deliveries.checkpoint(selection.result)
    if delivered is None or delivered.sha256 != weights.sha256:
        raise DeliveryError("the winner's weights are not in the object store", "Run the task deliver again.")
    if not weights.path.is_file():
        raise StudyError(
            f"the winner's checkpoint is missing: {weights.path}", "Run the task of its candidate again."
        )
    sha256, size = put_file(weights.path, delivered.url, job.connections().s3)
    if sha256 != weights.sha256:
        raise StudyError(
            f"{weights.path} changed since it was trained", "Run the task of its candidate again."
        )
    entry = catalogue.register_weights(weights.path, location=delivered.url)
    if entry.uuid != weights.uuid:
        raise DeliveryError(f"{weights.path} is registered as {entry.uuid}, its trial says {weights.uuid}")
    return CheckpointLink(s3=delivered.url, sha256=sha256, size=size, uuid=entry.uuid)


def _previous(catalogue: Catalogue, suite: str) -> TrainingMetadata | None:
    record = catalogue.get("trainings", suite)
    if record is None:
        return None
    found = parse_training(record)
    if found is None:
        raise DeliveryError(
            f"the catalogue has an entry trainings/{suite} that ml-suite did not write",
            "Rename the suite, or remove the entry.",
        )
    return found


def _built_from(catalogue: Catalogue, dataset: str) -> SourceFile | None:
    """Recipe that the dataset was built from, which may be older than the deployed one in its comments."""
    from ml_suite.datasets.entry import registered_provenance

    built = registered_provenance(catalogue, dataset).recipe
    return _source(built) if built else None


def _source(source: GitSource) -> SourceFile:
    return SourceFile.model_validate(source.model_dump())
