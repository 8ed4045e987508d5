"""Runs at a host: see whether an environment is whole, make it from wheels, in the background and by one at a time.

It is sent with each command, together with `sole`, and run by the Python that the environment is made from: standard
library only, nothing else of this package. One JSON object comes in, one goes out. Beside an
environment WORK/env/DIGEST::

    DIGEST/.installed     written last: every file with size, time and digest
    .DIGEST.lock/owner    who makes it now; its time moves while that one lives
    .DIGEST.failed        why the last attempt failed
    .DIGEST.log           what pip said
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ml_suite.software.sole import Lock, beside, write

STAMP = ".installed"

_TIED = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); "
    "os.getppid() == int(sys.argv[1]) or os._exit(9); os.execv(sys.argv[2], sys.argv[2:])"
)
"""Run a program that ends with us: what goes on writing after a kill would spoil the next attempt."""

_SAID_FULL = ("No space left on device", "Disk quota exceeded")


class Failed(Exception):
    """The environment cannot be made."""


def verify(environment: Path) -> tuple[str, str]:
    """Compare an environment with its stamp: ``installed``, ``absent`` or ``broken``, and why."""
    try:
        stamp = json.loads((environment / STAMP).read_text())
        files = stamp["files"]
    except FileNotFoundError:
        if environment.exists() or environment.is_symlink():
            return "broken", "it was never finished"
        return "absent", ""
    except (ValueError, KeyError, TypeError):
        return "broken", f"{STAMP} is damaged"
    for name, was in files.items():
        try:
            if same(environment / name, was):
                continue
        except FileNotFoundError:
            return "broken", f"{name} is missing"
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EINVAL, errno.ELOOP):
                return "broken", f"{name} has changed"
            raise
        return "broken", f"{name} has changed"
    if not (environment / "bin" / "python").exists():
        return "broken", "the Python that it was made from is gone"
    return "installed", ""


def same(path: Path, was: Sequence[Any]) -> bool:
    """Whether a file is as it was recorded; its content is read only when its time is another."""
    if was[0] == "link":
        return str(path.readlink()) == str(was[1])
    found = path.lstat()
    if found.st_size != was[0]:
        return False
    return bool(found.st_mtime_ns == was[1] or digest(path)[:16] == was[2])


def record(environment: Path) -> dict[str, list[Any]]:
    """Every file below an environment."""
    files: dict[str, list[Any]] = {}
    for folder, folders, names in os.walk(environment):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for name in names + links:
            path = Path(folder, name)
            key = str(path.relative_to(environment))
            if path.is_symlink():
                files[key] = ["link", str(path.readlink())]
            elif key != STAMP:
                found = path.stat()
                files[key] = [found.st_size, found.st_mtime_ns, digest(path)[:16]]
    return files


def digest(path: Path) -> str:
    """Sha256 of a file, hexadecimal."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def install(environment: Path, wanted: dict[str, Any], say: Callable[[str], None]) -> None:
    """Make an environment from wheels, all or nothing."""
    say("checks the wheels")
    wheels = [Path(path) for path, _ in wanted["wheels"]]
    pip = Path(wanted["installer"][0])
    for path, meant in [*wanted["wheels"], wanted["installer"]]:
        if not Path(path).is_file() or digest(Path(path)) != meant:
            Path(path).unlink(missing_ok=True)
            raise Failed(f"{Path(path).name} is not what was sent")
    say("removes what was there")
    clear(environment)
    free = shutil.disk_usage(environment.parent).free
    if free < wanted["room"]:
        raise Failed(f"{free >> 20} MiB are free, and {wanted['room'] >> 20} MiB are needed")
    with beside(environment, "log").open("ab") as log:

        def run(*words: object) -> str:
            return call([str(word) for word in words], log.fileno())

        say("makes the environment")
        run(sys.executable, "-I", "-m", "venv", "--without-pip", environment)
        python = environment / "bin" / "python"
        quiet = ("--disable-pip-version-check", "--no-input", "--no-color")
        say(f"installs {len(wheels)} packages")
        options = ("--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--progress-bar=off")
        run(python, "-I", pip / "pip", "install", *quiet, *options, "--no-warn-script-location", *wheels)
        say("compares the packages")
        try:
            notes = []
            run(python, "-I", pip / "pip", "check", *quiet)
        except Failed as error:
            notes = str(error).splitlines()
        say("compiles the packages")
        # files that do not compile are of no Python 3; the others are found by content whatever their times become
        with contextlib.suppress(Failed):
            mode = ("--invalidation-mode", "unchecked-hash")
            run(python, "-I", "-m", "compileall", "-q", "-j", "1", *mode, environment / "lib")
    say("records the files")
    stamp = {"digest": environment.name, "python": platform.python_version(), "notes": notes}
    names = [path.name for path in wheels]
    write(environment / STAMP, {**stamp, "made": time.time(), "wheels": names, "files": record(environment)})


