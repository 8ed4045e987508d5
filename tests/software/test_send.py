"""Files come whole or not at all, over a real sshd; what is there is not sent again."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ml_suite.errors import HostError
from ml_suite.hosts import channel, mux
from ml_suite.software import send
from ml_suite.software.patience import Line
from tests.hosts.sshd_fixture import Sshd


def file(folder: Path, name: str, content: bytes) -> send.File:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name.replace("/", "-")
    path.write_bytes(content)
    return send.File(path, name, hashlib.sha256(content).hexdigest(), len(content))


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[send.File]:
    """Small ones and one of three pieces."""
    monkeypatch.setattr(send, "PIECE", 1000)
    here = tmp_path / "here"
    small = [file(here, f"ab{n}/small-{n}+x.whl", bytes([n]) * 150) for n in range(9)]
    return [*small, file(here, "large.sif", os.urandom(2500))]


def right(files: list[send.File], folder: Path) -> bool:
    return all((folder / f.name).read_bytes() == f.path.read_bytes() for f in files)


def test_only_what_is_missing_is_sent(sshd: Sshd, line: Line, files: list[send.File], tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert send.send(line, files, there) == 9 * 150 + 2500
    assert right(files, there)
    before = sshd.sessions_opened
    assert send.send(line, files, there) == 0
    assert sshd.sessions_opened - before == 1
    (there / files[2].name).unlink()
    assert send.send(line, files, there) == 150
    assert right(files, there)
    assert not list((there / ".part").iterdir())


def test_a_part_goes_on_where_it_ended(
    line: Line, files: list[send.File], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, large = tmp_path / "there", files[-1]
    real, calls = channel.run, 0

    def cut(*words: object, **more: object) -> channel.Done:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return real(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(channel, "run", cut)
    with pytest.raises(KeyboardInterrupt):
        send.send(line, [large], there)
    monkeypatch.setattr(channel, "run", real)
    assert not (there / large.name).exists()
    assert (there / ".part" / large.sha256).stat().st_size == 2000
    assert send.send(line, [large], there) == 500
    assert right([large], there)


def test_a_lost_connection_costs_nothing_but_time(
    sshd: Sshd, line: Line, files: list[send.File], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = channel.run, 0

    def lost(*words: object, **more: object) -> channel.Done:
        nonlocal calls
        calls += 1
        done = real(*words, **more)  # type: ignore[arg-type]
        if calls % 3 == 0:
            mux.close_master(sshd.way)
            raise channel.OutcomeUnknown("the answer was lost")
        return done

    monkeypatch.setattr(channel, "run", lost)
    send.send(line, files, tmp_path / "there")
    assert right(files, tmp_path / "there")
    assert "waits: the answer was lost" in line.say  # type: ignore[operator]


def test_a_damaged_part_is_sent_again(line: Line, files: list[send.File], tmp_path: Path) -> None:
    there, large = tmp_path / "there", files[-1]
    (there / ".part").mkdir(parents=True)
    (there / ".part" / large.sha256).write_bytes(b"wrong" * 300)
    send.send(line, [large], there)
    assert right([large], there)


def test_what_is_not_what_was_meant_never_gets_its_name(
    line: Line, files: list[send.File], tmp_path: Path
) -> None:
    there = tmp_path / "there"
    for wrong in (files[0], files[-1]):
        wrong.path.write_bytes(b"x" * wrong.size)
        with pytest.raises(HostError, match=r"is not what was sent"):
            send.send(line, [wrong], there)
        assert not (there / wrong.name).exists()


def test_a_folder_that_cannot_be_written_is_a_message(
    line: Line, files: list[send.File], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"cannot be written.*Not a directory.*\n.*hosts\.NAME\.work"):
        send.send(line, files, tmp_path / "file" / "wheels")


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
def test_a_full_disk_is_a_message_and_leaves_no_half(
    sshd: Sshd, line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    sshd.stop()
    sshd.private = [f"mount -t tmpfs -o size=200k none {small}"]
    sshd.start()
    monkeypatch.setattr(send, "PIECE", 100_000)
    large = file(tmp_path / "here", "large.sif", os.urandom(500_000))
    with pytest.raises(HostError, match=r"cannot be written.*No space left on device"):
        send.send(line, [large], small / "images")
    assert channel.run(sshd.way, f"ls {small}/images/large.sif").code != 0
    monkeypatch.setattr(send, "PIECE", 4_000_000)
    with pytest.raises(HostError, match=r"cannot be written.*No space left on device"):
        send.send(line, [large], small / "images")


def test_names_are_plain(line: Line, files: list[send.File], tmp_path: Path) -> None:
    for name in ("../up", "/abs", "a b", "a\nb", ".hidden", "a//b"):
        with pytest.raises(ValueError, match="plain name"):
            send.send(line, [send.File(files[0].path, name, "0" * 64, 1)], tmp_path)
