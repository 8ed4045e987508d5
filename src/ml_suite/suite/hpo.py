"""Family ``hpo``: many trials on a subset, the best retrained on everything (Yu et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.config.hpo import Hpo
from ml_suite.config.resources import Resources
from ml_suite.config.values import node_name
from ml_suite.layout import WorkTree
from ml_suite.quantities import format_duration
from ml_suite.study import piloting
from ml_suite.study.planning import candidates, rounds, shards
from ml_suite.suite.datasets import arrived, arrived_somewhere
from ml_suite.suite.nodes import TRIES_ONCE, TRIES_SAFE, Scope, Task, add_task, all_complete

if TYPE_CHECKING:
    import ecflow


def variables(resources: Resources) -> dict[str, str | int]:
    """What an operator may change of a job in ecFlowUI."""
    return {"GPUS": resources.gpus, "CPUS": resources.cpus, "WALLTIME": format_duration(resources.walltime)}


def step1_tasks(scope: Scope, hpo: Hpo) -> list[Task]:
    """The shards."""
    deployment = scope.resolved.deployment
    resources = hpo.step1.resources or deployment.training.resources
    count = shards(deployment, hpo)
    tasks = [
        Task(
            f"shard_{i:0{len(str(count - 1))}d}",
            "study_shard",
            tries=TRIES_ONCE,
            meters=("trials",),
            labels=("best",),
            variables={"SHARD": i, **variables(resources)},
            walltime=resources.walltime,
            asks="shard",
        )
        for i in range(count)
    ]
    return spread(tasks, hpo.step1.hosts or list(deployment.hosts), scope)


def pilot_task(scope: Scope, hpo: Hpo) -> Task:
    """The one job of the pilot, which asks for what a shard asks for."""
    deployment = scope.resolved.deployment
    resources = hpo.step1.resources or deployment.training.resources
    task = Task(
        "train",
        "study_pilot",
        tries=TRIES_ONCE,
        meters=("trials",),
        labels=("best",),
        variables=variables(resources),
        walltime=resources.walltime,
        asks="shard",
    )
    (placed,) = spread([task], hpo.step1.hosts or list(deployment.hosts), scope)
    return placed


def step2_tasks(scope: Scope, hpo: Hpo) -> list[Task]:
    """One task a candidate, named by its rank; controls come last."""
    deployment = scope.resolved.deployment
    resources = hpo.step2.resources or deployment.training.resources
    count = candidates(hpo)
    tasks = [
        Task(
            f"candidate_{rank:0{len(str(count))}d}",
            "study_retrain",
            tries=TRIES_ONCE,
            meters=("epochs",),
            labels=("value",),
            variables={"RANK": rank, **variables(resources)},
            walltime=resources.walltime,
            asks="candidate",
        )
        for rank in range(1, count + 1)
    ]
    return spread(tasks, hpo.step2.hosts or list(deployment.hosts), scope)


def finalist_tasks(scope: Scope, hpo: Hpo) -> list[Task]:
    """One task for each training of a finalist with another seed; who they are is known once step 2 is complete."""
    deployment = scope.resolved.deployment
    resources = hpo.step2.resources or deployment.training.resources
    count = min(hpo.step2.finalists, candidates(hpo) - hpo.step2.controls)
    tasks = [
        Task(
            f"finalist_{finalist:0{len(str(count))}d}_{replicate}",
            "study_final",
            tries=TRIES_ONCE,
            meters=("epochs",),
            labels=("value",),
            variables={"FINALIST": finalist, "REPLICATE": replicate, **variables(resources)},
            walltime=resources.walltime,
            asks="candidate",
        )
        for finalist in range(1, count + 1)
        for replicate in range(1, hpo.step2.replicates)
    ]
    spread_out = spread(tasks, hpo.step2.hosts or list(deployment.hosts), scope)
    named = "choose == complete"
    return [
        replace(task, trigger=f"{named} and {task.trigger}" if task.trigger else named) for task in spread_out
    ]


def spread(tasks: Sequence[Task], hosts: Sequence[str], scope: Scope) -> list[Task]:
    """Give tasks to hosts: of several other machines the submit command chooses, else they are dealt out in turn."""
    deployment = scope.resolved.deployment
    if len(hosts) > 1 and all(scope.resolved.hosts[host].remote for host in hosts):
        trigger = arrived_somewhere(deployment, hosts)
        return [replace(task, places=tuple(hosts), trigger=trigger) for task in tasks]
    chosen = [hosts[i % len(hosts)] for i in range(len(tasks))]
    return [
        replace(task, host=host, trigger=arrived(deployment, host))
        for task, host in zip(tasks, chosen, strict=True)
    ]


def collect_tasks(
    tasks: Sequence[Task], scope: Scope, step: int, option: str = "", numbers: Sequence[str] = ()
) -> list[Task]:
    """What brings home the results of TASKS: one task for each other machine, or one for all that may have run them.

    Parameters
    ----------
    option
        How the task is told which ones they are.
    numbers
        Variables that tell the tasks apart.
    """
    groups: dict[tuple[str, ...], list[Task]] = {}
    for task in tasks:
        where = task.places or ((task.host,) if task.host in scope.resolved.remote else ())
        if where:
            groups.setdefault(where, []).append(task)
    found = []
    for hosts, theirs in groups.items():
        what = f"--step {step}"
        if numbers:
            told = (":".join(str(task.variables[name]) for name in numbers) for task in theirs)
            what += f" {option} {','.join(told)}"
        elif option:
            what += f" {option}"
        alone = len(hosts) == 1
        found.append(
            Task(
                f"collect_{node_name(hosts[0])}" if alone else "collect",
                "collect",
                host=scope.resolved.ops,
                target=hosts[0] if alone else None,
                trigger=all_complete(task.name for task in theirs),
                tries=TRIES_SAFE,
                labels=("collected",),
                variables={"WHAT": what} if alone else {"WHAT": what, "TARGET": ",".join(hosts)},
                limit="collect",
            )
        )
    return found


def add_hpo(main: ecflow.Family, scope: Scope, hpo: Hpo) -> None:
    """Add the family; what is neither a shard nor a candidate runs beside the server."""
    deployment, ops = scope.resolved.deployment, scope.resolved.ops
    tree = WorkTree.of(scope.resolved, ops)
    family = main.add_family("hpo")
    family.add_trigger(arrived(deployment, ops))
    add_task(family, Task("plan", "study_plan", host=ops), scope)

    if piloting.wanted(hpo):
        _add_pilot(family, scope, hpo)
    step1 = family.add_family("step1")
    step1.add_trigger("pilot == complete" if piloting.wanted(hpo) else "plan == complete")
    trained = (
        _add_trials(step1, scope, hpo) if isinstance(hpo.sampling, str) else _add_rounds(step1, scope, hpo)
    )
    add_task(step1, _courier(ops, all_complete(trained)), scope)
    # the shortlist needs the trials, not their delivery: MLflow may be down
    shortlist = Task(
        "shortlist",
        "study_shortlist",
        host=ops,
        trigger=all_complete(f"step1/{name}" for name in trained),
        labels=("info",),
    )
    add_task(family, shortlist, scope)

    step2 = family.add_family("step2")
    step2.add_trigger("shortlist == complete")
    last = step2_tasks(scope, hpo)
    last += collect_tasks(last, scope, 2, "--ranks", ["RANK"])
    for task in last:
        add_task(step2, replace(task, inputs=(tree.plan, tree.shortlist) if task.asks else ()), scope)
    # the winner is part of what is delivered; without one the metrics still are
    after = "../step1/deliver == complete and (../select == complete or ../select == aborted)"
    add_task(step2, _courier(ops, after), scope)
    judged = all_complete(f"step2/{task.name}" for task in last)
    if hpo.step2.finalists:
        _add_finalists(family, scope, hpo, judged)
        judged = "finalists == complete"
    select = Task(
        "select", "study_select", host=ops, trigger=judged, labels=("winner", "certificate"), own=True
    )
    add_task(family, select, scope)


def _add_pilot(hpo_family: ecflow.Family, scope: Scope, hpo: Hpo) -> None:
    """Add what measures whether the search can be trusted, and decides what is `auto`."""
    ops = scope.resolved.ops
    family = hpo_family.add_family("pilot")
    family.add_trigger("plan == complete")
    train = pilot_task(scope, hpo)
    tasks = [train, *collect_tasks([train], scope, 1, "--pilot")]
    for task in tasks:
        inputs = (WorkTree.of(scope.resolved, ops).pilot_plan,) if task.asks else ()
        add_task(family, replace(task, inputs=inputs), scope)
    judge = Task(
        "judge",
        "study_judge",
        host=ops,
        trigger=all_complete(task.name for task in tasks),
        labels=("info", "certificate"),
        own=True,
    )
    add_task(family, judge, scope)


def _add_trials(step1: ecflow.Family, scope: Scope, hpo: Hpo) -> list[str]:
    """Add all shards; returns the names of what has to be complete."""
    tree = WorkTree.of(scope.resolved, scope.resolved.ops)
    tasks = step1_tasks(scope, hpo)
    tasks += collect_tasks(tasks, scope, 1, "--shards", ["SHARD"])
    for task in tasks:
        add_task(step1, replace(task, inputs=(tree.plan,) if task.asks else ()), scope)
    return [task.name for task in tasks]


def _add_rounds(step1: ecflow.Family, scope: Scope, hpo: Hpo) -> list[str]:
    """Add a family for each round of an adaptive sampler; returns the names of what has to be complete."""
    ops = scope.resolved.ops
    tree = WorkTree.of(scope.resolved, ops)
    names = [f"round_{number}" for number in range(1, rounds(hpo) + 1)]
    draws: list[Path] = []
    for number, name in enumerate(names):
        family = step1.add_family(name)
        if number:
            family.add_trigger(f"{names[number - 1]} == complete")
        ask = Task("ask", "study_ask", host=ops, labels=("info",), variables={"ROUND": number}, own=True)
        add_task(family, ask, scope)
        draws.append(tree.draws(number))
        tasks = [_of_round(task, number) for task in step1_tasks(scope, hpo)]
        tasks += collect_tasks(tasks, scope, 1, f"--round {number} --shards", ["SHARD"])
        for task in tasks:
            add_task(family, replace(task, inputs=(tree.plan, *draws) if task.asks else ()), scope)
    return names


def _of_round(task: Task, number: int) -> Task:
    trigger = f"ask == complete and {task.trigger}" if task.trigger else "ask == complete"
    return replace(task, trigger=trigger, variables={**task.variables, "ROUND": number})


def _add_finalists(hpo_family: ecflow.Family, scope: Scope, hpo: Hpo, trigger: str) -> None:
    """Add the trainings of the best candidates with other seeds."""
    ops = scope.resolved.ops
    tree = WorkTree.of(scope.resolved, ops)
    family = hpo_family.add_family("finalists")
    family.add_trigger(trigger)
    add_task(family, Task("choose", "study_finalists", host=ops, labels=("info",)), scope)
    tasks = finalist_tasks(scope, hpo)
    tasks += collect_tasks(tasks, scope, 2, "--finals", ["FINALIST", "REPLICATE"])
    for task in tasks:
        add_task(family, replace(task, inputs=(tree.plan, tree.finalists) if task.asks else ()), scope)


def add_training(main: ecflow.Family, scope: Scope) -> str:
    """Add the single training of a deployment without ``hpo``, and its courier.

    Returns
    -------
    Trigger of what needs its weights.
    """
    deployment = scope.resolved.deployment
    resources = deployment.training.resources
    family = main.add_family("training")
    host = next(iter(deployment.hosts))
    train = Task(
        "train",
        "train",
        host=host,
        trigger=arrived(deployment, host),
        tries=TRIES_ONCE,
        meters=("epochs",),
        labels=("value",),
        variables=variables(resources),
        walltime=resources.walltime,
        asks="train",
    )
    last = [train, *collect_tasks([train], scope, 0)]
    for task in last:
        add_task(family, task, scope)
    add_task(family, _courier(scope.resolved.ops, all_complete(task.name for task in last)), scope)
    return all_complete(f"training/{task.name}" for task in last)


def _courier(ops: str, trigger: str) -> Task:
    return Task(
        "deliver",
        "deliver",
        host=ops,
        trigger=trigger,
        tries=TRIES_SAFE,
        labels=("delivered",),
        limit="deliver",
    )
