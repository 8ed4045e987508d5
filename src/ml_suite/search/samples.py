"""The table of samples of a study: made when it is missing, checked before anything is trained on it."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_suite import atomic
from ml_suite.config.study_file import StudyFile, filled
from ml_suite.errors import StudyError
from ml_suite.study.arrays import Arrays
from ml_suite.trainers.outcome import last_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

Say = Callable[[str], None]

_KINDS = "fiub"
"""NumPy kinds of numbers."""


class Unmade(StudyError):
    """The samples are missing, and a program of the study makes them."""


@dataclass(frozen=True)
class Target:
    """A column of the targets."""

    name: str
    low: float
    high: float


@dataclass(frozen=True)
class Table:
    """What the file holds."""

    arrays: Arrays
    x: NDArray[Any]
    """[samples, inputs] as stored."""
    targets: tuple[Target, ...]


def ensure(study: StudyFile, beside: Path, say: Say, make: bool = True) -> Path:
    """Return the file of the samples; run the study's program when it is missing.

    Raises
    ------
    Unmade
        If it is missing and not to be made.
    StudyError
        If it is missing and nothing makes it, or the program fails.
    """
    path = study.arrays(beside)
    if path.is_file():
        return path
    if path.is_dir():
        raise StudyError(f"{path} is a folder", "Name the file (.npz) in it: data.arrays.")
    if not study.data.make:
        raise StudyError(
            f"there are no samples: {path} is missing", "Bring the file, or say how it is made: data.make."
        )
    if not make:
        raise Unmade(f"the samples are not made yet: {path} is missing", "`run` makes them first.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f".{path.name}.lock").open("w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)  # another process may be making it
            if not path.is_file():
                _make(study, beside, path, say)
    except OSError as error:
        raise StudyError(f"{path} cannot be made: {(error.strerror or str(error)).lower()}") from error
    return path


def _make(study: StudyFile, beside: Path, path: Path, say: Say) -> None:
    partial = path.with_name(f".making-{path.name}")
    python = study.environment(beside) / "bin" / "python"
    words = [filled(w, arrays=partial, python=python) for w in study.data.make or []]
    if words[0] in ("python", "python3"):
        words[0] = str(python) if python.exists() else sys.executable
    log = path.with_name(f"{path.name}.log")
    say(f"making {path.name}: {' '.join(words)}")
    with log.open("w") as output:
        try:
            done = subprocess.run(words, cwd=beside, stdout=output, stderr=subprocess.STDOUT, check=False)
        except OSError as error:
            raise StudyError(
                f"data.make cannot be started: {words[0]}: {(error.strerror or str(error)).lower()}",
                "The program is started in the folder of the study file; {python} is the environment's.",
            ) from error
    if done.returncode:
        raise StudyError(
            f"data.make failed with exit code {done.returncode}: {last_words(log)}", f"Read {log}"
        )
    if not partial.is_file():
        raise StudyError(
            f"data.make left no {partial}",
            "It has to write the file that {arrays} stands for in its arguments.",
        )
    partial.replace(path)


def table(study: StudyFile, path: Path) -> Table:
    """Read and check the samples.

    Raises
    ------
    StudyError
        If the file cannot be read, has no such arrays, or they hold anything but finite numbers.
    """
    try:
        with path.open("rb") as f:
            digest = hashlib.file_digest(f, "sha256").hexdigest()
        with _opened(path) as stored:
            x, y = (_array(stored, name, path) for name in (study.data.inputs, study.data.targets))
            names = _names(stored, f"{study.data.targets}_names")
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise StudyError(
            f"{path} cannot be read: {error}",
            "Make it again: remove it first." if study.data.make else "It has to be a NumPy file (.npz).",
        ) from error
    if len(x) != len(y):
        raise StudyError(
            f"{path} has {len(x):,} inputs and {len(y):,} targets", "Both need one row for each sample."
        )
    x = x[:, None] if x.ndim == 1 else x
    shape = (x.shape[1], 1 if y.ndim == 1 else y.shape[1])
    arrays = Arrays(
        path=path.absolute(),
        inputs=study.data.inputs,
        targets=study.data.targets,
        sha256=digest,
        samples=len(x),
        shape=shape,
    )
    columns = y.reshape(len(y), -1)
    names = names if len(names) == shape[1] else [f"{study.data.targets}[{i}]" for i in range(shape[1])]
    ends = zip(names, columns.min(0).tolist(), columns.max(0).tolist(), strict=True)
    return Table(arrays, x, tuple(Target(name, float(low), float(high)) for name, low, high in ends))


def _opened(path: Path) -> Any:
    """Arrays of a file by their names.

    Raises
    ------
    StudyError
        If it holds something else.
    """
    import numpy as np

    try:
        stored = np.load(path, allow_pickle=False)
    except ValueError:  # NumPy takes any other file for a pickle
        stored = None
    if isinstance(stored, np.lib.npyio.NpzFile):
        return stored
    what = "is no NumPy file" if stored is None else f"is a single array with shape {stored.shape}"
    raise StudyError(f"{path} {what}", "Write inputs and targets into one: numpy.savez(FILE, x=..., y=...).")


def _names(stored: Any, name: str) -> list[str]:
    """Names of columns, where the file has them."""
    if name not in stored.files:
        return []
    found = stored[name]
    return [str(one) for one in found] if found.ndim == 1 and found.dtype.kind in "US" else []


def _array(stored: Any, name: str, path: Path) -> NDArray[Any]:
    import numpy as np

    if name not in stored.files:
        raise StudyError(
            f"{path} has no array {name!r}",
            f"It has {', '.join(stored.files)}: name one in data.inputs and data.targets.",
        )
    found: NDArray[Any] = stored[name]
    if found.dtype.kind not in _KINDS or found.ndim not in (1, 2) or not found.size:
        raise StudyError(
            f"{path}: {name} is an array of {found.dtype} with shape {found.shape}",
            "Samples are numbers in an array [samples, columns].",
        )
    wrong = np.flatnonzero(~np.isfinite(found.reshape(len(found), -1)).all(axis=1))
    if len(wrong):
        raise StudyError(
            f"{path}: {name} is not finite in {len(wrong):,} of {len(found):,} samples, the first is {wrong[0]}",
            "Remove these samples from the file, or find out why they are there.",
        )
    return found


def save(path: Path, members: NDArray[Any]) -> None:
    """Leave sample numbers where workers find them."""
    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, members)
    _replace(path, buffer.getvalue())


def normalise(path: Path, x: NDArray[Any], members: NDArray[Any]) -> None:
    """Leave mean and standard deviation of some samples where workers find them; both in float64."""
    import numpy as np

    some = x[members].astype(np.float64)
    buffer = io.BytesIO()
    np.savez(buffer, mean=some.mean(axis=0), std=some.std(axis=0))
    _replace(path, buffer.getvalue())


def _replace(path: Path, content: bytes) -> None:
    """Write unless it is there already: another process may be reading it."""
    if path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content:
        return
    try:
        atomic.write(path, content)
    except OSError as error:
        raise StudyError(
            f"{path} cannot be written: {(error.strerror or str(error)).lower()}",
            f"Make room in {os.fspath(path.parent)}.",
        ) from error
