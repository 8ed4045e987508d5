"""Identities inside checkpoints, from the zip file alone."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import MlSuiteError
from ml_suite.lineage.checkpoint import read_identity


def checkpoint(metadata: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("inference-last/data.pkl", b"never read")
        archive.writestr("inference-last/anemoi-metadata/anemoi.json", json.dumps(metadata))
    return buffer.getvalue()


def test_uuids_of_joined_datasets_are_all_found() -> None:
    joined = {"specific": {"datasets": [{"attrs": {"uuid": "b"}}, {"forward": {"attrs": {"uuid": "a"}}}]}}
    found = read_identity(
        checkpoint({"uuid": "u", "run_id": "r", "dataset": {"data": joined, "more": joined}})
    )
    assert (found.uuid, found.run_id, found.dataset_uuids) == ("u", "r", ("a", "b"))


@pytest.mark.parametrize("content", [b"", b"no zip", checkpoint([1]), checkpoint("x")])
def test_anything_else_is_a_message(content: bytes) -> None:
    with pytest.raises(MlSuiteError, match="checkpoint"):
        read_identity(content)


def test_a_zip_without_metadata_and_a_missing_file_are_messages(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("x", b"")
    for path in (tmp_path / "x.zip", tmp_path / "absent"):
        with pytest.raises(MlSuiteError, match="not a checkpoint"):
            read_identity(path)
