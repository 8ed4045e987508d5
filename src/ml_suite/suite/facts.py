"""What the submit command must know of a suite's hosts, put together when the suite is deployed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_suite.config.deployment import Use
from ml_suite.config.resolved import Resolved
from ml_suite.config.resources import Resources
from ml_suite.errors import ConfigError
from ml_suite.hosts.directives import payer
from ml_suite.hosts.host import Host
from ml_suite.hosts.jobhost import Ask, JobHost, JobHosts
from ml_suite.hosts.request import request
from ml_suite.quantities import format_duration

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Here:
    """Places beside the server."""

    home: Path
    """ML_SUITE_HOME."""
    library: Path
    """Folder that holds the package for jobs."""
    server: str
    """Name by which jobs call the ecFlow server, unless their host says another."""


def facts(resolved: Resolved, machines: Mapping[str, Host], files: Mapping[str, str], here: Here) -> JobHosts:
    """Put the facts of all other machines of a suite together.

    Parameters
    ----------
    machines
        Host files of the deployment's hosts.
    files
        Contents, by their path below the deployed folder, that jobs read on their host.

    Raises
    ------
    ConfigError
        If no queue of a host takes a job, an account is missing, or jobs would look for the server on their own node.
    """
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(f"{name} {len(files[name])}\n{files[name]}".encode())
    folder = Path("suites", resolved.deployment.suite, "files", digest.hexdigest()[:16])
    return JobHosts(
        home=here.home,
        suite=resolved.deployment.suite,
        work=resolved.hosts[resolved.ops].work,
        hosts={
            name: _host(resolved, name, machines[name], here, folder, tuple(sorted(files)))
            for name in resolved.remote
        },
    )


def _host(
    resolved: Resolved, name: str, machine: Host, here: Here, folder: Path, files: tuple[str, ...]
) -> JobHost:
    paths, use = resolved.hosts[name], resolved.deployment.hosts[name]
    server, _, port = use.server.rpartition(":") if use.server else (here.server, "", "")
    if paths.spool is None and server in LOOPBACK:
        raise ConfigError(
            f"jobs on {name} would look for the ecFlow server on their own node",
            f"Write `server: NAME:PORT` under hosts.{name}: where they reach it.",
        )
    return JobHost(
        work=paths.work,
        python=paths.environment / "bin" / "python",
        library=paths.work / "lib" / here.library.name,
        library_here=here.library,
        files=paths.work / folder,
        files_here=resolved.files,
        files_names=files,
        spool=paths.spool,
        server=server,
        port=int(port) if port else None,
        gpu_request=machine.gpu_request,
        limit=use.limit,
        budget=use.budget,
        needs=(str(Path("mirror", name, "datasets", f"{resolved.deployment.dataset_name}.arrived")),),
        resources={kind: _ask(machine, use, resources) for kind, resources in _jobs(resolved, name)},
    )


def _jobs(resolved: Resolved, host: str) -> Iterator[tuple[str, Resources]]:
    """Kinds of jobs that a host may be given."""
    training, hpo = resolved.deployment.training, resolved.deployment.hpo
    if hpo is None:
        yield "train", training.resources
        return
    for kind, step in (("shard", hpo.step1), ("candidate", hpo.step2)):
        if step.hosts is None or host in step.hosts:
            yield kind, step.resources or training.resources


def _ask(machine: Host, use: Use, resources: Resources) -> Ask:
    asked = request(machine, resources, use.partition, use.qos)
    return Ask(
        nodes=asked.nodes,
        tasks_per_node=asked.ranks_per_node,
        gpus_per_node=asked.gpus_per_node,
        cpus_per_task=asked.cpus_per_rank,
        walltime=format_duration(resources.walltime),
        longest=format_duration(asked.queue.max_walltime),
        partition=asked.queue.partition,
        qos=asked.queue.qos,
        account=payer(machine, use.account),
        exclusive=asked.queue.whole_nodes,
    )
