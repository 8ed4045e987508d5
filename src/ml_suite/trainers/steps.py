"""A training of several ranks inside a Slurm job: one step, followed and ended from the training's folder."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

from ml_suite.errors import StudyError
from ml_suite.hosts import ranks
from ml_suite.hosts.ranks import Allocation, Placement
from ml_suite.trainers import process
from ml_suite.trainers.process import Ended, Launch, Stop

_ANSWER = 30.0
"""Seconds that the scheduler has to answer."""

_GONE = 120.0
"""Seconds until a killed step must be gone."""


def placement(wanted: int) -> Placement | None:
    """Place that a training of so many ranks gets in the job around this process.

    Returns
    -------
    Placement or None
        None for one rank, and outside of a job: it is then started directly.

    Raises
    ------
    StudyError
        If the job has no room for it.
    """
    allocation = Allocation.of(os.environ)
    return ranks.place(wanted, allocation) if allocation and wanted > 1 else None


def over(launch: Launch, place: Placement) -> Launch:
    """Return what starts the program once per rank."""
    for name in (ranks.STEP, ranks.FALLEN):
        (launch.folder / name).unlink(missing_ok=True)
    allocation = Allocation.of(os.environ)
    cpus = allocation.cpus_per_task if allocation else None
    return replace(launch, argv=ranks.srun(launch.argv, place, str(launch.folder), cpus))


def ask(folder: Path, pid: int) -> None:
    """Ask all ranks to stop; before they have begun, and if the scheduler does not answer, srun ends them."""
    step = _step(folder)
    if step is None or not _done(["scancel", f"--signal={ranks.STOP}", step]):
        process.terminate(pid)


def end(folder: Path) -> None:
    """End what is left of a step and wait until nothing of it can write to the folder.

    Raises
    ------
    StudyError
        If that cannot be made sure.
    """
    step = _step(folder)
    if step is None:
        return
    until = time.monotonic() + _GONE
    while _runs(step):
        if time.monotonic() > until:
            raise StudyError(
                f"the scheduler does not say that step {step} has ended, which may still train in {folder}",
                f"Look with: squeue --steps={step}. Once it is gone, run the task again.",
            )
        _done(["scancel", "--signal=KILL", step])
        time.sleep(0.5)
    (folder / ranks.STEP).unlink(missing_ok=True)


def told(folder: Path, ended: Ended) -> Ended:
    """Say how a step ended: srun's own code is the highest one of all ranks, most of which it killed itself."""
    ended = replace(ended, cpu_seconds=None)
    words = _words(folder / ranks.FALLEN)
    began = bool(words) or _step(folder) is not None
    if ended.code < 0:
        end(folder)  # srun is gone, its ranks need not be
    (folder / ranks.STEP).unlink(missing_ok=True)
    if len(words) >= 3:
        code = 128 + 15 if "told" in words[3:] else int(words[2])
        ended = replace(ended, code=_signalled(code), rank=int(words[0]), host=words[1])
    else:
        ended = replace(ended, code=_signalled(ended.code))
    if not ended.code or ended.stop is not Stop.ITSELF:
        return ended
    if not began:
        return replace(ended, stop=Stop.START)
    return ended if _nodes_answer() else replace(ended, stop=Stop.NODE)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _nodes_answer() -> bool:
    """Tell whether the job has all its nodes: ranks fail when another one's node is lost, long before Slurm says so."""
    allocation = Allocation.of(os.environ)
    return allocation is None or allocation.nodes == 1 or _done(ranks.probe(allocation))


def _signalled(code: int) -> int:
    """Return the exit code of a shell as `Ended` counts: minus the signal."""
    return 128 - code if 128 < code < 128 + 65 else code


def _step(folder: Path) -> str | None:
    words = _words(folder / ranks.STEP)
    return words[0] if words else None


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _done(command: list[str]) -> bool:
    return _call(command) is not None


def _runs(step: str) -> bool:
    """Tell whether a step still runs; true when nobody knows."""
    answer = _call(["squeue", "--noheader", f"--steps={step}", "--format=%i"])
    return answer is None or bool(answer.strip())


def _call(command: list[str]) -> str | None:
    """Output of a command of Slurm; None if it fails or does not answer."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ANSWER, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode and "Invalid job id" in done.stderr:
        return ""  # a job that Slurm has forgotten
    return done.stdout if done.returncode == 0 else None
