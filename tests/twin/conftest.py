"""A twin of its own for these tests, up once with all it has: services, accounting, this checkout.

Nothing here measures time: limits are long, because the machine may be busy, and what is waited for is a state.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from ci.twin import auth
from ci.twin.plan import find_site
from ci.twin.state import Folder

from ml_suite.home import cache

Done = subprocess.CompletedProcess[str]
LIMIT = 120.0
"""Seconds that anything may take."""
SILENCE = 4
"""Seconds without an answer that count as none; the kernel answers in milliseconds also when it is busy."""


def wait_until(true: Callable[[], bool], what: Callable[[], str], seconds: float = LIMIT) -> None:
    """Ask again and again; the test fails with WHAT if it is not true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


@dataclass(frozen=True)
class Twin:
    """The commands of ci/twin.sh on a folder."""

    folder: Path
    repository: Path
    used: set[int] = field(default_factory=set)
    """Time steps of the one-time codes that were given out."""

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which commands of this checkout find this twin."""
        return {**os.environ, "ML_SUITE_TWIN": str(self.folder), "ML_SUITE_PYTHON": sys.executable}

    def run(self, *arguments: str, timeout: float = LIMIT, stdin: str = "") -> Done:
        """Run one command; the exit code is for the caller to look at."""
        return subprocess.run(
            ["bash", str(self.repository / "ci/twin.sh"), *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            input=stdin,
        )

    def must(self, *arguments: str, timeout: float = LIMIT, stdin: str = "") -> str:
        """Run one command that has to succeed; what it printed."""
        done = self.run(*arguments, timeout=timeout, stdin=stdin)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def until(self, host: str, line: str, text: str, seconds: float = LIMIT) -> None:
        """Run a line of shell at a host again and again, until it prints a text."""
        last = ""

        def says() -> bool:
            nonlocal last
            done = self.run("exec", host, line)
            last = done.stdout + done.stderr
            return text in done.stdout

        wait_until(says, lambda: f"{host}: {line}: {last!r} without {text!r}", seconds)

    def submit(self, host: str, wrapped: str, options: str = "") -> str:
        """Submit a job and wait until it runs; its number."""
        line = f"cd $SCRATCH && sbatch --parsable -o /dev/null {options} --wrap '{wrapped}'"
        job = self.must("exec", host, line).strip()
        self.until(host, f"squeue -h -j {job} -o %T", "RUNNING")
        return job

    def ssh(self, host: str, line: str = "hostname", options: str = "-o BatchMode=yes") -> Done:
        """Ssh from ops to a host, with a limit."""
        return self.run("exec", "ops", f"timeout 60 ssh {options} {host} {line!r}")

    def reaches(self, source: str, targets: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """How connections from a host end, all at the same time: open, refused, rejected, silence."""
        answers = {
            "rc=0": "open",
            "refused": "refused",
            "No route": "rejected",
            "Permission": "rejected",
            "rc=124": "silence",
        }
        wanted = list(targets)
        probe = (
            f'probe() {{ text=$(timeout {SILENCE} bash -c "</dev/tcp/$1/$2" 2>&1; echo rc=$?); '
            'printf "%s\\n" "$1 $2 $(echo "$text" | tr "\\n" " ")"; }; '
        )
        text = self.must("exec", source, probe + "".join(f"probe {t} {p} & " for t, p in wanted) + "wait")
        found = {}
        for line in text.splitlines():
            target, port, answer = line.split(" ", 2)
            found[target, int(port)] = next(word for mark, word in answers.items() if mark in answer)
        return found

    def code(self, site: str) -> str:
        """A one-time code that no test has used; waits for one if need be."""
        seed = auth.seed(Folder(self.folder), find_site(site))
        while True:
            step = int(time.time() // auth.STEP)
            # the site allows for clocks that differ by a step; the last code only if there is time left to use it
            fresh = time.time() % auth.STEP < auth.STEP / 2
            for one in range(step - fresh, step + 2):
                if one not in self.used:
                    self.used.add(one)
                    return auth.code(seed, one * auth.STEP)
            time.sleep(1)


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
        there.must("up", "--services", "--accounting", "--bind", str(cache()), timeout=5 * LIMIT)
        yield there
    finally:
        there.must("down", "--purge")


@pytest.fixture
def mended(twin: Twin) -> Iterator[None]:
    """What one test cut does not trouble the next."""
    yield
    for name in json.loads(twin.run("status", "--json").stdout)["cuts"]:
        twin.must("heal", name)
