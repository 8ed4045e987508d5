"""``python -m ml_suite.datasets.register PATH``: register a finished dataset; runs in the training environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml_suite.datasets.answer import answering
from ml_suite.datasets.entry import Provenance, register
from ml_suite.datasets.model import Model
from ml_suite.datasets.store import require_finished
from ml_suite.errors import DatasetError
from ml_suite.stores import manifest
from ml_suite.stores.catalogue import connect
from ml_suite.stores.connections import Connections


class RegisteredDataset(Model):
    """What the catalogue holds now."""

    name: str
    uuid: str
    manifest: str
    """SHA-256 of the content manifest."""
    files: int
    bytes: int
    page: str


def register_store(store: Path, connections: Connections) -> RegisteredDataset:
    """Register a finished store; its manifest is written beside it when there is none.

    Raises
    ------
    DatasetError
        If it is not finished, is not what its manifest says, or its name is taken.
    DeliveryError
        If the catalogue does not answer or did not keep what was sent.
    """
    require_finished(store)
    path = manifest.path_for(store)
    if path.exists():
        listed = manifest.load(path)
        if wrong := manifest.check(store, listed):
            raise DatasetError(
                f"{store} is not what its manifest says: {wrong}",
                f"Restore it, or remove {path} if the change is wanted and the dataset has a new name.",
            )
    else:
        listed = manifest.build(store)
        listed.save(path)
    catalogue = connect(connections)
    provenance = Provenance.of(listed)
    entry = register(catalogue, store, provenance)
    return RegisteredDataset(
        name=entry.key,
        uuid=entry.uuid,
        manifest=provenance.manifest,
        files=provenance.files,
        bytes=provenance.bytes,
        page=catalogue.page("datasets", entry.key),
    )


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m ml_suite.datasets.register")
    parser.add_argument("path", type=Path)
    parser.add_argument("--connections", type=Path, required=True)
    with answering() as answer:
        chosen = parser.parse_args()
        done = register_store(chosen.path, Connections.load(chosen.connections))
        answer(done.model_dump_json())
    return answer.code


if __name__ == "__main__":
    raise SystemExit(main())
