"""A twin of its own for these tests, up once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Twin:
    """The commands of ci/twin.sh on a folder."""

    folder: Path
    repository: Path

    def run(self, *arguments: str, timeout: float = 90) -> Done:
        """Run one command; the exit code is for the caller to look at."""
        environment = {**os.environ, "ML_SUITE_TWIN": str(self.folder), "ML_SUITE_PYTHON": sys.executable}
        command = ["bash", str(self.repository / "ci/twin.sh"), *arguments]
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def must(self, *arguments: str, timeout: float = 90) -> str:
        """Run one command that has to succeed; what it printed."""
        done = self.run(*arguments, timeout=timeout)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def ssh(self, host: str, line: str = "hostname", options: str = "-o BatchMode=yes") -> Done:
        """Ssh from ops to a host, with a limit."""
        return self.run("exec", "ops", f"timeout 12 ssh {options} {host} {line!r}")

    def reaches(self, source: str, target: str, port: int) -> str:
        """How a connection attempt from one host to another ends: open, refused, rejected, silence."""
        probe = f"""timeout 2 bash -c '</dev/tcp/{target}/{port}' 2>&1; echo "rc=$?" """
        text = self.must("exec", source, probe)
        answers = {
            "rc=0": "open",
            "refused": "refused",
            "No route": "rejected",
            "Permission": "rejected",
            "rc=124": "silence",
        }
        return next(word for mark, word in answers.items() if mark in text)


@pytest.fixture(scope="session")
def twin_folder() -> Iterator[Path]:
    """A folder for a twin, gone afterwards."""
    if os.geteuid() != 0:
        pytest.fail("the twin needs root; leave its tests out with: -m 'not twin'")
    folder = Path(tempfile.mkdtemp(prefix="twin-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def twin(twin_folder: Path, repository: Path) -> Iterator[Twin]:
    """A running twin."""
    there = Twin(twin_folder, repository)
    try:
        there.must("up", "--no-binds", timeout=300)
        yield there
    finally:
        there.must("down", "--purge")
