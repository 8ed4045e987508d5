"""Trees of files at a host, against a real sshd."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_suite.errors import HostError
from ml_suite.hosts import ship
from ml_suite.hosts.ship import NotWritten
from tests.hosts.sshd_fixture import Sshd


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    (folder / "a b" / "c").mkdir(parents=True)
    (folder / "a b" / "c" / "x.json").write_text('{"é": 1}')
    (folder / "run").write_text("#!/bin/sh\necho ran\n")
    (folder / "empty").write_bytes(b"")
    (folder / "large").write_bytes(os.urandom(3_000_000))
    (folder / "old.pyc").write_text("x")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_tree_arrives_whole_and_once(sshd: Sshd, here: Path, tmp_path: Path) -> None:
    there = tmp_path / "there" / "it's" / "h4sh"
    assert ship.tree(sshd.way, here, None, there)
    found = contents(there)
    assert found.pop(".manifest")
    expected = contents(here)
    expected.pop("old.pyc")
    assert found == expected
    assert os.access(there / "run", os.X_OK)
    sessions = sshd.sessions_opened
    assert not ship.tree(sshd.way, here, None, there)
    assert sshd.sessions_opened == sessions + 1, "nothing is sent twice"
    assert ship.whole(sshd.way, there)


def test_named_files_only(sshd: Sshd, here: Path, tmp_path: Path) -> None:
    ship.tree(sshd.way, here, ("a b/c/x.json",), tmp_path / "there")
    assert set(contents(tmp_path / "there")) == {"a b/c/x.json", ".manifest"}


def test_at_the_same_time(sshd: Sshd, here: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda _: ship.tree(sshd.way, here, None, tmp_path / "t" / "there"), range(4)))
    assert sorted(made) == [False, False, False, True]
    assert [path.name for path in (tmp_path / "t").iterdir()] == ["there"]


def test_what_stops_short_is_not_put_in_place(
    sshd: Sshd, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = ship.packed
    monkeypatch.setattr(ship, "packed", lambda files: packed(files)[: 10 * 512])
    with pytest.raises(HostError):
        ship.tree(sshd.way, here, None, tmp_path / "t" / "there")
    assert list((tmp_path / "t").iterdir()) == []
    monkeypatch.undo()


def test_what_arrives_changed_is_not_put_in_place(
    sshd: Sshd, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = ship.packed
    monkeypatch.setattr(ship, "packed", lambda files: packed(files).replace(b"echo ran", b"echo RAN"))
    with pytest.raises(NotWritten, match="cannot be written"):
        ship.tree(sshd.way, here, None, tmp_path / "t" / "there")
    assert list((tmp_path / "t").iterdir()) == []


def test_a_folder_that_is_no_whole_tree_is_replaced(sshd: Sshd, here: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    (there / "half").write_text("x")
    assert not ship.whole(sshd.way, there)
    assert ship.tree(sshd.way, here, ("empty",), there)
    assert set(contents(there)) == {"empty", ".manifest"}


def test_damage_is_seen(sshd: Sshd, here: Path, tmp_path: Path) -> None:
    ship.tree(sshd.way, here, None, tmp_path / "there")
    (tmp_path / "there" / "empty").write_text("not any more")
    assert not ship.whole(sshd.way, tmp_path / "there")
    assert not ship.whole(sshd.way, tmp_path / "nowhere")


def test_a_disk_that_takes_nothing(sshd: Sshd, here: Path) -> None:
    with pytest.raises(NotWritten, match="/proc/there"):
        ship.tree(sshd.way, here, None, "/proc/there")
