"""Environments at a host behind a real sshd: made once, seen when broken, finished after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ml_suite.errors import HostError
from ml_suite.software import install, wheelhouse
from ml_suite.software.install import Wanted, ensure
from ml_suite.software.lock import parse
from ml_suite.software.patience import Line
from tests.hosts.sshd_fixture import Sshd, signal_process, wait_for
from tests.software.test_wheelhouse import LOCK

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
BASE = str(Path(sys.base_prefix, "bin", f"python{PYTHON}"))


@pytest.fixture
def wanted(tmp_path: Path) -> Wanted:
    return Wanted(tmp_path / "work" / "env" / "0123456789abcdef", parse(LOCK, "r"), PYTHON, BASE)


@pytest.fixture(scope="session")
def ops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheelhouse that the tests share."""
    return tmp_path_factory.mktemp("ops")


def path(wanted: Wanted) -> Path:
    return Path(wanted.environment)


def works(wanted: Wanted) -> bool:
    code = "import packaging, six; print(packaging.__version__, six.__version__)"
    words = [str(path(wanted) / "bin" / "python"), "-I", "-c", code]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout == "24.2 1.17.0\n"


def installed(wanted: Wanted, name: str) -> Path:
    return path(wanted) / "lib" / f"python{PYTHON}" / "site-packages" / name


def leftovers(wanted: Wanted) -> list[str]:
    return sorted(p.name for p in path(wanted).parent.iterdir() if p.name != path(wanted).name)


def test_it_is_made_once(sshd: Sshd, line: Line, wanted: Wanted, ops: Path) -> None:
    first = ensure(line, wanted, ops)
    assert first.fresh
    assert works(wanted)
    assert first.seen.python == ".".join(map(str, sys.version_info[:3]))
    assert leftovers(wanted) == [f".{path(wanted).name}.log"]
    assert list(installed(wanted, "__pycache__").glob("six.*.pyc"))
    before, connections = sshd.sessions_opened, sshd.connections
    again = ensure(line, wanted, ops)
    assert not again.fresh
    assert sshd.sessions_opened - before == 1
    assert sshd.connections == connections == 1


def test_a_broken_one_is_replaced(line: Line, wanted: Wanted, ops: Path) -> None:
    ensure(line, wanted, ops)
    six, stamp, python = (
        installed(wanted, "six.py"),
        path(wanted) / ".installed",
        path(wanted) / "bin" / "python",
    )
    text, record, name = six.read_bytes(), stamp.read_bytes(), six.relative_to(path(wanted))

    def seen(why: str) -> None:
        found = install.look(line, wanted)
        assert (found.state, found.why) == ("broken", why)

    six.write_bytes(text[:-1])
    seen(f"{name} has changed")
    six.write_bytes(b"x" + text[1:])
    seen(f"{name} has changed")
    six.write_bytes(text)
    stamp.unlink()
    seen("it was never finished")
    stamp.write_text("{")
    seen(".installed is damaged")
    stamp.write_bytes(record)
    target = python.readlink()
    python.unlink()
    seen("bin/python is missing")
    python.symlink_to("/nowhere/python")
    seen("bin/python has changed")
    python.unlink()
    python.symlink_to(target)
    assert install.look(line, wanted).state == "installed"
    six.unlink()
    seen(f"{name} is missing")
    assert ensure(line, wanted, ops).fresh
    assert f"{wanted.environment} is replaced: {name} is missing" in line.say  # type: ignore[operator]
    assert works(wanted)


def test_new_times_and_new_files_break_nothing(line: Line, wanted: Wanted, ops: Path) -> None:
    ensure(line, wanted, ops)
    for file in path(wanted).rglob("*"):
        os.utime(file, follow_symlinks=False)
    (path(wanted) / "lib" / "more.pyc").write_bytes(b"x")
    assert not ensure(line, wanted, ops).fresh


def test_after_a_kill_the_next_one_finishes(line: Line, wanted: Wanted, ops: Path, tmp_path: Path) -> None:
    lock = path(wanted).with_name(f".{path(wanted).name}.lock")
    house = wheelhouse.ensure(
        ops, wanted.lock, install.target(line, wanted, install.look(line, wanted)), print
    )
    killed = []
    for step in ("makes the environment", "installs 2 packages", "compares the packages"):
        install._start(line, wanted, house)
        owner: dict[str, Any] = {}
        deadline = time.monotonic() + 60
        while owner.get("step") != step and time.monotonic() < deadline:
            assert not (path(wanted) / ".installed").exists()
            try:
                owner = json.loads((lock / "owner").read_text())
            except (OSError, ValueError):
                continue
        if owner.get("step") == step:
            signal_process(owner["pid"], signal.SIGKILL)
            killed.append(step)
            wait_for(lambda pid=owner["pid"]: not _ours(pid), "end of its programs")  # type: ignore[misc]
    assert len(killed) == 3
    assert install.look(line, wanted).state == "broken"
    assert ensure(line, wanted, ops).fresh
    assert works(wanted)
    assert leftovers(wanted) == [f".{path(wanted).name}.log"]


