"""Make an environment from wheels at a host, unless it is there and whole."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from ml_suite.errors import HostError
from ml_suite.software import send, wheelhouse
from ml_suite.software.lock import Lock
from ml_suite.software.patience import Line
from ml_suite.software.target import Target
from ml_suite.software.wheelhouse import Wheelhouse

WHEELS = "wheels"
"""Folder below WORK with every wheel, each below its digest: the next environment needs only what changed."""

_POLL = 2.0
_VERIFY = 900.0
"""Seconds for looking at every file of an environment."""
_LONGEST = 7200.0
"""Seconds for an installation."""
_STARTS = 3
"""Attempts, when the process that installs vanishes."""
_NO_PYTHON = 78
_AGAIN = "is not what was sent"
"""End of the reason when a wheel was damaged since: it is sent again."""

_FIND = """\
version=$1 named=$2
shift 2
found=
for name in ${named:-"python$version" python3}; do
    path=$(command -v "$name") || continue
    has=$("$path" -I -S -c 'import sys; print("%d.%d" % sys.version_info[:2])' </dev/null 2>/dev/null) || has=?
    [ "$has" != "$version" ] || exec nice "$path" -I -S -c "$@"
    found="$found $path ($has)"
done
echo "$found"
exit 78
"""

_LOADER = """\
import sys, types
sole = sys.modules["ml_suite.software.sole"] = types.ModuleType("sole")
exec(compile(sys.stdin.buffer.read(int(sys.argv[1])), "sole.py", "exec"), sole.__dict__)
exec(compile(sys.stdin.buffer.read(int(sys.argv[3])), "there.py", "exec"))
"""

_PROGRAM = [Path(__file__).with_name(name).read_bytes() for name in ("sole.py", "there.py")]


@dataclass(frozen=True)
class Wanted:
    """An environment of wheels at a host."""

    environment: PurePath
    """WORK/env/DIGEST."""
    lock: Lock
    python: str
    """``3.11``"""
    interpreter: str | None = None
    """Where that Python is; None: on the PATH."""

    @property
    def wheels(self) -> PurePath:
        """Where the host keeps wheels."""
        return self.environment.parent.parent / WHEELS


@dataclass(frozen=True)
class Seen:
    """What the host said."""

    state: str
    """installed, absent, broken, installing, failed."""
    why: str
    notes: tuple[str, ...]
    """Requirements that the packages state and the lock file does not fulfil."""
    python: str
    executable: str
    machine: str
    libc: str
    """``glibc 2.34``"""


@dataclass(frozen=True)
class Installed:
    """An environment that is whole."""

    seen: Seen
    fresh: bool
    """It was made now."""


def ensure(line: Line, wanted: Wanted, home: Path, architecture: str | None = None) -> Installed:
    """Make the environment, unless it is there and whole: one round trip then.

    Parameters
    ----------
    home
        ML_SUITE_HOME of this machine, which keeps the wheels.
    architecture
        What the host was said to be; None: whatever it is.

    Raises
    ------
    HostError
        If the host has no such Python, packages have no wheels for it, or the installation fails.
    MlSuiteError
        As `channel.run`, when patience is at its end.
    """
    first = seen = look(line, wanted)
    if seen.state == "installed":
        return Installed(seen, fresh=False)
    if architecture and seen.machine != architecture:
        raise HostError(
            f"{line.way.host} is {seen.machine}, and its host file says {architecture}",
            "Correct `architecture:` in the host file and deploy again.",
        )
    if seen.state == "broken":
        line.say(f"{wanted.environment} is replaced: {seen.why}")
    for _ in range(_STARTS):
        if seen.state != "installing":
            _start(line, wanted, wheelhouse.ensure(home, wanted.lock, target(line, wanted, first), line.say))
        seen = _wait(line, wanted)
        if seen.state == "installed":
            return Installed(seen, fresh=True)
        if seen.state == "failed" and not seen.why.endswith(_AGAIN):
            raise HostError(
                f"{line.way.host}: {wanted.environment} cannot be made: {seen.why}", _advice(seen.why)
            )
        line.say(f"starts again: {seen.why or 'the installation was ended'}")
    raise HostError(
        f"{line.way.host}: the installation of {wanted.environment} was ended {_STARTS} times",
        "Does the site end processes of its login nodes? Ask it, or run the task again.",
    )


def look(line: Line, wanted: Wanted) -> Seen:
    """Ask what is there.

    Raises
    ------
    HostError
        If the host has no such Python, or the environment cannot be read.
    """
    answer = _ask(line, wanted, "state")
    return Seen(**{**answer, "notes": tuple(answer["notes"])})


def target(line: Line, wanted: Wanted, seen: Seen) -> Target:
    """What wheels must run on.

    Raises
    ------
    HostError
        If wheels are not made for such a machine.
    """
    kind, _, version = seen.libc.partition(" ")
    numbers = version.split(".")[:2]
    if kind != "glibc" or len(numbers) != 2 or not all(number.isdigit() for number in numbers):
        raise HostError(
            f"{line.way.host} has the C library {seen.libc or 'of another kind'}, and wheels need glibc",
            "Use an image: `software: {image: FILE.sif}`.",
        )
    return Target(wanted.python, seen.machine, (int(numbers[0]), int(numbers[1])))


def _start(line: Line, wanted: Wanted, house: Wheelhouse) -> None:
    """Send what is missing and begin; when somebody else began already that is as good."""
    files = [
        send.File(house.folder / wheel.name, f"{wheel.sha256[:12]}/{wheel.name}", wheel.sha256, wheel.size)
        for wheel in house.wheels
    ]
    pip = house.installer
    name = f"{pip.sha256[:12]}/{pip.name}"
    files.append(send.File(house.folder / "installer" / pip.name, name, pip.sha256, pip.size))
    send.send(line, files, wanted.wheels)
    *wheels, installer = [(str(wanted.wheels / file.name), file.sha256) for file in files]
    # compiled modules are about as large as their sources
    room = int(house.unpacked * 1.5) + (64 << 20)
    _ask(line, wanted, "start", wheels=wheels, installer=installer, room=room)


def _wait(line: Line, wanted: Wanted) -> Seen:
    deadline, pause, told = time.monotonic() + _LONGEST, 0.5, ""
    while True:
        time.sleep(pause)
        seen = look(line, wanted)
        if seen.state != "installing":
            return seen
        if time.monotonic() > deadline:
            raise HostError(
                f"{line.way.host}: {wanted.environment} is not installed after two hours: {seen.why}",
                f"Look at the log beside it: .{wanted.environment.name}.log",
            )
        if seen.why != told:
            told = seen.why
            line.say(told)
        pause = min(pause * 1.5, 5 * _POLL)


def _ask(line: Line, wanted: Wanted, verb: str, **more: Any) -> dict[str, Any]:
    sole, there = _PROGRAM
    request = json.dumps({"environment": str(wanted.environment), **more}).encode()
    sizes = [str(len(sole)), verb, str(len(there))]
    words = ["sh", "-c", _FIND, "find", wanted.python, wanted.interpreter or "", _LOADER, *sizes]
    done = line.run(words, stdin=sole + there + request, timeout=_VERIFY)
    if done.code == _NO_PYTHON:
        found = done.out.strip()
        raise HostError(
            f"{line.way.host} has no Python {wanted.python} to make an environment from"
            + (f"; it has {found}" if found else ""),
            "Name one that jobs find too: software.interpreter; or take another version: software.python.",
        )
    try:
        answer: dict[str, Any] = json.loads(done.out)
    except ValueError as error:
        said = next((row.strip() for row in reversed(done.err.splitlines()) if row.strip()), "no word")
        raise HostError(
            f"{line.way.host}: its Python does not work: {said}", "Name another: software.interpreter."
        ) from error
    if "error" in answer:
        raise HostError(f"{line.way.host}: {wanted.environment}: {answer['error']}", _advice(answer["error"]))
    return answer


def _advice(why: str) -> str:
    if any(text in why for text in ("No space", "quota", "MiB are needed")):
        return "Make room there or raise the quota, or name another folder: hosts.NAME.work."
    return "The log lies beside the environment: .DIGEST.log; run the task again."
