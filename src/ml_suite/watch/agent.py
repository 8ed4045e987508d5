"""The ssh agent of the person who logged in last: a certificate that lives only there opens connections again.

ecFlow's jobs do not have the person's environment. What is kept is the name of a socket, which only this user can use.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ml_suite import atomic

_VARIABLE = "SSH_AUTH_SOCK"


def remember(home: Path) -> None:
    """Note the agent of this shell, if it has one."""
    path = os.environ.get(_VARIABLE)
    if path and _answers(path):
        atomic.write(_file(home), path + "\n", mode=0o600)


def adopt(home: Path) -> None:
    """Use the agent that was noted, if this process has none and it still answers."""
    if os.environ.get(_VARIABLE):
        return
    try:
        path = _file(home).read_text().strip()
    except OSError:
        return
    if path and _answers(path):
        os.environ[_VARIABLE] = path


def _file(home: Path) -> Path:
    return home / "watch" / "agent"


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(1)
        try:
            s.connect(path)
        except OSError:
            return False
    return True
