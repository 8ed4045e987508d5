"""Take every checksum and uuid of a lineage again from the real objects."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ml_suite.errors import DeliveryError, MlSuiteError
from ml_suite.lineage import checkpoint, mlflow, objects
from ml_suite.lineage.records import Records, locations
from ml_suite.lineage.training import (
    CheckpointLink,
    DatasetLink,
    SourceFile,
    StoredObject,
    TrainingMetadata,
    Version,
)
from ml_suite.stores.connections import S3, Connections

Verdict = Literal["ok", "mismatch", "unknown"]


@dataclass(frozen=True)
class Check:
    """One fact that was taken again."""

    node: str
    """Node of the lineage."""
    what: str
    expected: str
    found: str
    verdict: Verdict
    """`unknown`: there was nothing to take it from here."""


def verify(records: Records, connections: Connections, repository: Path | None) -> Iterator[Check]:
    """Check each fact, as they come.

    Parameters
    ----------
    repository
        A clone of the repository with recipe and deployment; None skips those.
    """
    for training in records.trainings:
        for source in (training.git.recipe, training.git.config, training.git.deployment):
            if source:
                yield from _source(source, repository)
        for link in training.datasets:
            yield from _dataset(link, records, connections.s3)
        yield from _run(training, connections)
        for version in training.history:
            if version.checkpoint:
                yield from _weights(version, version.checkpoint, training, connections.s3)
        if training.evaluation:
            yield from _evaluation(training, connections.s3)
        if training.archive:
            yield _object("archive", training.archive, connections.s3)


def _same(node: str, what: str, expected: str, found: str) -> Check:
    return Check(node, what, expected, found, "ok" if expected == found else "mismatch")


def _tried(node: str, what: str, expected: str, take: Callable[[], str]) -> Check:
    """Check a fact whose object may be missing: that is a mismatch, too."""
    try:
        return _same(node, what, expected, take())
    except MlSuiteError as error:
        return Check(node, what, expected, error.message, "mismatch")
    except (ValueError, LookupError, TypeError) as error:
        return Check(node, what, expected, f"unreadable: {error}", "mismatch")


def _source(source: SourceFile, repository: Path | None) -> Iterator[Check]:
    node = f"source:{source.sha256}"
    if source.blob is None or repository is None:
        why = "not under version control" if source.blob is None else "no clone of the repository here"
        yield Check(node, f"{source.path}: sha256", source.sha256, why, "unknown")
        return
    content = _git(repository, "cat-file", "blob", source.blob)
    if content is None:
        missing = "uncommitted when it was deployed" if source.dirty else "not in this clone"
        yield Check(node, f"{source.path}: blob {source.blob}", source.sha256, missing, "unknown")
        return
    yield _same(node, f"{source.path}: sha256 of blob {source.blob}", source.sha256, objects.sha256(content))
    if source.commit and not source.dirty:
        listed = _git(repository, "rev-parse", f"{source.commit}:{source.path}")
        found = listed.decode().strip() if listed else "not in this clone"
        yield _same(node, f"{source.path}: blob in commit {source.commit[:12]}", source.blob, found)


def _git(repository: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", "-C", str(repository), *arguments], capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _dataset(link: DatasetLink, records: Records, connection: S3) -> Iterator[Check]:
    node = f"dataset:{link.uuid}"
    record = records.datasets.get(link.uuid)
    stores = [place for place in locations(record or {}).values() if place.startswith("s3://")]
    if not stores:
        yield Check(node, "copy in the object store", link.manifest, "none is registered", "mismatch")
    for store in stores:
        yield from _store(node, link, store, connection)


def _store(node: str, link: DatasetLink, store: str, connection: S3) -> Iterator[Check]:
    from ml_suite.stores import manifest as manifests

    address = f"{store}{manifests.SUFFIX}"
    try:
        text = objects.read(address, connection)
        listed = manifests.parse(text.decode(), address)
        wrong = objects.differing(store, listed, connection)
    except (MlSuiteError, UnicodeDecodeError) as error:
        yield Check(node, f"{address}: sha256", link.manifest, str(error), "mismatch")
        return
    yield _same(node, f"{address}: sha256", link.manifest, objects.sha256(text))
    every = f"{len(listed.entries)} as listed"
    found = f"{len(wrong)} differ: {', '.join(wrong[:5])}" if wrong else every
    yield _same(node, f"{store}: sha256 of all objects", every, found)
    attributes = f"{store}/.zattrs"
    yield _tried(
        node,
        f"{attributes}: uuid",
        link.uuid,
        lambda: str(json.loads(objects.read(attributes, connection))["uuid"]),
    )


def _run(training: TrainingMetadata, connections: Connections) -> Iterator[Check]:
    if training.mlflow.run_id is None:
        return
    node = f"run:{training.mlflow.run_id}"
    try:
        run = mlflow.get_run(training.mlflow.run_id, connections.mlflow)
    except DeliveryError as error:
        yield Check(node, "MLflow run", training.mlflow.run_id, error.message, "mismatch")
        return
    if run is None:
        yield Check(node, "MLflow run", training.mlflow.run_id, "not on the server", "mismatch")
        return
    expected = {
        "ml_suite.study": training.hpo.study,
        "ml_suite.number": str(training.hpo.trial),
        "ml_suite.trainer_run": training.run_id or "",
        "ml_suite.dataset_uuid": training.datasets[0].uuid if training.datasets else "",
    }
    if training.checkpoint:
        expected["ml_suite.checkpoint_sha256"] = training.checkpoint.sha256
    for tag, value in expected.items():
        yield _same(node, f"tag {tag}", value, run.tags.get(tag, ""))
    if training.mlflow.parent_run_id:
        yield _same(node, "parent run", training.mlflow.parent_run_id, run.parent or "")


def _weights(
    version: Version, weights: CheckpointLink, training: TrainingMetadata, connection: S3
) -> Iterator[Check]:
    node = f"weights:{weights.uuid}"
    try:
        with objects.downloaded(weights.s3, connection) as (path, found):
            yield _same(node, f"{weights.s3}: sha256", weights.sha256, found)
            inside = checkpoint.read_identity(path)
    except MlSuiteError as error:
        yield Check(node, f"{weights.s3}: content", weights.uuid, error.message, "mismatch")
        return
    yield _same(node, "uuid inside the file", weights.uuid, inside.uuid or "")
    if version.run_id:
        yield _same(node, "run id inside the file", version.run_id, inside.run_id or "")
    if version == training.history[-1] and training.datasets:
        data = ", ".join(sorted(link.uuid for link in training.datasets))
        yield _same(node, "dataset uuid inside the file", data, ", ".join(inside.dataset_uuids))


def _evaluation(training: TrainingMetadata, connection: S3) -> Iterator[Check]:
    found = training.evaluation
    assert found is not None
    node = f"evaluation:{found.scores.sha256}"
    yield _object(node, found.scores, connection)
    for figure in found.figures.values():
        yield _object(node, figure, connection)
    if found.weights:
        scores = found.scores.s3

        def judged() -> str:
            return str(json.loads(objects.read(scores, connection))["models"][0]["sha256"])

        yield _tried(node, f"{scores}: sha256 of the winner", found.weights.sha256, judged)


def _object(node: str, stored: StoredObject, connection: S3) -> Check:
    return _tried(node, f"{stored.s3}: sha256", stored.sha256, lambda: objects.digest(stored.s3, connection))
