"""Make ecFlow nodes the way every family of the suite wants them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.binding import binding
from ml_suite.config.resolved import Resolved
from ml_suite.config.values import node_name
from ml_suite.hosts.jobhost import JobHosts
from ml_suite.watch import SUITE as WATCH

if TYPE_CHECKING:
    import ecflow

TRIES_SAFE = 3
"""Moving and registering: a second try is cheap and helps against a network that hiccups."""
TRIES_ONCE = 1
"""Training: a second try spends GPU-hours again, so a person decides."""


@dataclass(frozen=True)
class Places:
    """Where the server finds and puts things; all absolute."""

    scripts: Path
    """Deployed .ecf files and, below include/, the headers."""
    jobs: Path
    """ECF_HOME: generated jobs and their outputs."""
    library: Path
    """Folder that holds the ``ml_suite`` package for the jobs."""
    ops_python: Path
    """Python that runs the submit command beside the server."""
    server: str = "localhost"
    """Name by which jobs call the server."""


PLACED = "placed"
"""Limit of the suite for jobs whose host is chosen when they are submitted."""


@dataclass(frozen=True)
class Scope:
    """What every node of a suite is made from."""

    resolved: Resolved
    hosts: JobHosts
    """What the submit command knows of other machines."""

    def reaching(self, target: str) -> str:
        """Host on which a task runs that works at TARGET: that one, or beside the server for another machine."""
        return self.resolved.ops if self.resolved.hosts[target].remote else target


@dataclass(frozen=True)
class Task:
    """One task to be: everything that differs between tasks of one type is a variable."""

    name: str
    script: str
    host: str | None = None
    """None: the host of the family."""
    trigger: str | None = None
    tries: int = 2
    meters: tuple[str, ...] = ()
    """Per cent meters."""
    labels: tuple[str, ...] = ()
    variables: Mapping[str, str | int] = field(default_factory=dict)
    walltime: timedelta | None = None
    """When given, ecFlow flags the task as late after one and a half times as long."""
    limit: str | None = None
    """Limit of the suite that it uses up instead of its host's: a courier takes no room from a training."""
    target: str | None = None
    """Another machine that a task beside the server works at: it waits while that one needs a login."""
    places: tuple[str, ...] = ()
    """Other machines of which the submit command chooses one, in place of `host`."""
    asks: str = ""
    """What its job asks of a scheduler, by its name in `hosts`."""
    own: bool = False
    """It runs with ml-suite's own environment, for packages that trainings need not have."""
    inputs: tuple[Path, ...] = ()
    """Files below the work folder that go with the job to another machine."""


def add_task(parent: ecflow.Family | ecflow.Suite, task: Task, scope: Scope) -> ecflow.Task:
    """Add one task to a family."""
    ecflow = binding()
    node = parent.add_task(task.name)
    node.add_variable("ML_SUITE_SCRIPT", task.script)
    if task.tries != 2:
        node.add_variable("ECF_TRIES", str(task.tries))
    remote = bool(task.places) or (task.host is not None and scope.resolved.hosts[task.host].remote)
    for key, value in task.variables.items():
        # a scheduler is asked for nodes
        if not (remote and key in ("GPUS", "CPUS")):
            node.add_variable(key, str(value))
    if task.places:
        add_host(node, scope.resolved.ops, scope, PLACED)
        _add_submission(node, task, task.places, scope)
        node.add_label("place", "-")
    elif task.host is not None:
        add_host(node, task.host, scope, task.limit, own=task.own)
        if remote:
            node.add_inlimit("open", f"/{WATCH}/{node_name(task.host)}")
            _add_submission(node, task, (task.host,), scope)
    if task.target is not None:
        node.add_variable("TARGET", task.target)
        if scope.resolved.hosts[task.target].remote:
            node.add_inlimit("open", f"/{WATCH}/{node_name(task.target)}")
    if task.trigger:
        node.add_trigger(task.trigger)
    for name in task.meters:
        node.add_meter(name, 0, 100, 100)
    for name in task.labels:
        node.add_label(name, "-")
    if task.walltime is not None:
        late = ecflow.Late()
        seconds = int(task.walltime.total_seconds() * 1.5)
        late.complete(min(seconds // 3600, 99), seconds // 60 % 60, True)
        node.add_late(late)
    return node


def add_host(node: ecflow.Node, host: str, scope: Scope, limit: str | None = None, own: bool = False) -> None:
    """Let a node's jobs run on HOST and count against its limit, or against another one."""
    found = scope.resolved.hosts[host]
    node.add_variable("ML_SUITE_HOST", host)
    python = "%ML_SUITE_OPS_PYTHON%" if own else str(found.environment / "bin" / "python")
    node.add_variable("ML_SUITE_PYTHON", python)
    if limit or host in scope.resolved.deployment.hosts:
        node.add_inlimit(limit or node_name(host), f"/{scope.resolved.deployment.node}")


def _add_submission(node: ecflow.Task, task: Task, places: Sequence[str], scope: Scope) -> None:
    """What the submit command reads from the job, as variables that an operator may change."""
    # for what the sweep finds out of it
    node.add_label("job", "-")
    node.add_variable("ML_SUITE_SCHEDULER", "slurm")
    node.add_variable("ML_SUITE_PLACES", ",".join(places))
    node.add_variable("ML_SUITE_RESOURCES", task.asks)
    work = scope.resolved.hosts[scope.resolved.ops].work
    if task.inputs:
        names = ",".join(str(path.relative_to(work)) for path in task.inputs)
        node.add_variable("ML_SUITE_INPUTS", names)
    # where the host is not known yet, what is left empty becomes what that host needs
    asked = scope.hosts.hosts[places[0]].resources[task.asks] if len(places) == 1 else None
    for name in ("nodes", "tasks_per_node", "gpus_per_node", "cpus_per_task", "account", "partition", "qos"):
        value = getattr(asked, name, None)
        node.add_variable(name.upper(), "" if value is None else str(value))


def all_complete(names: Iterable[str]) -> str:
    """Trigger expression that waits for every node named."""
    return " and ".join(f"{name} == complete" for name in names)
