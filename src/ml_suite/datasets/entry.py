"""What the catalogue is told about a dataset beside what the client library reads from the store.

It is the member ``ml_suite`` of the entry's metadata: by the checksum of the manifest the content is found again, by
commit and blob the recipe.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from ml_suite.config.resolved import GitSource, Resolved
from ml_suite.datasets.store import require_finished
from ml_suite.errors import DatasetError
from ml_suite.stores.catalogue import Catalogue, Registered
from ml_suite.stores.manifest import Manifest

MEMBER = "ml_suite"
"""Name of the member of the metadata."""


class Provenance(BaseModel):
    """Where a dataset comes from and what its content is."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    manifest: str
    """SHA-256 of the content manifest."""
    files: int
    bytes: int
    recipe: GitSource | None = None
    deployment: GitSource | None = None
    """The deployment that built it; None when it was registered by hand."""
    suite: str | None = None

    @classmethod
    def of(
        cls, manifest: Manifest, recipe: GitSource | None = None, resolved: Resolved | None = None
    ) -> Provenance:
        """Take it from the manifest and the deployment."""
        return cls(
            manifest=manifest.content_id,
            files=len(manifest.entries),
            bytes=manifest.bytes,
            recipe=recipe,
            deployment=resolved.source if resolved else None,
            suite=resolved.deployment.suite if resolved else None,
        )


def register(
    catalogue: Catalogue, store: Path, provenance: Provenance, recipe: Path | None = None
) -> Registered:
    """Enter a finished dataset in the catalogue and read it back; again is fine.

    Parameters
    ----------
    recipe
        The recipe as a person wrote it.

    Raises
    ------
    DatasetError
        If the dataset is not finished, or its name or its uuid belongs to another entry.
    DeliveryError
        If the catalogue does not answer or did not keep what was sent.
    """
    uuid = require_finished(store).uuid
    name = store.stem
    there = catalogue.get("datasets", name)
    if there and there.get("metadata", {}).get("uuid") != uuid:
        raise DatasetError(
            f"the catalogue has another dataset named {name} (uuid {there.get('metadata', {}).get('uuid')})",
            "Raise the version number in the recipe's file name and deploy again.",
        )
    other = catalogue.find_dataset_by_uuid(str(uuid))
    if other and other["name"] != name:
        raise DatasetError(
            f"{store} is registered as {other['name']} already (uuid {uuid})", "Give it that name again."
        )
    entry = catalogue.register_dataset(store, recipe=recipe)
    catalogue.set_metadata(name, MEMBER, provenance.model_dump(mode="json"))
    return entry


def registered_provenance(catalogue: Catalogue, name: str) -> Provenance:
    """Read what the catalogue was told.

    Raises
    ------
    DatasetError
        If the dataset is not registered.
    """
    record = catalogue.get("datasets", name)
    known = (record or {}).get("metadata", {}).get(MEMBER)
    if known is None:
        raise DatasetError(f"{name} is not registered", "Run the dataset's task register first.")
    return Provenance.model_validate(known)
