"""Family ``datasets``: from the recipe to a verified copy on every host that trains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ml_suite.config.deployment import Deployment
from ml_suite.config.values import node_name
from ml_suite.suite.nodes import TRIES_SAFE, Scope, Task, add_task, all_complete
from ml_suite.watch import SUITE as WATCH

if TYPE_CHECKING:
    import ecflow


def tasks(parts: int, hosts: Iterable[str], suite: str) -> list[Task]:
    """Tasks of one dataset, in the order of a person's reading.

    Parameters
    ----------
    suite
        Name of the suite's node.
    """
    loads = [f"load_{i}" for i in range(1, parts + 1)]
    return [
        Task("init", "dataset_init", labels=("info",)),
        *(
            Task(
                name,
                "dataset_load",
                trigger="init == complete",
                tries=TRIES_SAFE,
                meters=("groups",),
                labels=("info",),
                variables={"PART": i, "PARTS": parts},
            )
            for i, name in enumerate(loads, start=1)
        ),
        Task("check", "dataset_check", trigger=all_complete(loads), labels=("info",)),
        Task("finalise", "dataset_finalise", trigger="check == complete", labels=("info",)),
        Task(
            "register",
            "dataset_register",
            trigger="finalise == complete",
            tries=TRIES_SAFE,
            labels=("info",),
        ),
        Task(
            "upload",
            "dataset_upload",
            trigger="register == complete",
            tries=TRIES_SAFE,
            meters=("percent",),
            labels=("moved",),
        ),
        *(
            Task(
                f"transfer_{node_name(host)}",
                "dataset_transfer",
                target=host,
                trigger=f"upload == complete and /{suite}/setup/{node_name(host)} == complete",
                tries=TRIES_SAFE,
                meters=("percent",),
                labels=("moved",),
            )
            for host in hosts
        ),
    ]


def arrived(deployment: Deployment, host: str) -> str:
    """Trigger of what needs the dataset on HOST."""
    family = f"/{deployment.node}/main/datasets/{node_name(deployment.dataset_name)}"
    # a machine that cannot be reached holds up nothing but its own trainings
    there = host in deployment.hosts
    return f"{family}/{f'transfer_{node_name(host)}' if there else 'upload'} == complete"


def arrived_somewhere(deployment: Deployment, hosts: Sequence[str]) -> str:
    """Trigger of what may run on any of these machines: one has the dataset and is open."""
    return " or ".join(
        f"({arrived(deployment, host)} and /{WATCH}/{node_name(host)}:closed == clear)" for host in hosts
    )


def add_datasets(main: ecflow.Family, scope: Scope) -> None:
    """Add the family; everything runs beside the server, the transfers reach out to the hosts."""
    deployment = scope.resolved.deployment
    family = main.add_family("datasets").add_family(node_name(deployment.dataset_name))
    for task in tasks(deployment.dataset.parts, deployment.hosts, deployment.node):
        host = scope.reaching(task.target) if task.target else scope.resolved.builder
        add_task(family, replace(task, host=host), scope)
