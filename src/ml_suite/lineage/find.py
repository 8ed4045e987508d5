"""From a name, uuid, checksum or address to the records that belong to it, over the network only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ml_suite.errors import DeliveryError, MlSuiteError
from ml_suite.lineage import mlflow
from ml_suite.lineage.checkpoint import identity
from ml_suite.lineage.entries import parse_training
from ml_suite.lineage.records import Entry, Records, Run, mentions
from ml_suite.lineage.training import TrainingMetadata
from ml_suite.stores import catalogue_reader
from ml_suite.stores.connections import Connections

_SECONDS = 20.0
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def find(key: str, connections: Connections) -> Records:
    """Records of the trainings that KEY is part of, or of a dataset or weights that no training used.

    Parameters
    ----------
    key
        Name of a suite or dataset, uuid of weights, dataset or training, sha256 of anything, or an s3:// address.

    Raises
    ------
    MlSuiteError
        If nothing in the catalogue has it.
    DeliveryError
        If the catalogue does not answer.
    """
    return _Search(connections).find(key.rstrip("/"))


class _Search:
    """Reads each entry once."""

    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.cache: dict[tuple[str, str], Entry | None] = {}

    def find(self, key: str) -> Records:
        trainings = list(self._trainings_with(key))
        datasets: dict[str, Entry | None] = {}
        weights: dict[str, Entry | None] = {}
        if not trainings:
            datasets, weights = self._alone(key)
            trainings = [t for uuid in (*datasets, *weights) for t in self._trainings_with(uuid)]
        if not trainings and not datasets and not weights:
            raise MlSuiteError(
                f"nothing in the catalogue {self.connections.catalogue.url} is or has {key!r}",
                "Give a suite, a dataset, a uuid, a sha256 or an s3:// address.",
            )
        for training in trainings:
            for version in training.history:
                if version.checkpoint:
                    uuid = version.checkpoint.uuid
                    weights[uuid] = self._read("weights", uuid)
            for link in training.datasets:
                datasets[link.uuid] = self._dataset(link.uuid)
        for entry in list(weights.values()):
            for uuid in identity((entry or {}).get("metadata", {})).dataset_uuids:
                datasets.setdefault(uuid, self._dataset(uuid))
        runs, unreachable = self._runs(trainings)
        return Records(trainings, datasets, weights, runs, unreachable)

    def _trainings_with(self, key: str) -> Iterator[TrainingMetadata]:
        """Trainings of that name, or that mention it anywhere: uuids, checksums and addresses are unmistakable."""
        named = self._read("trainings", key) if _is_key(key) else None
        if named is not None:
            found = parse_training(named)
            if found is not None:
                yield found
            return
        for row in self._query("trainings"):
            record = self._read("trainings", str(row["name"]))
            if record is not None and (mentions(record, key) or _below(record, key)):
                found = parse_training(record)
                if found is not None:
                    yield found

    def _alone(self, key: str) -> tuple[dict[str, Entry | None], dict[str, Entry | None]]:
        """A dataset or weights by their own entry."""
        if _UUID.fullmatch(key):
            dataset, weights = self._dataset(key), self._read("weights", key)
            return ({key: dataset} if dataset else {}), ({key: weights} if weights else {})
        datasets: dict[str, Entry | None] = {}
        weights_found: dict[str, Entry | None] = {}
        if _is_key(key) and (record := self._read("datasets", key)):
            datasets[str(record["metadata"].get("uuid"))] = record
        elif not _is_key(key) or re.fullmatch(r"[0-9a-f]{64}", key):
            for row in self._query("datasets"):
                record = self._read("datasets", str(row["name"]))
                if record and (mentions(record, key) or _below(record, key)):
                    datasets[str(record["metadata"].get("uuid"))] = record
            for row in self._query("weights"):
                record = self._read("weights", str(row["uuid"]))
                if record and mentions(record, key):
                    weights_found[str(row["uuid"])] = record
        return datasets, weights_found

    def _dataset(self, uuid: str) -> Entry | None:
        for row in self._query("datasets", uuid=uuid):
            record = self._read("datasets", str(row["name"]))
            if record and record.get("metadata", {}).get("uuid") == uuid:
                return record
        return None

    def _runs(self, trainings: list[TrainingMetadata]) -> tuple[dict[str, Run | None], str]:
        found: dict[str, Run | None] = {}
        try:
            for training in trainings:
                for run_id in (training.mlflow.run_id, training.mlflow.parent_run_id):
                    if run_id:
                        found[run_id] = mlflow.get_run(run_id, self.connections.mlflow)
        except DeliveryError as error:
            return found, error.message
        return found, ""

    def _read(self, collection: str, key: str) -> Entry | None:
        if (collection, key) not in self.cache:
            where = self.connections.catalogue
            token = where.token.get_secret_value()
            self.cache[collection, key] = catalogue_reader.read(where.url, collection, key, token)
        return self.cache[collection, key]

    def _query(self, collection: str, **filters: str) -> list[Entry]:
        where = self.connections.catalogue
        return catalogue_reader.query(
            where.url, collection, where.token.get_secret_value(), _SECONDS, **filters
        )


def _is_key(text: str) -> bool:
    """Tell whether the catalogue could have an entry of that name; an address is none."""
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", text) is not None


def _below(tree: Any, address: str) -> bool:
    """Tell whether the address is an object of a store that an entry names."""
    if not address.startswith("s3://"):
        return False
    locations = (tree.get("locations") or {}) if isinstance(tree, dict) else {}
    return any(
        isinstance(where, dict) and address.startswith(f"{str(where.get('path')).rstrip('/')}/")
        for where in locations.values()
    )
