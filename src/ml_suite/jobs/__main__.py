"""``python -m ml_suite.jobs NAME [ARGUMENT ...]``: what a task of the suite runs on a host.

Each job is a module of this package with a function ``run(job, arguments)``. The message of an expected error goes to
stderr and to the file that ML_SUITE_REASON names, from which the job script aborts the task with that reason.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from ml_suite.errors import MlSuiteError
from ml_suite.jobs.context import Job

JOBS = (
    "setup",
    "dataset",
    "study",
    "train",
    "collect",
    "deliver",
    "evaluate",
    "register",
    "archive",
    "clean",
)


def main(arguments: list[str]) -> int:
    """Run one job and return its exit code."""
    if not arguments or arguments[0] not in JOBS:
        print(f"usage: python -m ml_suite.jobs {{{','.join(JOBS)}}} [ARGUMENT ...]", file=sys.stderr)
        return 2
    name, *rest = arguments
    try:
        importlib.import_module(f"ml_suite.jobs.{name}").run(Job.from_environment(), rest)
    except MlSuiteError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        tell_reason(error.message)
        return error.exit_code
    except BaseException as error:
        tell_reason(f"{type(error).__name__}: {error}")
        raise
    return 0


def tell_reason(reason: str) -> None:
    """Leave the reason where the job script finds it."""
    if where := os.environ.get("ML_SUITE_REASON"):
        Path(where).write_text(" ".join(reason.split())[:300])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
