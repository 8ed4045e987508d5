"""Family ``hpo``: many trials on a subset, the best retrained on everything (Yu et al. 2023)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ml_suite.config.deployment import Deployment, Hpo, Resources
from ml_suite.config.resolved import Resolved
from ml_suite.study.planning import shards
from ml_suite.suite.nodes import TRIES_ONCE, TRIES_SAFE, Task, add_task, all_complete

if TYPE_CHECKING:
    import ecflow


def variables(resources: Resources) -> dict[str, str | int]:
    """What an operator may change of a job in ecFlowUI."""
    return {"GPUS": resources.gpus, "CPUS": resources.cpus, "WALLTIME": str(resources.walltime)}


def step1_tasks(deployment: Deployment, hpo: Hpo) -> list[Task]:
    """The shards, dealt out to the hosts in turn."""
    hosts = hpo.step1.hosts or list(deployment.hosts)
    resources = hpo.step1.resources or deployment.training.resources
    count = shards(deployment, hpo)
    return [
        Task(
            f"shard_{i:0{len(str(count - 1))}d}",
            "study_shard",
            host=hosts[i % len(hosts)],
            tries=TRIES_ONCE,
            meters=("trials",),
            labels=("best",),
            variables={"SHARD": i, **variables(resources)},
            walltime=resources.walltime,
        )
        for i in range(count)
    ]


def step2_tasks(deployment: Deployment, hpo: Hpo) -> list[Task]:
    """One task a candidate, named by its rank in step 1."""
    hosts = hpo.step2.hosts or list(deployment.hosts)
    resources = hpo.step2.resources or deployment.training.resources
    count = hpo.keep_count
    return [
        Task(
            f"candidate_{rank:0{len(str(count))}d}",
            "study_retrain",
            host=hosts[(rank - 1) % len(hosts)],
            tries=TRIES_ONCE,
            meters=("epochs",),
            labels=("value",),
            variables={"RANK": rank, **variables(resources)},
            walltime=resources.walltime,
        )
        for rank in range(1, count + 1)
    ]


def add_hpo(main: ecflow.Family, resolved: Resolved, hpo: Hpo) -> None:
    """Add the family; what is neither a shard nor a candidate runs on the first host."""
    deployment = resolved.deployment
    family = main.add_family("hpo")
    family.add_trigger("datasets == complete")
    first = next(iter(deployment.hosts))

    def on_first(parent: ecflow.Family, task: Task) -> None:
        add_task(parent, replace(task, host=first), resolved)

    on_first(family, Task("plan", "study_plan"))
    step1 = family.add_family("step1")
    step1.add_trigger("plan == complete")
    trained = step1_tasks(deployment, hpo)
    for shard in trained:
        add_task(step1, shard, resolved)
    deliver = Task(
        "deliver",
        "deliver",
        trigger=all_complete(shard.name for shard in trained),
        tries=TRIES_SAFE,
        labels=("delivered",),
        limit="deliver",
    )
    on_first(step1, deliver)
    # the shortlist needs the trials, not their delivery: MLflow may be down
    shortlist = Task(
        "shortlist",
        "study_shortlist",
        trigger=all_complete(f"step1/{s.name}" for s in trained),
        labels=("info",),
    )
    on_first(family, shortlist)
    step2 = family.add_family("step2")
    step2.add_trigger("shortlist == complete")
    candidates = step2_tasks(deployment, hpo)
    for candidate in candidates:
        add_task(step2, candidate, resolved)
    on_first(
        step2,
        Task(
            "deliver",
            "deliver",
            # the winner is part of what is delivered; without one the metrics still are
            trigger="../step1/deliver == complete and (../select == complete or ../select == aborted)",
            tries=TRIES_SAFE,
            labels=("delivered",),
            limit="deliver",
        ),
    )
    select = Task(
        "select",
        "study_select",
        trigger=all_complete(f"step2/{c.name}" for c in candidates),
        labels=("winner",),
    )
    on_first(family, select)


def add_training(main: ecflow.Family, resolved: Resolved) -> None:
    """Add the single training of a deployment without ``hpo``, and its courier."""
    deployment = resolved.deployment
    resources = deployment.training.resources
    first = next(iter(deployment.hosts))
    family = main.add_family("training")
    family.add_trigger("datasets == complete")
    train = Task(
        "train",
        "train",
        host=first,
        tries=TRIES_ONCE,
        meters=("epochs",),
        labels=("value",),
        variables=variables(resources),
        walltime=resources.walltime,
    )
    add_task(family, train, resolved)
    deliver = Task(
        "deliver",
        "deliver",
        host=first,
        trigger="train == complete",
        tries=TRIES_SAFE,
        labels=("delivered",),
        limit="deliver",
    )
    add_task(family, deliver, resolved)
