"""What a job's GPUs and walltime become on a host: a queue, nodes, ranks, a chain of jobs, and their price."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from ml_suite.config.resources import Resources
from ml_suite.errors import ConfigError
from ml_suite.hosts.chain import chain, overlap_of
from ml_suite.hosts.host import Host
from ml_suite.hosts.queues import Queue, named

HOUR = timedelta(hours=1)

UNITS = {"gpu_hours": "GPU-hours", "node_hours": "node-hours", "core_hours": "core-hours"}


@dataclass(frozen=True)
class Request:
    """One job, or a chain of jobs, as the scheduler is asked for it."""

    queue: Queue
    nodes: int
    ranks_per_node: int
    """Processes of the training: one per GPU, one without."""
    gpus_per_node: int
    gpu_request: str
    """How GPUs are asked for."""
    cpus_per_rank: int
    chain: tuple[timedelta, ...]
    """Time of each job; more than one when the queue's longest is shorter than what was asked."""
    rate: float
    """Billed per hour, in the site's unit."""
    unit: str | None
    """None: nothing is billed."""

    @property
    def ranks(self) -> int:
        """Processes in all."""
        return self.nodes * self.ranks_per_node

    @property
    def cost(self) -> float:
        """Billed at most, in the site's unit: every job runs to its end."""
        return self.rate * (sum(self.chain, timedelta()) / HOUR)


def request(
    host: Host, resources: Resources, partition: str | None = None, qos: str | None = None
) -> Request:
    """Choose the queue that costs least, of those the one with the fewest jobs, then the first of the host file.

    Parameters
    ----------
    partition, qos
        The deployment's; without them those of the user's own host file.

    Raises
    ------
    ConfigError
        If no queue of the host takes such a job.
    """
    partition, qos = partition or host.partition, qos or host.qos
    there = named(host, partition, qos)
    if not there:
        raise ConfigError(
            f"{host.title} has no queue that is taken without being named", "Write `partition:` or `qos:`."
        )
    fitting, refusals = [], []
    for queue in there:
        try:
            fitting.append(_in_queue(host, resources, queue))
        except ConfigError as error:
            refusals.append(error)
    if not fitting:
        raise refusals[0]
    return min(fitting, key=lambda r: (r.cost, len(r.chain)))


def _in_queue(host: Host, resources: Resources, queue: Queue) -> Request:
    nodes, ranks, gpus, cpus = (_on_gpus if resources.gpus else _on_cpus)(host, resources, queue)
    if queue.max_nodes is not None and nodes > queue.max_nodes:
        raise ConfigError(
            f"{queue.name} takes jobs of at most {queue.max_nodes} nodes, not {nodes}",
            "ask for fewer GPUs, or name another partition",
        )
    return Request(
        queue=queue,
        nodes=nodes,
        ranks_per_node=ranks,
        gpus_per_node=gpus,
        gpu_request=host.gpu_request,
        cpus_per_rank=cpus,
        chain=tuple(chain(resources.walltime, queue.max_walltime, overlap_of(queue.max_walltime))),
        rate=0.0 if queue.free else rate(host, queue, nodes, gpus, ranks * cpus),
        unit=UNITS.get(host.billing),
    )


def _on_gpus(host: Host, resources: Resources, queue: Queue) -> tuple[int, int, int, int]:
    """Nodes, ranks and GPUs of a node, cores of a rank."""
    most = host.gpus_per_node
    if not queue.gpus or not most:
        raise ConfigError(f"{queue.name} has no GPUs", "write `gpus: 0`, or name another partition or host")
    nodes = math.ceil(resources.gpus / most)
    if resources.gpus % nodes:
        down, up = resources.gpus // most * most, nodes * most
        raise ConfigError(
            f"{resources.gpus} GPUs cannot be shared evenly by {nodes} nodes of {most}",
            f"write {down} or {up}",
        )
    gpus = resources.gpus // nodes
    return nodes, gpus, gpus, cores_of_a_gpu(host)


def _on_cpus(host: Host, resources: Resources, queue: Queue) -> tuple[int, int, int, int]:
    most = queue.cores or host.usable_cores or host.cores_per_node
    if most is not None and resources.cpus > most:
        raise ConfigError(
            f"{queue.name} gives a job without GPUs at most {most} cores, not {resources.cpus}",
            f"write at most {most}",
        )
    if queue.gpus and host.cpus_per_gpu:
        # cores are given out with their GPU only
        gpus = math.ceil(resources.cpus / host.cpus_per_gpu)
        return 1, 1, gpus, gpus * host.cpus_per_gpu
    return 1, 1, 0, resources.cpus


def cores_of_a_gpu(host: Host) -> int:
    """Cores that belong to one GPU."""
    if host.cpus_per_gpu:
        return host.cpus_per_gpu
    cores = host.usable_cores or host.cores_per_node
    return max(1, cores // host.gpus_per_node) if cores and host.gpus_per_node else 1


def rate(host: Host, queue: Queue, nodes: int, gpus: int, cores: int) -> float:
    """What an hour costs, in the site's unit.

    Parameters
    ----------
    gpus, cores
        Of each node.
    """
    most = host.gpus_per_node or 1
    if host.billing == "none":
        return 0.0
    # the larger share is billed: nobody else can use the rest
    share = 1.0 if queue.whole_nodes else max(gpus / most, cores_of_node(cores, host))
    return nodes * share * node_rate(host)


def cores_of_node(cores: int, host: Host) -> float:
    """Share of a node's GPUs that CORES stand for."""
    return min(1.0, math.ceil(cores / cores_of_a_gpu(host)) / (host.gpus_per_node or 1))


def node_rate(host: Host) -> float:
    """What a node costs in an hour."""
    if host.billed_per_gpu is not None:
        return host.billed_per_gpu * (host.gpus_per_node or 1)
    whole = {"gpu_hours": host.gpus_per_node, "core_hours": host.cores_per_node}
    return float(whole.get(host.billing) or 1)
