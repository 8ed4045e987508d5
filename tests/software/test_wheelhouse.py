"""Wheels for another machine: downloaded once, kept by content, refused when they are not what was meant."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import HostError
from ml_suite.software import pip, wheelhouse
from ml_suite.software.lock import Lock, parse
from ml_suite.software.target import Target
from ml_suite.software.wheelhouse import Wheelhouse

ARM = Target("3.11", "aarch64", (2, 34))
INTEL = Target("3.11", "x86_64", (2, 28))

LOCK = """\
six==1.17.0 --hash=sha256:4721f391ed90541fddacab5acf947aa0d3dc7d27b2e1e8eda2be8970586c3274
packaging==24.2 --hash=sha256:09abb1bccd265c01f4a3aa3f7a7db064b36514d2cba19a2f694fe6150451a759
"""


def ensure(home: Path, lock: Lock, target: Target) -> Wheelhouse:
    return wheelhouse.ensure(home, lock, target, print)


def names(found: Wheelhouse) -> list[str]:
    return [wheel.name for wheel in found.wheels]


def test_wheels_are_downloaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ensure(tmp_path, parse(LOCK, "r"), INTEL)
    assert names(found) == ["packaging-24.2-py3-none-any.whl", "six-1.17.0-py2.py3-none-any.whl"]
    assert found.installer.name == "pip-25.3-py3-none-any.whl"
    assert found.unpacked > 200_000

    def run(*words: Any) -> None:
        raise AssertionError("pip was asked")

    monkeypatch.setattr(pip, "_run", run)
    assert ensure(tmp_path, parse("# same\n" + LOCK, "r"), INTEL) == found
    with pytest.raises(AssertionError, match="pip was asked"):
        ensure(tmp_path, parse(LOCK, "r"), ARM)


def test_a_damaged_wheelhouse_is_made_again(tmp_path: Path) -> None:
    found = ensure(tmp_path, parse(LOCK, "r"), INTEL)
    path = found.folder / found.wheels[0].name
    path.write_bytes(b"x" * found.wheels[0].size)
    assert ensure(tmp_path, parse(LOCK, "r"), INTEL) == found
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found.wheels[0].sha256
    (found.folder / found.wheels[0].name).unlink()
    assert ensure(tmp_path, parse(LOCK, "r"), INTEL) == found
    assert [path.name for path in found.folder.parent.iterdir() if path.is_dir()] == [found.folder.name]


def test_another_processor_gets_its_own_wheels(tmp_path: Path) -> None:
    lock = parse("pydantic-core==2.33.2\ncolorama==0.4.6 ; platform_machine == 'x86_64'\n", "r")
    arm, intel = ensure(tmp_path, lock, ARM), ensure(tmp_path, lock, INTEL)
    assert names(arm) == ["pydantic_core-2.33.2-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl"]
    assert names(intel) == [
        "colorama-0.4.6-py2.py3-none-any.whl",
        "pydantic_core-2.33.2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    ]


def test_a_source_without_compiled_parts_becomes_a_wheel(tmp_path: Path) -> None:
    found = ensure(tmp_path, parse("antlr4-python3-runtime==4.9.3\nsix==1.17.0\n", "r"), ARM)
    assert names(found) == [
        "antlr4_python3_runtime-4.9.3-py3-none-any.whl",
        "six-1.17.0-py2.py3-none-any.whl",
    ]


def test_another_hash_is_refused(tmp_path: Path) -> None:
    wrong = parse(LOCK.replace("4721f391", "00000000"), "r")
    with pytest.raises(HostError, match=r"six==1\.17\.0.* is not what the requirements file says") as error:
        ensure(tmp_path, wrong, INTEL)
    assert "4721f391ed90" in str(error.value)
    assert not [path for path in (tmp_path / "wheelhouse").iterdir() if path.is_dir()]


def test_what_is_nowhere_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"six 99\.0 has no wheel for Python 3\.11, aarch64, glibc 2\.34"):
        ensure(tmp_path, parse("six==99.0\n", "r"), ARM)


def test_what_must_be_compiled_is_not_made_here(tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"markupsafe 3\.0\.2 has no wheel for .*s390x"):
        ensure(tmp_path, parse("markupsafe==3.0.2\n", "r"), Target("3.11", "s390x", (2, 5)))