def _ours(group: int) -> list[int]:
    """Processes of a group that live."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


def test_two_at_once_make_it_once(line: Line, wanted: Wanted, ops: Path) -> None:
    found = []

    def one() -> None:
        found.append(ensure(line, wanted, ops))

    threads = [Thread(target=one) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.seen.state for one in found] == ["installed"] * 3
    assert works(wanted)
    log = path(wanted).with_name(f".{path(wanted).name}.log").read_text()
    assert log.count("Successfully installed") == 1


def test_a_lock_of_a_machine_that_is_gone_does_not_hold_for_ever(
    line: Line, wanted: Wanted, ops: Path
) -> None:
    lock = path(wanted).with_name(f".{path(wanted).name}.lock")
    lock.mkdir(parents=True)
    owner = {"node": "login99", "pid": 1, "started": 1, "step": "installs 2 packages"}
    (lock / "owner").write_text(json.dumps(owner))
    seen = install.look(line, wanted)
    assert (seen.state, seen.why) == ("installing", "installs 2 packages")
    os.utime(lock / "owner", (time.time() - 300,) * 2)
    assert install.look(line, wanted).state == "absent"
    assert ensure(line, wanted, ops).fresh


def test_a_wheel_that_was_damaged_since_is_sent_again(line: Line, wanted: Wanted, ops: Path) -> None:
    ensure(line, wanted, ops)
    wheel = next(Path(wanted.wheels).glob("*/six-*.whl"))
    size = wheel.stat().st_size
    wheel.write_bytes(b"x" * size)
    installed(wanted, "six.py").unlink()
    assert ensure(line, wanted, ops).fresh
    assert works(wanted)


def test_a_host_without_such_a_python_is_a_message(line: Line, wanted: Wanted, ops: Path) -> None:
    other = Wanted(wanted.environment, wanted.lock, "3.97")
    with pytest.raises(HostError, match=r"bighost has no Python 3\.97 .*\n.*software\.interpreter"):
        ensure(line, other, ops)
    other = Wanted(wanted.environment, wanted.lock, PYTHON, "/opt/none/python3")
    with pytest.raises(HostError, match=rf"bighost has no Python {PYTHON} to make an environment from\n"):
        ensure(line, other, ops)
    other = Wanted(wanted.environment, wanted.lock, "3.97", BASE)
    with pytest.raises(HostError, match=rf"it has {BASE} \({PYTHON}\)"):
        ensure(line, other, ops)
    assert not path(wanted).parent.exists()


def test_another_architecture_than_the_host_file_says(line: Line, wanted: Wanted, ops: Path) -> None:
    with pytest.raises(HostError, match="and its host file says s390x"):
        ensure(line, wanted, ops, "s390x")


def test_what_pip_cannot_install_leaves_nothing(line: Line, wanted: Wanted, ops: Path) -> None:
    seen = install.look(line, wanted)
    house = wheelhouse.ensure(ops, wanted.lock, install.target(line, wanted, seen), print)
    bad = house.folder / "bad-1.0-py3-none-any.whl"
    bad.write_bytes(b"no zip")
    wheel = wheelhouse.Wheel(name=bad.name, sha256=wheelhouse._sha256(bad), size=6, unpacked=6)
    install._start(line, wanted, wheelhouse.Wheelhouse(house.folder, (*house.wheels, wheel), house.installer))
    seen = install._wait(line, wanted)
    assert seen.state == "failed"
    assert "bad" in seen.why
    assert not path(wanted).exists()
    assert leftovers(wanted) == [f".{path(wanted).name}.{end}" for end in ("failed", "log")]
    # the reason of the last attempt does not keep the next from trying
    assert ensure(line, wanted, ops).fresh
    assert leftovers(wanted) == [f".{path(wanted).name}.log"]


def test_unfulfilled_requirements_are_notes(line: Line, wanted: Wanted, ops: Path) -> None:
    lock = parse("importlib-metadata==8.5.0\n", "r")
    found = ensure(line, Wanted(wanted.environment, lock, PYTHON, BASE), ops)
    assert found.seen.notes == ("importlib-metadata 8.5.0 requires zipp, which is not installed.",)


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
@pytest.mark.parametrize(("size", "told"), [("3M", "MiB are needed"), ("2500k", "No space left")])
def test_a_full_disk_leaves_nothing_half_done(
    sshd: Sshd, line: Line, wanted: Wanted, ops: Path, monkeypatch: pytest.MonkeyPatch, size: str, told: str
) -> None:
    if told == "No space left":
        monkeypatch.setattr(wheelhouse.Wheelhouse, "unpacked", -(100 << 20))
    work = path(wanted).parent.parent
    work.mkdir()
    sshd.stop()
    sshd.private = [f"mount -t tmpfs -o size={size} none {work}"]
    sshd.start()
    with pytest.raises(HostError, match=rf"cannot be made: .*{told}.*\n.*Make room there"):
        ensure(line, wanted, ops)
    listed = line.run(f"ls -A {work}/env").out.split()
    assert sorted(listed) == [f".{path(wanted).name}.{end}" for end in ("failed", "log")]
