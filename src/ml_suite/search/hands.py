"""What trains the jobs of a stage: workers of trainer mlp, or programs of trainer command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

from ml_suite.search import claim, environment
from ml_suite.search.claim import Shard
from ml_suite.search.crew import Hand
from ml_suite.search.folder import Folder
from ml_suite.search.pool import Bench, Orders, Worker
from ml_suite.search.programs import Program
from ml_suite.study import seeds
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.stage import Stage, Task
from ml_suite.trainers.mlp.protocol import Setup


def maker(
    plan: ArrayPlan,
    folder: Path,
    stage: Stage,
    shard: Shard,
    stop: Event,
    chosen: Path | None,
    files: Path | None,
    bench: Bench | None = None,
) -> Callable[[int], Hand]:
    """Return what makes the hand of a thread."""
    tree = Folder(folder)
    where = chosen or environment.usual()
    members = {
        name: folder / part.path
        for name, key in (("training", stage.members), ("validation", "validation"), ("test", "test"))
        if (part := plan.members.get(key)) is not None and part.path is not None
    }
    own = folder / stage.normalisation if stage.normalisation else tree.normalisation
    normalisation = None if plan.normalisation == "none" else own
    final = stage.step == 2

    def seed(task: Task) -> int:
        return seeds.of_training(plan.training_seed, task.trial, task.replicate)

    def weights(task: Task) -> Path:
        return tree.weights(task.trial, task.replicate)

    def output(task: Task) -> Path:
        return tree.trial(stage.name, task.trial, task.replicate)

    if plan.trainer == "command":
        command = [word.replace("{files}", str(files)) if files else word for word in plan.command or []]
        program = Program(
            plan=plan.model_copy(update={"command": command}),
            stage=stage,
            members=members,
            normalisation=normalisation,
            samples=plan.members[stage.members].count,
            environment=where,
            output=output,
            seed=seed,
            stop=stop,
        )
        return lambda slot: program
    setup = Setup(
        arrays=plan.arrays,
        members=members if final else {k: v for k, v in members.items() if k != "test"},
        normalisation=normalisation,
        precision=stage.precision,
        settings=plan.settings,
    )
    states = folder / stage.name / "states" / claim.name(shard)
    orders = Orders(plan, stage, setup, seed, weights if final else None, states)
    python = environment.python_of(where)
    log = f"{stage.name.replace('/', '-')}-{claim.name(shard)}"
    return lambda slot: Worker(orders, python, slot, tree.logs / f"{log}-{slot}.log", stop, bench)
