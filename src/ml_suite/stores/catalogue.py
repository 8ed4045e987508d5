"""What jobs tell an Anemoi catalogue, through the real client library; every write is read back and checked.

Runs in the training environment. Only what ECMWF's catalogue also has is used: the collections datasets, weights,
trainings and tasks, plain fields, filters and patches. Each write may be repeated.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import is_zipfile

from ml_suite.errors import DeliveryError
from ml_suite.stores.catalogue_client import Client, configure
from ml_suite.stores.catalogue_reader import Record
from ml_suite.stores.connections import Connections

Located = Literal["datasets", "weights"]
_SAME_WEIGHTS = ("uuid", "run_id", "timestamp", "size")


@dataclass(frozen=True)
class Registered:
    """An entry of the catalogue."""

    collection: str
    key: str
    """Name of a dataset or training, uuid of weights."""
    uuid: str


def connect(connections: Connections, seconds: float = 120.0) -> Catalogue:
    """Prepare this process for the catalogue and see whether it answers.

    Parameters
    ----------
    seconds
        Deadline of each later call.

    Raises
    ------
    DeliveryError
        If it does not answer.
    """
    configure(connections)
    url, token = connections.catalogue.url.rstrip("/"), connections.catalogue.token.get_secret_value()
    catalogue = Catalogue(Client(url, token, seconds))
    catalogue.client.call("answer", _load)
    return catalogue


def _load() -> None:
    from anemoi.registry import config

    config()


@dataclass(frozen=True)
class Catalogue:
    """A catalogue that answers; every method raises `DeliveryError` when it does not take or keep something."""

    client: Client

    def page(self, collection: str, key: str) -> str:
        """Address of an entry's web page."""
        return f"{self.client.url}/{collection}/{key}"

    def get(self, collection: str, key: str) -> Record | None:
        """Read one entry; None if there is none."""

        def work() -> Record | None:
            from anemoi.registry.rest import RestItem
            from requests import HTTPError

            try:
                record: Record = RestItem(collection, key).get()
            except HTTPError as error:
                if error.response is not None and error.response.status_code == 404:
                    return None
                raise
            return record

        return self.client.call(f"show {collection}/{key}", work)

    def query(self, collection: str, **filters: str) -> list[Record]:
        """Read the entries that match all filters; large members may be left out."""

        def work() -> list[Record]:
            from anemoi.registry.rest import RestItemList

            found: list[Record] = RestItemList(collection).get(params=filters)
            return found

        return self.client.call(f"list {collection}", work)

    def find_dataset_by_uuid(self, uuid: str) -> Record | None:
        """Read the dataset with this identity; None if it is not registered."""
        for found in self.query("datasets", uuid=uuid):
            record = self.get("datasets", found["name"])
            if record and record.get("metadata", {}).get("uuid") == uuid:
                return record
        return None

    def register_dataset(
        self, path: Path, recipe: Path | None = None, status: str | None = None, platform: str | None = None
    ) -> Registered:
        """Register a finished dataset under its file name; the same one again is fine.

        Parameters
        ----------
        recipe
            The recipe as a person wrote it, instead of the copy inside the dataset.
        platform
            Name of the place where PATH lies, to add it as a location.
        """
        if not path.is_dir():
            raise DeliveryError(f"{path} is no dataset: there is no such folder")

        def work() -> Record:
            from anemoi.registry import Dataset

            entry = Dataset.load_from_path(str(path.absolute()))
            entry.register(ignore_existing=True)
            if recipe:
                entry.set_recipe(str(recipe))
            wanted: Record = entry.record
            return wanted

        wanted = self.client.call(f"register the dataset {path.name}", work)
        name, identity = wanted["name"], wanted["metadata"]["uuid"]
        record = self._kept("datasets", name)
        self._check(
            record["metadata"].get("uuid") == identity, f"datasets/{name} has another uuid than {path}"
        )
        self._check(bool(record["metadata"].get("recipe")) or not recipe, f"datasets/{name} has no recipe")
        if status:
            self.set_status(name, status)
        if platform:
            self.add_location(name, platform, str(path.absolute()))
        return Registered("datasets", name, identity)

    def set_status(self, dataset: str, status: str) -> None:
        """Set the status of a dataset, for example ``experimental``."""
        operation = {"op": "add", "path": "/status", "value": status}
        self._patch(f"set the status of {dataset}", "datasets", dataset, operation)
        self._check(
            self._kept("datasets", dataset).get("status") == status, f"datasets/{dataset} has another status"
        )

    def add_location(self, key: str, platform: str, path: str, collection: Located = "datasets") -> None:
        """Say where a copy of a dataset or of weights lies: an s3:// address or an absolute path."""
        # not the entry's own method: it makes ssh:// and host:/ paths relative to this machine's folder
        operation = {"op": "add", "path": f"/locations/{platform}", "value": {"path": path}}
        self._patch(f"add the location {platform} to {key}", collection, key, operation)
        kept = self._kept(collection, key).get("locations", {}).get(platform, {}).get("path")
        self._check(kept == path, f"{collection}/{key} is at {kept} on {platform}, not at {path}")

    def remove_location(self, key: str, platform: str, collection: Located = "datasets") -> None:
        """Forget a copy; it is not deleted. A location that is not there is fine."""
        if platform not in self._kept(collection, key).get("locations", {}):
            return
        operation = {"op": "remove", "path": f"/locations/{platform}"}
        self._patch(f"remove the location {platform} of {key}", collection, key, operation)
        kept = self._kept(collection, key).get("locations", {})
        self._check(platform not in kept, f"{collection}/{key} still has the location {platform}")

    def set_metadata(self, key: str, member: str, value: Any, collection: str = "datasets") -> None:
        """Set a member of an entry's metadata; nothing is sent when it already has this value.

        Parameters
        ----------
        member
            Name, with dots for deeper levels; one missing level is created.
        """
        wanted = _plain(value)
        if _descend(self._kept(collection, key), member) == wanted:
            return

        def work() -> None:
            from anemoi.registry.entry import CatalogueEntry
            from anemoi.registry.rest import RestItem

            entry = CatalogueEntry(key, RestItem(collection, key).get())
            entry._rest_item = RestItem(collection, key)
            entry.set_value(member, wanted, increment_update=True)

        self.client.call(f"set {member} of {key}", work)
        kept = _descend(self._kept(collection, key), member)
        self._check(kept == wanted, f"{collection}/{key} has another {member} than was sent")

    def register_weights(
        self, checkpoint: Path, location: str | None = None, platform: str = "ewc"
    ) -> Registered:
        """Register a checkpoint under its uuid; the same one again is fine, another one under the uuid is not.

        Parameters
        ----------
        location
            Address of the uploaded copy; without it only the record is written.
        platform
            Name of the place of the copy; the client downloads only from ``ewc``.
        """
        if not is_zipfile(checkpoint):
            raise DeliveryError(
                f"{checkpoint} is no checkpoint: there is no such file, or it is no zip archive"
            )

        def work() -> Record:
            from anemoi.registry import Weights

            entry = Weights.load_from_path(str(checkpoint))
            entry.register(ignore_existing=True)
            wanted: Record = entry.record
            return wanted

        wanted = _plain(self.client.call(f"register the weights {checkpoint.name}", work))
        identity = wanted["uuid"]
        kept = self._kept("weights", identity)["metadata"]
        for name in _SAME_WEIGHTS:
            same = kept.get(name) == wanted["metadata"].get(name)
            self._check(
                same, f"weights/{identity} is another checkpoint than {checkpoint}: its {name} differs"
            )
        if location:
            self.add_location(identity, platform, location, "weights")
        return Registered("weights", identity, identity)

    def put_training(self, name: str, metadata: Mapping[str, Any]) -> Registered:
        """Write a training, new or again.

        Parameters
        ----------
        metadata
            Anything; lineage follows ``datasets`` [{name, uuid}], ``weights`` [uuid], ``mlflow`` {run_id, ...},
            ``hpo``, ``evaluation`` and ``git``. Without a ``uuid`` it gets one that is made from the name.
        """
        identity = str(metadata.get("uuid") or uuid.uuid5(uuid.NAMESPACE_URL, f"ml-suite:trainings/{name}"))
        wanted = _plain({**metadata, "uuid": identity, "name": name})

        def work() -> None:
            from anemoi.registry.entry.training import TrainingCatalogueEntry

            record = {"uuid": identity, "metadata": wanted}
            TrainingCatalogueEntry(name, record).register()

        self.client.call(f"write the training {name}", work)
        kept = self._kept("trainings", name).get("metadata")
        self._check(kept == wanted, f"trainings/{name} does not hold what was sent")
        return Registered("trainings", name, identity)

    def add_task(self, action: str, **fields: str) -> str:
        """Queue a task for the client's workers and return its uuid; an equal task in the queue is used."""
        action = action.replace("_", "-").lower()
        for task in self.query("tasks", action=action, **fields):
            if task.get("status") in ("queued", "running"):
                return str(task["uuid"])

        def work() -> str:
            from anemoi.registry import TasksList

            found: str = TasksList().add_new_task(action=action, **fields)
            return found

        identity = self.client.call(f"queue {action}", work)
        kept = self._kept("tasks", identity)
        same = all(kept.get(name) == value for name, value in fields.items())
        self._check(same, f"tasks/{identity} does not hold what was sent")
        return identity

    def _patch(self, what: str, collection: str, key: str, operation: Record) -> None:
        def work() -> None:
            from anemoi.registry.rest import RestItem

            RestItem(collection, key).patch([operation], robust=True)

        self.client.call(what, work)

    def _kept(self, collection: str, key: str) -> Record:
        record = self.get(collection, key)
        if record is None:
            raise DeliveryError(f"the catalogue {self.client.url} has no {collection}/{key}")
        return record

    def _check(self, held: bool, otherwise: str) -> None:
        """The client exits 0 and returns in silence in many cases where nothing was stored."""
        if not held:
            raise DeliveryError(f"the catalogue {self.client.url} took the write but {otherwise}")


def _plain(value: Any) -> Any:
    """The value as the client sends it: JSON, with dates and non-finite numbers as texts."""
    from anemoi.registry.rest import tidy

    return json.loads(json.dumps(tidy(value), default=str))


def _descend(record: Record, member: str) -> Any:
    value: Any = record.get("metadata")
    for part in member.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
