"""Task setup: see that a host can do the suite's work before anything is queued on it.

Another machine gets what jobs need there first: the package, the suite's files and the software of the deployment.
Leaves ``environment-HOST.json``: the versions of what computes, for the record.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from pathlib import Path

from ml_suite import __version__, atomic
from ml_suite.errors import ConfigError, HostError
from ml_suite.evaluation.run import software
from ml_suite.jobs import callback
from ml_suite.jobs.context import Job
from ml_suite.quantities import format_bytes
from ml_suite.study.contract import Document

NEEDED = ("anemoi-datasets", "anemoi-training")
"""Packages for trainings."""
NEEDED_HERE = (*NEEDED, "anemoi-inference", "anemoi-registry")
"""Packages beside the ecFlow server, which also evaluates and registers."""

ENOUGH = 1 << 30
"""Bytes that must be free; what a dataset needs is checked where its size is known."""


class HostEnvironment(Document):
    """What computes on a host."""

    host: str
    node: str
    python: str
    executable: Path
    ml_suite: str
    platform: str
    cpus: int
    software: dict[str, str]
    architecture: str = ""
    installed: str | None = None
    """Name of the environment that setup made, after what it is made of; None: it was there."""
    notes: tuple[str, ...] = ()
    """What its packages miss, as pip says."""

    @property
    def words(self) -> str:
        """For a person.

        >>> environment("here").model_copy(update={"python": "3.11.7", "architecture": "aarch64", "software": {}}).words
        'Python 3.11.7, aarch64'
        """
        trained_by = self.software.get("anemoi-training")
        parts = [f"anemoi-training {trained_by}"] if trained_by else []
        parts += [f"Python {self.python}", self.architecture]
        return ", ".join([*parts, f"env {self.installed[:6]}"] if self.installed else parts)


def run(job: Job, arguments: list[str]) -> None:
    """Prepare and check a host, and record what is installed on it."""
    parser = argparse.ArgumentParser(prog="setup")
    parser.add_argument("--host", help="default: the one that this runs on")
    host = parser.parse_args(arguments).host or job.host
    if host not in job.resolved.hosts:
        raise ConfigError(
            f"host {host!r} is not in the deployment", f"It has {', '.join(job.resolved.hosts)}."
        )
    if host != job.host and job.resolved.hosts[host].remote:
        from ml_suite.jobs import setup_there

        setup_there.run(job, host)
        return
    check(job)


def check(job: Job) -> None:
    """Check the machine that this runs on, and record what is installed on it."""
    tree = job.tree
    check_writable(tree.root)
    tree.outbox.mkdir(parents=True, exist_ok=True)
    free = check_space(tree.work)
    found = environment(job.host)
    if job.deployment.training.trainer == "anemoi":
        check_environment(
            found, job.environment, NEEDED if job.resolved.hosts[job.host].remote else NEEDED_HERE
        )
    found.save(tree.root / f"environment-{job.host}.json")
    trained_by = found.software.get("anemoi-training")
    words = f"anemoi-training {trained_by}" if trained_by else f"Python {found.python}"
    callback.label("software", words)
    print(f"{job.host}: {words}, {format_bytes(free)} free in {tree.work}")


def check_writable(folder: Path) -> None:
    """Write a file and remove it.

    Raises
    ------
    HostError
        If the folder cannot be written.
    """
    probe = folder / f".setup-{os.getpid()}"
    try:
        atomic.write(probe, b"x")
        probe.unlink()
    except OSError as error:
        raise HostError(
            f"{folder} cannot be written: {error.strerror}", "Choose another folder: hosts.NAME.work."
        ) from error


def check_space(folder: Path, enough: int = ENOUGH) -> int:
    """Return the free bytes.

    Raises
    ------
    HostError
        If there are fewer than ENOUGH.
    """
    free = shutil.disk_usage(folder).free
    if free < enough:
        raise HostError(
            f"{folder} has {format_bytes(free)} free; at least {format_bytes(enough)} are needed",
            "Make room, or choose another folder: hosts.NAME.work.",
        )
    return free


def check_environment(
    found: HostEnvironment, environment: Path, needed: tuple[str, ...] = NEEDED_HERE
) -> None:
    """See that the trainer is installed.

    Raises
    ------
    HostError
        If it is not.
    """
    if absent := [name for name in needed if name not in found.software]:
        raise HostError(
            f"the environment {environment} has no {', '.join(absent)}",
            "Run: bash ci/environment.sh   Or name another: hosts.NAME.environment."
            if needed == NEEDED_HERE
            else "Add them, name another: hosts.NAME.environment, or let setup make one: hosts.NAME.software.",
        )


def environment(host: str) -> HostEnvironment:
    """Describe this process's Python and machine."""
    return HostEnvironment(
        host=host,
        node=platform.node(),
        python=platform.python_version(),
        executable=Path(sys.executable),
        ml_suite=__version__,
        platform=platform.platform(),
        cpus=len(os.sched_getaffinity(0)),
        software=software(),
        architecture=platform.machine(),
    )
