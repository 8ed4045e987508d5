"""The queues of a host: each partition by itself and with each of its QOS, and which of them take a job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ml_suite.config.wording import nearest
from ml_suite.errors import ConfigError
from ml_suite.hosts.facts import Limits, Partition
from ml_suite.hosts.host import Host


@dataclass(frozen=True)
class Queue:
    """A partition with a QOS, or without."""

    partition: str
    qos: str | None
    max_walltime: timedelta
    max_nodes: int | None
    cores: int | None
    """Most cores of one job; None: those of its nodes."""
    gpus: bool
    whole_nodes: bool
    free: bool
    by_name: bool

    @property
    def name(self) -> str:
        """As a person reads it."""
        return f"{self.partition} ({self.qos})" if self.qos else self.partition


def queues(host: Host) -> list[Queue]:
    """Every queue in the order of the host file."""
    found = []
    for name, partition in host.partitions.items():
        if not partition.needs_qos:
            found.append(_queue(host, name, partition, None, partition, partition.max_walltime))
        for qos, limits in partition.qos.items():
            walltime = limits.max_walltime or partition.max_walltime
            found.append(_queue(host, name, partition, qos, limits, walltime))
    return found


def _queue(
    host: Host, name: str, partition: Partition, qos: str | None, limits: Limits, walltime: timedelta
) -> Queue:
    whole = host.whole_nodes if partition.whole_nodes is None else partition.whole_nodes
    return Queue(
        partition=name,
        qos=qos,
        max_walltime=walltime,
        max_nodes=limits.max_nodes or partition.max_nodes,
        cores=partition.cores,
        gpus=partition.gpus,
        whole_nodes=whole,
        free=partition.free,
        by_name=limits.by_name or partition.by_name,
    )


def named(host: Host, partition: str | None, qos: str | None) -> list[Queue]:
    """Queues that a deployment may mean: those it names, or all that are taken without being named.

    A QOS that the host file does not know is taken with the limits of its partition, because sites give
    projects a QOS of their own.

    Raises
    ------
    ConfigError
        If the host file does not know the partition.
    """
    if partition is not None and partition not in host.partitions:
        near = nearest(partition, list(host.partitions))
        known = ", ".join(host.partitions) or "none"
        hint = (
            f"did you mean '{near}'?" if near else f"its host file knows {known}; more can be added to yours"
        )
        raise ConfigError(f"there is no partition '{partition}' on {host.title}", hint)
    there = [queue for queue in queues(host) if partition in (None, queue.partition)]
    if qos is None:
        unnamed = [queue for queue in there if not queue.by_name]
        return unnamed or (there if partition else [])
    known_qos = [queue for queue in there if queue.qos == qos]
    own = [partition] if partition else list(host.partitions)[:1]
    return known_qos or [_beyond(host, name, qos) for name in own]


def _beyond(host: Host, name: str, qos: str) -> Queue:
    """A QOS that the host file does not know."""
    partition = host.partitions[name]
    return _queue(host, name, partition, qos, partition, partition.max_walltime)
