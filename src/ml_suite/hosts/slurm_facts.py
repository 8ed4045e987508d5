"""Queues as Slurm describes them, and what of the host file differs. Pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from ml_suite.hosts.host import Host


@dataclass(frozen=True)
class Queue:
    """One partition; GPUs and processors are the most of any of its nodes."""

    longest: timedelta | None
    """None: no limit."""
    gpus: int
    processors: int


def queues(text: str) -> dict[str, Queue]:
    """Read ``sinfo -h -o '%R|%l|%G|%c'``: partition, time limit, generic resources, processors.

    >>> queues("dev|3:00:00|gpu:mi250:8(S:0-3)|56+")["dev"]
    Queue(longest=datetime.timedelta(seconds=10800), gpus=8, processors=56)
    """
    found: dict[str, Queue] = {}
    for line in text.splitlines():
        name, limit, resources, processors = [*line.split("|"), "", "", ""][:4]
        gpus = sum(int(count) for count in re.findall(r"\bgpu(?::[^:(,\d][^:(,]*)?:(\d+)", resources))
        known = found.get(name)
        found[name] = Queue(
            longest=limit_of(limit),
            gpus=max(gpus, known.gpus if known else 0),
            processors=max(int(re.sub(r"\D", "", processors) or 0), known.processors if known else 0),
        )
    return found


def limit_of(text: str) -> timedelta | None:
    """Read a time limit of Slurm; None: there is none.

    >>> limit_of("1-12:00:00"), limit_of("30:00"), limit_of("infinite")
    (datetime.timedelta(days=1, seconds=43200), datetime.timedelta(seconds=1800), None)
    """
    days, _, clock = text.strip().rpartition("-")
    if not re.fullmatch(r"\d+(:\d+){0,2}", clock):
        return None
    parts = [int(part) for part in clock.split(":")]
    # D-H, D-H:M, D-H:M:S with days; M, M:S, H:M:S without
    hours, minutes, seconds = (
        [*parts, 0, 0][:3] if days else {1: [0, *parts, 0], 2: [0, *parts], 3: parts}[len(parts)]
    )
    return timedelta(days=int(days or 0), hours=hours, minutes=minutes, seconds=seconds)


def queues_that_differ(host: Host, found: dict[str, Queue]) -> list[str]:
    """What the host file says of its partitions and Slurm does not."""
    wrong = []
    for name, stated in host.partitions.items():
        if name not in found:
            wrong.append(f"there is no partition {name} (there are: {', '.join(sorted(found))})")
            continue
        queue = found[name]
        if queue.longest and stated.max_walltime > queue.longest:
            wrong.append(f"{name} ends jobs after {queue.longest}, the host file says {stated.max_walltime}")
        if stated.gpus and host.gpus_per_node and queue.gpus and queue.gpus != host.gpus_per_node:
            wrong.append(f"{name} has {queue.gpus} GPUs a node, the host file says {host.gpus_per_node}")
    return wrong
