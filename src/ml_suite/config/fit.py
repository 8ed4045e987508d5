"""What the jobs of a deployment ask for, and what its hosts have."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ml_suite.config.deployment import Deployment, Use
from ml_suite.config.findings import Finding, Severity
from ml_suite.config.resources import Resources
from ml_suite.config.source import Keys, Source
from ml_suite.errors import ConfigError
from ml_suite.hosts import host as machines
from ml_suite.hosts.host import Host
from ml_suite.hosts.queues import named
from ml_suite.hosts.request import Request, request
from ml_suite.quantities import format_duration


@dataclass(frozen=True)
class _Job:
    """What one kind of job asks for, and where it may run."""

    path: Keys
    """Of its resources in the file."""
    resources: Resources
    hosts: tuple[str, ...]


def check(deployment: Deployment, source: Source, known: Mapping[str, Host]) -> Iterator[Finding]:
    """Compare what is asked with the hosts that may be used: those with a file and an account."""
    refused = set()
    for name, host in known.items():
        if not host.here:
            found = list(_use(source, name, host, deployment.hosts[name]))
            refused |= {name for finding in found if finding.severity is Severity.ERROR}
            yield from found
    for job in _jobs(deployment):
        for name in job.hosts:
            if name in known and known[name].here:
                yield from _here(source, job, name, known[name])
            elif name in known and name not in refused:
                yield from _there(source, job, name, known[name], deployment.hosts[name])


def _jobs(deployment: Deployment) -> list[_Job]:
    training, hpo = deployment.training.resources, deployment.hpo
    everywhere = tuple(deployment.hosts)
    default: Keys = ("training", "resources")
    if hpo is None:
        return [_Job(default, training, everywhere)]
    return [
        _Job(
            ("hpo", name, "resources") if step.resources else default,
            step.resources or training,
            tuple(step.hosts or everywhere),
        )
        for name, step in (("step1", hpo.step1), ("step2", hpo.step2))
    ]


def _here(source: Source, job: _Job, name: str, host: Host) -> Iterator[Finding]:
    """What a job asks for that this machine does not have."""
    per_node = machines.gpus_here() if host.gpus_per_node is None else host.gpus_per_node
    gpus, cpus = job.resources.gpus, job.resources.cpus
    if gpus > per_node:
        message = f"{name} has {per_node or 'no'} GPU{'s' if per_node > 1 else ''}, not {gpus}"
        hint = "write `gpus: 0` to train on the CPU, or name other hosts"
        yield source.finding(Severity.ERROR, (*job.path, "gpus"), message, hint)
    cores = os.cpu_count() or 1
    if not gpus and cpus > cores:
        message = f"{name} has {cores} CPU cores, not {cpus}"
        yield source.finding(Severity.ERROR, (*job.path, "cpus"), message, f"write at most {cores}")


def _use(source: Source, name: str, host: Host, use: Use) -> Iterator[Finding]:
    """What a deployment says of a host, whatever its jobs ask for."""
    where: Keys = ("hosts", name)
    try:
        named(host, use.partition or host.partition, use.qos or host.qos)
    except ConfigError as error:
        yield source.finding(Severity.ERROR, (*where, "partition"), error.message, error.hint)
    if use.transfer == "pull" and host.internet and not host.internet.login:
        message, hint = f"the login nodes of {name} do not reach the outside", "write `transfer: stream`"
        yield source.finding(Severity.ERROR, (*where, "transfer"), message, hint)
    if host.architecture not in (None, platform.machine()):
        message = (
            f"{name} has {host.architecture} processors: no program built for {platform.machine()} runs there"
        )
        hint = "its environment and images must be made for it"
        yield source.finding(Severity.NOTE, where, message, hint, key=True)


def _there(source: Source, job: _Job, name: str, host: Host, use: Use) -> Iterator[Finding]:
    """Whether a queue takes the job, and what becomes of it there."""
    asked, where = job.resources, (*job.path, "gpus" if job.resources.gpus else "cpus")
    try:
        found = request(host, asked, use.partition, use.qos)
    except ConfigError as error:
        yield source.finding(Severity.ERROR, where, f"{name}: {error.message}", error.hint)
        return
    if len(found.chain) > 1:
        message = (
            f"{name}: {found.queue.name} runs jobs of at most {format_duration(found.queue.max_walltime)}: "
            f"{format_duration(asked.walltime)} become {len(found.chain)} jobs that go on from the checkpoint"
        )
        yield source.finding(Severity.NOTE, (*job.path, "walltime"), message)
    if found.queue.whole_nodes and found.gpus_per_node < (host.gpus_per_node or 0):
        yield source.finding(Severity.NOTE, where, f"{name}: {_whole(host, found)}")


def _whole(host: Host, found: Request) -> str:
    """What is billed of nodes that a job does not fill."""
    billed = found.nodes * (host.gpus_per_node or 0)
    used = found.nodes * found.gpus_per_node
    nodes = f"{found.nodes} whole node{'s' if found.nodes > 1 else ''}"
    price = f", {found.rate:,.10g} {found.unit} an hour" if found.unit else ""
    return f"{found.queue.name} bills {nodes} with {billed} GPUs for the {used} that a job uses{price}"
