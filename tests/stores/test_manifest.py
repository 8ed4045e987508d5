from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ml_suite.errors import DeliveryError
from ml_suite.stores import manifest
from ml_suite.stores.manifest import Entry, Manifest

from .conftest import fill


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    one, other = fill(tmp_path / "a.zarr"), fill(tmp_path / "b" / "c.zarr")
    os.utime(other / ".zattrs", (0, 0))
    assert manifest.build(one).text == manifest.build(other).text
    assert manifest.build(one).content_id != manifest.build(fill(tmp_path / "d.zarr", seed=2)).content_id


def test_checksums_are_those_of_sha256sum(store: Path, wanted: Manifest) -> None:
    for entry in wanted.entries:
        data = (store / entry.key).read_bytes()
        assert (entry.size, entry.sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert len(wanted.entries) == sum(path.is_file() for path in store.rglob("*"))
    path = manifest.path_for(store)
    wanted.save(path)
    assert wanted.content_id == hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest.load(path) == wanted


def test_every_kind_of_damage_is_named(store: Path, wanted: Manifest) -> None:
    assert not manifest.check(store, wanted)
    (store / "data/0.0.0.0").unlink()
    (store / "data/1.0.0.0").write_bytes(b"short")
    chunk = store / "data/2.0.0.0"
    flipped = bytearray(chunk.read_bytes())
    flipped[7] ^= 1
    chunk.write_bytes(flipped)
    (store / "more").write_text("?")
    found = manifest.check(store, wanted)
    assert found == manifest.Differences(("data/0.0.0.0",), ("more",), ("data/1.0.0.0",), ("data/2.0.0.0",))
    assert found.damaged == ("data/0.0.0.0", "data/1.0.0.0", "data/2.0.0.0")
    assert str(found).startswith("1 missing (data/0.0.0.0), 1 extra (more), 1 of wrong size")


def test_progress_ends_at_the_total(store: Path, wanted: Manifest) -> None:
    told: list[tuple[int, int]] = []
    manifest.build(store, lambda done, total: told.append((done, total)))
    assert told[-1] == (wanted.bytes, wanted.bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("cut", [1, 30, 500])
def test_cut_off_manifest_is_refused(tmp_path: Path, wanted: Manifest, cut: int) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(wanted.text[:-cut])
    if cut == 1:  # only the last line's end is lost: everything is there
        assert manifest.load(path) == wanted
        return
    with pytest.raises(DeliveryError, match=r"manifest|cut off"):
        manifest.load(path)


@pytest.mark.parametrize("key", ["../out", "/etc/passwd", "a//b", "a/./b", ""])
def test_keys_that_leave_the_store_are_refused(key: str) -> None:
    with pytest.raises(DeliveryError, match="no file of a store"):
        Manifest.of([Entry(key, 1, "0")])


def test_missing_and_empty_stores(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="missing or empty"):
        manifest.build(tmp_path / "nothing.zarr")
    with pytest.raises(DeliveryError, match="cannot be read"):
        manifest.load(tmp_path / "nothing.manifest.jsonl")


def test_something_else_than_a_file_is_refused(store: Path) -> None:
    os.mkfifo(store / "pipe")
    with pytest.raises(DeliveryError, match="no regular file"):
        manifest.build(store)
