"""Copies of the package for jobs, named by content: a running job keeps its code when ml-suite is upgraded."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

import ml_suite

_LEFT_OUT = frozenset({"__pycache__", "cli", "services", "suite", "data"})
"""Folders that no job imports."""

_KEPT = frozenset({Path("services/__init__.py"), Path("services/addresses.py")})
"""Of those folders, what says where the ecFlow server is: the jobs that watch hosts talk to it."""


def library_folder(home: Path) -> Path:
    """Return where `install_library` puts the package as it is now."""
    source = Path(ml_suite.__file__).parent
    return home / "lib" / _digest(source, _files(source))


def install_library(home: Path) -> Path:
    """Copy what jobs need of the package to ``HOME/lib/HASH/ml_suite``, unless it is there.

    Returns
    -------
    The folder to put on PYTHONPATH.

    Raises
    ------
    OSError
        As the file system says; nothing half-written is left under the final name.
    """
    source = Path(ml_suite.__file__).parent
    files = _files(source)
    target = library_folder(home)
    if (target / "ml_suite").is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=target.parent))
    try:
        for name in files:
            (temporary / "ml_suite" / name).parent.mkdir(parents=True, exist_ok=True)
            _copy(source / name, temporary / "ml_suite" / name)
        temporary.chmod(0o755)
        temporary.rename(target)
    except OSError:
        shutil.rmtree(temporary, ignore_errors=True)
        if not (target / "ml_suite").is_dir():
            raise
    return target


def _copy(source: Path, target: Path) -> None:
    with target.open("wb") as f:
        f.write(source.read_bytes())
        f.flush()
        os.fchmod(f.fileno(), 0o755 if os.access(source, os.X_OK) else 0o644)
        os.fsync(f.fileno())


def _files(source: Path) -> list[Path]:
    found = (path.relative_to(source) for path in source.rglob("*") if path.is_file())
    return sorted(p for p in found if p in _KEPT or (not _LEFT_OUT & set(p.parts) and p.suffix != ".pyc"))


def _digest(source: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for name in files:
        content = (source / name).read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]
