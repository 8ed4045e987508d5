"""Queue a finished suite again; every task is safe to run again."""

from __future__ import annotations

from ml_suite.errors import MlSuiteError
from ml_suite.server.client import Server
from ml_suite.server.definition import Definition
from ml_suite.server.status import is_cron, outcome


def must_be_over(running: Definition) -> None:
    """Insist that a suite does not run any more.

    Raises
    ------
    MlSuiteError
        If it does.
    """
    if outcome(running) is None:
        raise MlSuiteError(
            f"suite {running.suite.name} is not finished, so it is not queued again",
            f"Wait for it: ml-suite status {running.suite.name} --watch",
        )


def rerun(server: Server, running: Definition) -> list[str]:
    """Queue a finished suite again: every family that is not only cron tasks.

    Returns
    -------
    The paths that were queued.

    Raises
    ------
    MlSuiteError
        If it still runs.
    """
    must_be_over(running)
    top = running.children.get(running.suite.path, [])
    paths = [p for p in top if any(n.kind == "task" and not is_cron(n) for n in running.below(p))]
    server.requeue(paths)
    return paths
