"""Where the copies of a registered dataset are, and whether each is whole: reads the catalogue, S3 and this machine."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from ml_suite.datasets.model import Model
from ml_suite.errors import DeliveryError
from ml_suite.stores import manifest
from ml_suite.stores.catalogue_reader import page, read
from ml_suite.stores.connections import S3, Connections
from ml_suite.stores.s3 import Location, get_file, open_bucket, told

_MEMBER = "ml_suite"


class Copy(Model):
    """One location of the catalogue's entry."""

    platform: str
    path: str
    complete: bool | None
    """Whether all files are there with the right size; None when it cannot be seen from this machine."""
    detail: str


class Whereabouts(Model):
    """A registered dataset."""

    name: str
    uuid: str | None
    status: str | None
    page: str
    manifest: str | None
    """SHA-256 of the content manifest that was registered."""
    files: int | None
    bytes: int | None
    copies: list[Copy]


def find(name: str, connections: Connections) -> Whereabouts | None:
    """Look a dataset up in the catalogue and at its copies; None when it is not registered.

    Raises
    ------
    DeliveryError
        If the catalogue does not answer.
    """
    catalogue = connections.catalogue
    record = read(catalogue.url, "datasets", name, catalogue.token.get_secret_value())
    if record is None:
        return None
    metadata: dict[str, Any] = record.get("metadata") or {}
    known: dict[str, Any] = metadata.get(_MEMBER) or {}
    locations: dict[str, dict[str, str]] = record.get("locations") or {}
    return Whereabouts(
        name=name,
        uuid=metadata.get("uuid"),
        status=record.get("status"),
        page=page(catalogue.url, "datasets", name),
        manifest=known.get("manifest"),
        files=known.get("files"),
        bytes=known.get("bytes"),
        copies=[
            _look(platform, place["path"], known.get("manifest"), connections.s3)
            for platform, place in sorted(locations.items())
        ],
    )


def _look(platform: str, path: str, content: str | None, s3: S3) -> Copy:
    try:
        if path.startswith("s3://"):
            complete, detail = _object_store(path, content, s3)
        elif Path(path).is_absolute() and Path(path).is_dir():
            complete, detail = _folder(Path(path), content)
        else:
            complete, detail = None, "cannot be seen from this machine"
    except DeliveryError as error:
        complete, detail = False, error.message
    return Copy(platform=platform, path=path, complete=complete, detail=detail)


def _object_store(url: str, content: str | None, s3: S3) -> tuple[bool, str]:
    where = Location.parse(url)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "manifest"
        get_file(url + manifest.SUFFIX, listed, s3, sha256=content)
        wanted = manifest.load(listed)
    prefix = where.key + "/"
    with told(f"look at {url}", s3):
        sizes = {
            meta["path"].removeprefix(prefix): meta["size"]
            for batch in open_bucket(where.bucket, s3).list(prefix=prefix)
            for meta in batch
        }
    return _compare(wanted, sizes)


def _folder(path: Path, content: str | None) -> tuple[bool, str]:
    wanted = manifest.load(manifest.path_for(path))
    if content and wanted.content_id != content:
        return False, f"has the manifest {wanted.content_id[:12]}, registered is {content[:12]}"
    return _compare(wanted, dict(manifest.files(path)))


def _compare(wanted: manifest.Manifest, sizes: dict[str, int]) -> tuple[bool, str]:
    wrong = [entry.key for entry in wanted.entries if sizes.get(entry.key) != entry.size]
    if wrong:
        return (
            False,
            f"{len(wrong)} of {len(wanted.entries)} files are missing or cut off, such as {wrong[0]}",
        )
    return True, f"all {len(wanted.entries)} files are there with the right size"
