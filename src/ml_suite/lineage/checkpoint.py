"""Read what a checkpoint says about itself: a zip file with ``anemoi-metadata/anemoi.json``."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite.errors import MlSuiteError


@dataclass(frozen=True)
class CheckpointIdentity:
    """Identities inside a checkpoint."""

    uuid: str | None
    run_id: str | None
    dataset_uuids: tuple[str, ...]
    """Of the data that the weights were trained on."""


def read_identity(source: Path | bytes) -> CheckpointIdentity:
    """Read the identities of a checkpoint file or of its bytes.

    Raises
    ------
    MlSuiteError
        If it is not a checkpoint of Anemoi.
    """
    return identity(read_metadata(source))


def identity(metadata: dict[str, Any]) -> CheckpointIdentity:
    """Find the identities in a checkpoint's metadata, from the file or from the catalogue's weights entry."""
    return CheckpointIdentity(
        metadata.get("uuid"), metadata.get("run_id"), tuple(sorted(set(_uuids(metadata.get("dataset")))))
    )


def read_metadata(source: Path | bytes) -> dict[str, Any]:
    """Read the metadata as stored.

    Raises
    ------
    MlSuiteError
        If it is not a checkpoint of Anemoi.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source) as archive:
            name = next(n for n in archive.namelist() if n.endswith("anemoi-metadata/anemoi.json"))
            metadata = json.loads(archive.read(name))
    except (OSError, zipfile.BadZipFile, StopIteration, ValueError) as error:
        what = "the object" if isinstance(source, bytes) else source
        raise MlSuiteError(f"{what} is not a checkpoint with Anemoi metadata") from error
    if not isinstance(metadata, dict):
        raise MlSuiteError("the checkpoint's metadata is not an object")
    return metadata


def _uuids(tree: Any) -> Iterator[str]:
    """Every ``attrs.uuid`` at any depth: joined datasets carry one each."""
    if isinstance(tree, dict):
        attributes = tree.get("attrs")
        if isinstance(attributes, dict) and isinstance(found := attributes.get("uuid"), str):
            yield found
        for value in tree.values():
            yield from _uuids(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _uuids(value)
