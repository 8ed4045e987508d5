"""One round trip: what comes, what is deleted on the far side, and what is never touched."""

from __future__ import annotations

import base64
import gzip
import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from ml_suite.errors import HostError
from ml_suite.relay import pull
from ml_suite.relay.pull import Spool, here, over, unpack
from ml_suite.relay.spool import parse
from tests.hosts.sshd_fixture import Sshd
from tests.relay.conftest import Job

TOOLS = ("sh", "rm", "mkdir", "find", "mv", "ls", "wc", "grep", "head", "tar", "gzip", "base64", "cat")
TOOLS += ("date", "cksum", "sync", "xargs")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_spool_that_is_not_there_yet_is_empty(spool: Path) -> None:
    taken = Spool(spool, here).exchange()
    assert (taken.files, taken.refused) == ({}, 0)
    assert not spool.exists()


def test_files_are_deleted_only_when_they_are_named(spool: Path) -> None:
    job, far = Job(spool), Spool(spool, here)
    job("--init=1")
    first = far.exchange().files
    job("--complete")
    both = far.exchange().files
    assert len(first) == 1
    assert len(both) == 2, "nothing was acknowledged"
    rest = far.exchange(first).files
    assert names(spool / "new") == sorted(rest) == sorted(set(both) - set(first))
    assert far.exchange(rest).files == {}


def test_one_round_trip_runs_one_command(spool: Path) -> None:
    calls = []

    def run(script: str, given: bytes) -> bytes:
        calls.append(given)
        return here(script, given)

    Job(spool)("--init=1")
    files = Spool(spool, run).exchange(["a.000000001", "../../etc/passwd", "-rf"]).files
    assert len(files) == 1
    assert calls == [b"a.000000001\n"], "names of another form are never sent"


def test_hostile_files_are_put_aside_unread(spool: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("key")
    job = Job(spool)
    job("--init=1")
    new = spool / "new"
    good = names(new)
    (new / "link.000000001").symlink_to(secret)
    (new / "--checkpoint-action=exec=touch pwned").write_text("x")
    (new / "-rf").write_text("x")
    (new / "a\nb.000000001").write_text("x")
    (new / "big.000000001").write_bytes(b"x" * 20_000)
    os.mkfifo(new / "pipe.000000001")
    (new / "folder.000000001").mkdir()
    far = Spool(spool, here)
    taken = far.exchange()
    assert sorted(taken.files) == good
    assert taken.refused >= 7
    assert names(new) == good
    assert len(list((spool / "refused").iterdir())) == 7, "kept for a person to look at"
    assert secret.read_text() == "key"
    assert far.exchange(taken.files).files == {}


def test_archive_of_a_hostile_machine_writes_nowhere() -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, kind, size in (
            ("../../x.000000001", tarfile.REGTYPE, 1),
            ("/etc/x.000000001", tarfile.REGTYPE, 1),
            ("link.000000001", tarfile.SYMTYPE, 0),
            ("big.000000001", tarfile.REGTYPE, 20_000),
            ("good.000000001", tarfile.REGTYPE, 1),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, size, "/etc/passwd"
            tar.addfile(member, io.BytesIO(b"x" * size))
    files, refused = unpack(data.getvalue())
    assert files == {"good.000000001": b"x"}
    assert refused == 4


def test_an_answer_that_was_cut_off_brings_whole_files_or_an_error(spool: Path) -> None:
    job = Job(spool)
    for _ in range(5):
        job("--event=ready")
    answer = here(f"cd {spool}/new; echo 0; ls | tar -c -f - -T - | gzip -1 | base64", b"")
    whole = Spool(spool, lambda *_: answer).exchange().files
    assert len(whole) == 5
    errors = 0
    for size in range(len(answer)):
        try:
            files = Spool(spool, lambda *_, size=size: answer[:size]).exchange().files
            assert files in ({}, whole)
        except HostError:
            errors += 1
    assert errors > len(answer) // 2
    with pytest.raises(HostError):
        Spool(spool, lambda *_: b"Welcome to the machine\n").exchange()
    assert Spool(spool, here).exchange().files == whole, "and nothing was deleted"


def test_an_archive_that_swells_is_refused() -> None:
    bomb = base64.b64encode(gzip.compress(b"\0" * 200_000_000))
    with pytest.raises(HostError, match="too large"):
        Spool(Path("/x"), lambda *_: b"0\n" + bomb).exchange()


def test_over_ssh_each_look_is_one_session(spool: Path, sshd: Sshd) -> None:
    job, far = Job(spool), Spool(spool, over(sshd.way))
    job("--label=info", "é\n'q' $(x)")
    whole = Spool(spool, here).exchange().files
    assert far.exchange().files == whole
    before = sshd.sessions_opened, sshd.connections
    for _ in range(3):
        assert far.exchange(whole).files == {}
    assert (sshd.sessions_opened - before[0], sshd.connections - before[1]) == (3, 0)
    assert names(spool / "new") == []


def test_a_host_that_cannot_be_asked_is_an_error_and_no_loss(spool: Path, sshd: Sshd) -> None:
    Job(spool)("--init=1")
    sshd.stop()
    with pytest.raises(HostError):
        Spool(spool, over(sshd.way)).exchange()
    assert len(names(spool / "new")) == 1


def test_busybox_is_enough_on_the_other_machine(spool: Path, tmp_path: Path) -> None:
    busybox = shutil.which("busybox") or pytest.fail(
        "busybox is missing; run: apt-get install busybox-static"
    )
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        (tools / name).symlink_to(busybox)

    def run(script: str, given: bytes) -> bytes:
        done = subprocess.run(
            [tools / "sh", "-c", script],
            input=given,
            env={"PATH": str(tools)},
            capture_output=True,
            check=True,
        )
        assert done.stderr == b""
        return done.stdout

    job, far = Job(spool, shell=(str(tools / "sh"),), more={"PATH": str(tools)}), Spool(spool, run)
    job("--init=1")
    job("--complete")
    (spool / "new" / "-x").write_text("x")
    taken = far.exchange(tidy=True)
    assert [parse(*file).verb for file in sorted(taken.files.items())] == ["init", "complete"]
    assert taken.refused == 1
    assert far.exchange(taken.files, tidy=True).files == {}
    assert names(spool / "new") == []


def test_a_large_backlog_comes_in_parts(spool: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pull, "AT_ONCE", 3)
    job, far = Job(spool), Spool(spool, here)
    for _ in range(7):
        job("--event=ready")
    everything = names(spool / "new")
    got: list[str] = []
    while files := far.exchange(got).files:
        assert len(files) <= 3
        got += files
    assert got == everything


def test_counters_of_ended_jobs_go_after_a_month(spool: Path) -> None:
    old, new = Job(spool, path="/s/old"), Job(spool, path="/s/new")
    old("--init=1")
    new("--init=1")
    counter = spool / "counters" / "s.old.1"
    os.utime(counter, (0, 0))
    Spool(spool, here).exchange(tidy=True)
    assert names(spool / "counters") == ["s.new.1"]


def test_a_folder_that_cannot_be_asked_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="cannot be read"):
        here("exit 3", b"")
    assert "x y" in here("printf '%s' 'x y'", b"").decode()
