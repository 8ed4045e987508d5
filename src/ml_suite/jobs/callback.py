"""Tell ecFlow how a job is doing: meters, labels and events through ``ecflow_client``.

A callback that fails never fails the job, and outside a suite (ECF_NAME unset) nothing is sent.
"""

from __future__ import annotations

import os
import shutil
import subprocess

_SECONDS = 20


def _send(*arguments: str) -> None:
    client = os.environ.get("ECF_CLIENT") or shutil.which("ecflow_client")
    if not client or not os.environ.get("ECF_NAME"):
        return
    # one round and no waiting: a dead server must not hold up a training
    environment = {**os.environ, "ECF_DENIED": "1", "ECF_TIMEOUT": "60", "ECF_ZOMBIE_TIMEOUT": "60"}
    try:
        subprocess.run(
            [client, *arguments],
            env=environment,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return


def meter(name: str, value: int) -> None:
    """Move a meter of the task."""
    _send(f"--meter={name}", str(int(value)))


def label(name: str, text: str) -> None:
    """Set a label of the task; ``#`` is left out because the server's checkpoint cannot carry it."""
    _send(f"--label={name}", " ".join(text.replace("#", "").split()))


def event(name: str) -> None:
    """Set an event of the task."""
    _send(f"--event={name}")
