"""The copy of the package that jobs import."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import ml_suite
from ml_suite.library import install_library


def test_jobs_import_the_copy_and_nothing_else(tmp_path: Path) -> None:
    library = install_library(tmp_path)
    names = {p.name for p in (library / "ml_suite").iterdir()}
    assert "jobs" in names
    assert not names & {"cli", "suite", "__pycache__"}
    assert {p.name for p in (library / "ml_suite" / "services").iterdir()} == {"__init__.py", "addresses.py"}
    environment = {**os.environ, "PYTHONPATH": str(library), "PYTHONDONTWRITEBYTECODE": "1"}
    code = "import ml_suite.jobs.__main__ as m; print(m.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(library))


def test_the_same_package_is_copied_once(tmp_path: Path) -> None:
    first = install_library(tmp_path)
    stamp = (first / "ml_suite" / "errors.py").stat().st_mtime_ns
    assert install_library(tmp_path) == first
    assert (first / "ml_suite" / "errors.py").stat().st_mtime_ns == stamp
    assert [p.name for p in (tmp_path / "lib").iterdir()] == [first.name]


def test_an_upgrade_makes_another_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "source" / "ml_suite"
    shutil.copytree(Path(ml_suite.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr("ml_suite.__file__", str(package / "__init__.py"))
    first = install_library(tmp_path)
    (package / "errors.py").write_text((package / "errors.py").read_text() + "# newer\n")
    second = install_library(tmp_path)
    assert first != second
    assert (first / "ml_suite" / "errors.py").read_text() != (second / "ml_suite" / "errors.py").read_text()


def test_a_full_disk_leaves_nothing_under_the_final_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("ml_suite.library._copy", full)
        with pytest.raises(OSError, match="No space left"):
            install_library(tmp_path)
    assert not list((tmp_path / "lib").iterdir())
    assert (install_library(tmp_path) / "ml_suite").is_dir()
