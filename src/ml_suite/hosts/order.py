"""What a job asks for: the ``#: `` lines at the head of the script that ecFlow wrote. Pure.

Standard library only: it is read for every job that ecFlow submits.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath

from ml_suite.errors import ConfigError
from ml_suite.hosts.chain import chain, overlap_of
from ml_suite.hosts.jobhost import Ask, JobHost
from ml_suite.quantities import duration

ANY = "any"
_LINE = re.compile(r"^#: *([a-z_]+)(?: +(.*))?$")
_ROUNDS = 50_000
"""Of the hash in a key: some 20 ms."""
_LONGEST_NAME = 88
"""Characters of a key before the digits that make it unique."""

# each of these would break how a job is found again, told apart or read
_FORBIDDEN = frozenset(
    (
        *(
            "--job-name",
            "-J",
            "--output",
            "-o",
            "--open-mode",
            "--array",
            "-a",
            "--wait",
            "-W",
            "--wrap",
            "--test-only",
        ),
        *(
            "--requeue",
            "--parsable",
            "--chdir",
            "-D",
            "--signal",
            "--quiet",
            "-Q",
            "--clusters",
            "-M",
            "--hold",
            "-H",
        ),
    )
)


@dataclass(frozen=True)
class Order:
    """One job as ecFlow ordered it."""

    facts: Path
    """The suite's hosts.json."""
    hosts: tuple[str, ...]
    """Hosts that may take it; ``any``: all that the suite has for this kind."""
    kind: str
    """Kind of the job, a key of `JobHost.resources`."""
    inputs: tuple[str, ...] = ()
    """Files that go with it, relative to the working folder."""
    nodes: int | None = None
    tasks_per_node: int | None = None
    gpus_per_node: int | None = None
    cpus_per_task: int | None = None
    walltime: str | None = None
    partition: str | None = None
    qos: str | None = None
    account: str | None = None
    sbatch: str = ""
    """Free options of sbatch."""

    def ask(self, host: JobHost) -> Ask:
        """What the deployment asks for this kind at HOST, with the operator's changes.

        Raises
        ------
        ConfigError
            If the suite has no such kind there.
        """
        if self.kind not in host.resources:
            known = ", ".join(host.resources) or "none"
            raise ConfigError(f"no job of kind '{self.kind}' is meant for this host", f"It is given: {known}")
        changes = {
            name: value
            for name in ("nodes", "tasks_per_node", "gpus_per_node", "cpus_per_task")
            if (value := getattr(self, name)) is not None
        }
        words = {
            name: value
            for name in ("walltime", "partition", "qos", "account")
            if (value := getattr(self, name))
        }
        return replace(host.resources[self.kind], **changes, **words)


def read(script: str) -> Order:
    """Read the lines of a script.

    Raises
    ------
    ConfigError
        If a line is missing, or says something that cannot be.
    """
    said = {m[1]: (m[2] or "").strip() for line in script.splitlines()[:60] if (m := _LINE.match(line))}
    for name in ("facts", "host", "resources"):
        if not said.get(name):
            raise ConfigError(f"the job does not say its '{name}'", "Run: ml-suite deploy")
    return Order(
        facts=Path(said["facts"]),
        hosts=_listed(said["host"]),
        kind=said["resources"],
        inputs=tuple(_below(name) for name in _listed(said.get("inputs", ""))),
        nodes=_count(said, "nodes"),
        tasks_per_node=_count(said, "tasks_per_node"),
        gpus_per_node=_count(said, "gpus_per_node", least=0),
        cpus_per_task=_count(said, "cpus_per_task"),
        walltime=said.get("walltime") or None,
        partition=said.get("partition") or None,
        qos=said.get("qos") or None,
        account=said.get("account") or None,
        sbatch=_free(said.get("sbatch", "")),
    )


def key_of(path: str, number: str, password: str) -> str:
    """Name of one submission: ecFlow draws a new password for each.

    >>> key_of("/demo/main/hpo/step1/shard_1", "2", "secret")
    'step1.shard_1.2.eac15a10a4'
    """
    # everybody at the host sees the name, so guessing passwords until it fits must not pay
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), f"{path}\0{number}".encode(), _ROUNDS).hex()[
        :10
    ]
    tail = f".{number}.{digest}"
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", ".".join(path.strip("/").split("/")[-2:]))
    return name[: _LONGEST_NAME - len(number)] + tail


def key_of_job(credentials: Mapping[str, str]) -> str:
    """Name of a submission by what its script exports."""
    return key_of(credentials["ECF_NAME"], credentials["ECF_TRYNO"], credentials["ECF_PASS"])


def times(ask: Ask) -> list[timedelta]:
    """Walltime of each job of the chain.

    Raises
    ------
    ConfigError
        If a walltime is none, or too short to be divided.

    >>> [str(time) for time in times(Ask(walltime="30h", longest="1d"))]
    ['1 day, 0:00:00', '6:15:00']
    """
    try:
        walltime = duration(ask.walltime)
        if not walltime:
            raise ValueError("a job needs time")
        if not ask.longest:
            return [walltime]
        longest = duration(ask.longest)
        return chain(walltime, longest, overlap_of(longest))
    except ValueError as error:
        raise ConfigError(f"walltime {ask.walltime}: {error}", "Change WALLTIME of the task.") from error


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _below(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"the input {name} does not lie below the working folder", "Run: ml-suite deploy")
    return str(path)


def _count(said: dict[str, str], name: str, least: int = 1) -> int | None:
    text = said.get(name, "")
    if not text:
        return None
    if not text.isdigit() or int(text) < least:
        raise ConfigError(
            f"{name.upper()} is '{text}', not a number from {least} on", f"Change {name.upper()} of the task."
        )
    return int(text)


def _free(text: str) -> str:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"SBATCH is '{text}': {error}", "Change SBATCH of the task.") from error
    for word in words:
        option = word.split("=", 1)[0] if word.startswith("--") else word[:2]
        if option in _FORBIDDEN:
            raise ConfigError(
                f"SBATCH cannot hold {option}: the suite sets it itself", "Change SBATCH of the task."
            )
    if words and not words[0].startswith("-"):
        raise ConfigError(f"SBATCH is '{text}', not options of sbatch", "Change SBATCH of the task.")
    return text
