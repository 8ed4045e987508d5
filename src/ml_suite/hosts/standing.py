"""What the ecFlow server has in the place of a submission: one `ecflow_client` per task, 4 ms.

Standard library only: hosts do without ecFlow's Python binding.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from ml_suite.home import home
from ml_suite.hosts.verdict import Standing

_SECONDS = 30.0
_TASK = re.compile(r"^\s*task \S+(?: # (.*))?$", re.MULTILINE)
_LABEL = re.compile(r"^\s*label (\S+) ", re.MULTILINE)


@dataclass(frozen=True)
class Place:
    """A task as the server has it."""

    standing: Standing
    rid: str = ""
    """What its job called itself at --init."""
    labels: tuple[str, ...] = ()
    trouble: str = ""
    """Why the server could not be asked."""


class Servers:
    """Asks the servers that jobs name; one that did not answer is not asked again by this object."""

    def __init__(self) -> None:
        self._silent: dict[tuple[str, str], str] = {}

    def ask(self, credentials: Mapping[str, str]) -> Place:
        """Look at the task of a submission.

        Parameters
        ----------
        credentials
            ECF_* variables of its job.
        """
        server = credentials.get("ECF_HOST", ""), credentials.get("ECF_PORT", "")
        if server in self._silent:
            return Place(Standing.UNKNOWN, trouble=self._silent[server])
        try:
            done = subprocess.run(
                [shutil.which("ecflow_client") or "ecflow_client", f"--migrate={credentials['ECF_NAME']}"],
                env=environment(*server),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return self._trouble(server, str(error))
        if done.returncode == 0:
            return read(done.stdout, credentials)
        if "Cannot find node at path" in done.stderr:
            return Place(Standing.GONE)
        said = next(
            (line for line in done.stderr.splitlines() if "Error" in line or "ailed" in line), "no word"
        )
        return self._trouble(server, said.strip())

    def _trouble(self, server: tuple[str, str], words: str) -> Place:
        self._silent[server] = f"the ecFlow server {':'.join(server)} does not answer: {words[:200]}"
        return Place(Standing.UNKNOWN, trouble=self._silent[server])


def read(text: str, credentials: Mapping[str, str]) -> Place:
    """Read ``ecflow_client --migrate=PATH``.

    >>> mine = {"ECF_PASS": "abc", "ECF_TRYNO": "1"}
    >>> str(read("  task t # passwd:abc rid:7 try:1 state:active", mine).standing)
    'busy'
    >>> str(read("  task t # passwd:xyz try:1 state:submitted", mine).standing)
    'another'
    >>> str(read("  task t # try:1 state:complete", mine).standing)
    'ended'
    >>> str(read("  task t # state:queued", mine).standing)
    'queued'
    """
    found = _TASK.search(text)
    if found is None:
        # a family or a suite of that name
        return Place(Standing.GONE)
    words = re.sub(r"abort<:.*>abort", "", found[1] or "").split()
    facts = dict(word.partition(":")[::2] for word in words)
    labels = tuple(_LABEL.findall(text))
    password, number = facts.get("passwd", ""), facts.get("try", "0")
    mine = credentials.get("ECF_PASS"), credentials.get("ECF_TRYNO")
    if not password and facts.get("state") == "complete" and number == mine[1]:
        # a task that completes forgets its password
        return Place(Standing.ENDED, labels=labels)
    if not password and number == "0":
        return Place(Standing.QUEUED, labels=labels)
    if (password, number) != mine:
        return Place(Standing.ANOTHER, labels=labels)
    standing = {
        "submitted": Standing.BUSY,
        "active": Standing.BUSY,
        "complete": Standing.ENDED,
        "aborted": Standing.ENDED,
    }.get(facts.get("state", ""), Standing.UNKNOWN)
    return Place(standing, facts.get("rid", ""), labels)


def environment(host: str, port: str) -> dict[str, str]:
    """Variables with which a user of a server asks it."""
    kept = ("PATH", "HOME", "LANG", "ECF_PASSWD", "ECF_SSL")
    variables = {k: v for k, v in os.environ.items() if k in kept} | {"ECF_HOST": host, "ECF_PORT": port}
    if "ECF_PASSWD" not in variables and (file := _password_file(host, port)):
        variables["ECF_PASSWD"] = file
    return variables


def _password_file(host: str, port: str) -> str:
    """The embedded server wants a password of users, though not of jobs; the name of its file is no secret."""
    try:
        known = json.loads((home() / "services" / "ecflow" / "address.json").read_text())
        return str(known["passwd"]) if str(known["port"]) == port else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