def call(words: list[str], log: int) -> str:
    """Run a program and return what it said.

    Raises
    ------
    Failed
        With its last words, if it did not work.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**kept, "PIP_CONFIG_FILE": os.devnull},
        check=False,
    )
    with contextlib.suppress(OSError):
        os.write(log, done.stdout)
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode == 0:
        return said
    if full := next((text for text in _SAID_FULL if text in said), None):
        raise Failed(full)
    # pip check says each thing in a line of its own
    errors = [line.partition("ERROR: ")[2] for line in said.splitlines() if line.startswith("ERROR: ")]
    raise Failed(
        "\n".join(errors[-1:]) or said[-2000:] or f"{Path(words[0]).name}: exit code {done.returncode}"
    )


def clear(environment: Path) -> None:
    """Remove an environment, so that no half of it is ever found under its name."""
    (environment / STAMP).unlink(missing_ok=True)
    gone = beside(environment, f"gone.{platform.node()}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        environment.rename(gone)
    for old in environment.parent.glob(f".{environment.name}.gone.*"):
        shutil.rmtree(old, ignore_errors=True)


def attempt(environment: Path, wanted: dict[str, Any], lock: Lock) -> None:
    """Install, or leave the reason why not and nothing else."""
    try:
        install(environment, wanted, lock.say)
    except Exception as error:
        said = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            said = error.strerror or said
        with contextlib.suppress(OSError):
            clear(environment)
        with contextlib.suppress(OSError):
            write(beside(environment, "failed"), {"why": said})


def start(environment: Path, wanted: dict[str, Any]) -> dict[str, Any]:
    """Begin to make an environment in a process that outlives the connection."""
    reader, writer = os.pipe()
    if os.fork():
        os.close(writer)
        with os.fdopen(reader, "rb") as answers:
            return json.loads(answers.read() or b'{"error": "it ended at once"}')  # type: ignore[no-any-return]
    try:
        os.setsid()
        environment.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(environment)
        taken = lock.acquire()
        if taken:
            beside(environment, "failed").unlink(missing_ok=True)
            beside(environment, "log").write_bytes(b"")
        answer: dict[str, Any] = {"started": taken}
    except OSError as error:
        taken, answer = False, {"error": error.strerror or str(error)}
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    with os.fdopen(writer, "wb") as answers:
        answers.write(json.dumps(answer).encode())
    if taken:
        try:
            attempt(environment, wanted, lock)
        finally:
            lock.release()
    os._exit(0)


def state(environment: Path) -> dict[str, Any]:
    """What is known of an environment and of this machine."""
    is_, why = verify(environment)
    if is_ != "installed":
        if owner := Lock(environment).owner():
            is_, why = "installing", owner["step"]
        elif is_ == "absent" and beside(environment, "failed").exists():
            is_, why = "failed", json.loads(beside(environment, "failed").read_text())["why"]
    libc = os.confstr("CS_GNU_LIBC_VERSION") if "CS_GNU_LIBC_VERSION" in os.confstr_names else None
    notes = []
    if is_ == "installed":
        notes = json.loads((environment / STAMP).read_text())["notes"]
    return {
        "state": is_,
        "why": why,
        "notes": notes,
        "python": platform.python_version(),
        "executable": sys.executable,
        "machine": platform.machine(),
        "libc": libc or "",
    }


def main(verb: str) -> int:
    """Do what is asked and print the answer."""
    asked = json.loads(sys.stdin.buffer.read())
    environment = Path(asked["environment"])
    try:
        answer = state(environment) if verb == "state" else start(environment, asked)
    except OSError as error:
        answer = {"error": f"{error.filename or environment}: {error.strerror or error}"}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[2]))
