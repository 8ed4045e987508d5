"""Get the tasks of the watch suite going again, however they ended: kill -9, a reboot, an older checkpoint.

Two tasks take turns, so that at any moment one of them is at rest: a server that goes on from a checkpoint finds
tasks active whose jobs are gone, and the one at rest starts the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from ml_suite.errors import MlSuiteError
from ml_suite.hosts.jobfile import JobFiles, alive
from ml_suite.server.client import Server
from ml_suite.server.definition import BUSY, Definition, Node
from ml_suite.watch import SUITE

GRACE = 30.0
"""Seconds after which a task whose job is not there is believed to have none: a submission takes a second or two."""


@dataclass(frozen=True)
class Stopped:
    """Tasks that should run and do not."""

    ended: list[str] = field(default_factory=list)
    """Aborted, or complete though none of them ever is for long."""
    lost: dict[str, str] = field(default_factory=dict)
    """Submitted or active, and no process here; with the password of the try."""


def stopped(running: Definition, jobs: Path) -> Stopped:
    """Find them; what an operator suspended stays as it is.

    Parameters
    ----------
    jobs
        ECF_HOME of the suite.
    """
    found = Stopped()
    for path, node in running.nodes.items():
        if (
            node.kind != "task"
            or node.suspended
            or any(running.nodes[p].suspended for p in running.above(path))
        ):
            continue
        if node.state in ("aborted", "complete"):
            found.ended.append(path)
        elif node.state in BUSY and not _lives(node, jobs):
            found.lost[path] = node.facts.get("passwd", "")
    return found


def _lives(node: Node, jobs: Path) -> bool:
    place = jobs / node.path.removeprefix("/")
    files = JobFiles(
        place.with_name(f"{place.name}.job{node.tries}"), place.with_name(f"{place.name}.{node.tries}")
    )
    running = files.running
    return running is not None and (
        alive(running.pid, running.started) or alive(running.keeper, running.keeper_started)
    )


def revive(server: Server, home: Path, sleep: Callable[[float], None] = time.sleep) -> list[str]:
    """Queue again what is stopped.

    Returns
    -------
    A line for each task.
    """
    running = server.fetch(SUITE)
    if running is None:
        return []
    first = stopped(running, home / "jobs")
    client = server.child("", "", 1, "")
    if first.ended:
        # only what is still aborted: a task may have been started again meanwhile
        aborted = [path for path in first.ended if running.nodes[path].state == "aborted"]
        if aborted:
            server.tell(lambda: client.requeue(aborted, "abort"))
        for path in first.ended:
            # refused when somebody was faster
            with suppress(MlSuiteError):
                if path not in aborted:
                    server.tell(partial(client.requeue, path))
    lost = _still_lost(server, home, first, sleep) if first.lost else []
    if lost:
        server.requeue(lost)
    return [f"{path} had ended: queued again" for path in first.ended] + [
        f"{path} had no job any more: queued again" for path in lost
    ]


def _still_lost(server: Server, home: Path, before: Stopped, sleep: Callable[[float], None]) -> list[str]:
    sleep(GRACE)
    running = server.fetch(SUITE)
    now = stopped(running, home / "jobs").lost if running else {}
    return [path for path, password in before.lost.items() if now.get(path) == password]
