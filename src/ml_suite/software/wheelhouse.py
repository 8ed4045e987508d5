"""Wheels for a host's Python and processor, downloaded on the machine that has internet and kept by content.

::

    ML_SUITE_HOME/wheelhouse/DIGEST/     *.whl and wheels.json, for one lock file and one target
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ValidationError

from ml_suite import atomic
from ml_suite.errors import HostError
from ml_suite.quantities import format_bytes
from ml_suite.software import pip
from ml_suite.software.lock import Lock, Pin
from ml_suite.software.patience import Say
from ml_suite.software.target import Target

_RECORD = "wheels.json"


class Wheel(BaseModel):
    """One file of a wheelhouse."""

    name: str
    """Of the file."""
    sha256: str
    size: int
    """Bytes."""
    unpacked: int
    """Bytes of its files."""


class _Record(BaseModel):
    wheels: list[Wheel]
    installer: Wheel


@dataclass(frozen=True)
class Wheelhouse:
    """All wheels of an environment."""

    folder: Path
    wheels: tuple[Wheel, ...]
    installer: Wheel
    """The pip that installs them: the host's own may be missing, or too old for them."""

    @property
    def unpacked(self) -> int:
        """Bytes of the installed files."""
        return sum(wheel.unpacked for wheel in self.wheels)


def ensure(home: Path, lock: Lock, target: Target, say: Say) -> Wheelhouse:
    """Return the wheels of LOCK for TARGET, downloaded unless they are here, and whole.

    Raises
    ------
    HostError
        If a package has no wheel for the target, or its hash is another.
    ConfigError
        If a marker of the lock file cannot be read.
    """
    pins = target.needs(lock)
    meant = [target.words, *lock.options, *(pin.line for pin in pins), pip.INSTALLER.line]
    folder = home / "wheelhouse" / hashlib.sha256("\n".join(meant).encode()).hexdigest()[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        if found := _load(folder):
            return found
        shutil.rmtree(folder, ignore_errors=True)
        say(f"downloads {len(pins)} packages for {target.words}")
        _make(folder, lock, pins, target)
        made = _load(folder)
    if made is None:
        raise HostError(f"{folder} is not whole", "Look at the disk of this machine; run again.")
    say(f"has {len(made.wheels)} wheels, {format_bytes(sum(w.size for w in made.wheels))}")
    return made


def _make(folder: Path, lock: Lock, pins: Sequence[Pin], target: Target) -> None:
    """Download and build into a folder that gets its name when it is complete."""
    for old in folder.parent.glob(f".{folder.name}.*"):
        if old.is_dir():
            shutil.rmtree(old, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        sources = pip.download(pins, lock, target, new)
        for pin in sources:
            pip.build(pin, lock, target, new)
        wheels = [_wheel(path) for path in sorted(new.glob("*.whl"))]
        _complete(pins, wheels)
        installer = _wheel(pip.installer(new / "installer"))
        record = _Record(wheels=wheels, installer=installer)
        atomic.write(new / _RECORD, record.model_dump_json(indent=1) + "\n")
        new.chmod(0o755)
        new.rename(folder)
    except OSError as error:
        raise HostError(
            f"{folder} cannot be written: {error.strerror or error}", "Make room on this machine."
        ) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _complete(pins: Sequence[Pin], wheels: Sequence[Wheel]) -> None:
    """Every package came, once."""
    came = sorted(_package(wheel.name) for wheel in wheels)
    meant = sorted({pin.name for pin in pins})
    if came != meant:
        odd = sorted(set(came) ^ set(meant)) or came
        raise HostError(
            f"pip brought other packages than were listed: {', '.join(odd)}", "Look at its output."
        )


def _package(file: str) -> str:
    return re.sub(r"[-_.]+", "-", file.partition("-")[0]).lower()


def _wheel(path: Path) -> Wheel:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise HostError(f"{path.name} is no wheel: {error}", "Look at where it came from.") from error
    return Wheel(name=path.name, sha256=_sha256(path), size=path.stat().st_size, unpacked=unpacked)


def _load(folder: Path) -> Wheelhouse | None:
    """Read a wheelhouse; None unless every file is there as it was downloaded."""
    try:
        record = _Record.model_validate_json((folder / _RECORD).read_bytes())
        places = [(folder / wheel.name, wheel) for wheel in record.wheels]
        places.append((folder / "installer" / record.installer.name, record.installer))
        whole = all(path.stat().st_size == w.size and _sha256(path) == w.sha256 for path, w in places)
    except (OSError, ValidationError):
        return None
    return Wheelhouse(folder, tuple(record.wheels), record.installer) if whole else None


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder.with_name(f".{folder.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
