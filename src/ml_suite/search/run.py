"""A whole study on this machine: plan, step 1, shortlist, step 2, winner, and what comes of it.

It may be killed anywhere and run again: everything that is recorded is taken up. Other processes, on other hosts too,
may run shards of step 1 in the same folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Event
from typing import Literal

from ml_suite import atomic
from ml_suite.errors import StudyError
from ml_suite.search import decide, environment, finish, freeze, rounds
from ml_suite.search.claim import Shard
from ml_suite.search.folder import Folder
from ml_suite.search.freeze import Frozen
from ml_suite.search.pool import Bench
from ml_suite.search.stages import Report, run_stage
from ml_suite.study import record, trials, two_step
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.certificate import Parts
from ml_suite.study.contract import Selection, Shortlist, TrialResult, TrialState
from ml_suite.study.piloting import Outcome
from ml_suite.study.stage import Stage, Task

Run = Callable[..., list[TrialResult]]
"""`run_stage` with all that is the same for the stages of a study."""


@dataclass(frozen=True)
class Listener:
    """Who is told how it goes."""

    say: Callable[[str], None] = lambda text: None
    """Told what begins and what a person has to know."""
    progress: Report = lambda progress: None


@dataclass(frozen=True)
class Options:
    """How a study is run on this machine."""

    root: Path | None = None
    """Folder of the study; default: below ML_SUITE_HOME."""
    shard: Shard | None = None
    """Only this shard of step 1."""
    workers: int | None = None
    listener: Listener = field(default_factory=Listener)


def run(file: Path, stop: Event, options: Options | None = None) -> Selection | None:
    """Run a study to its end, or one shard of its step 1.

    Returns
    -------
    Selection or None
        The winner; None after a shard.

    Raises
    ------
    FileError
        With what is wrong in the study file.
    Stopped
        If told to stop.
    StudyError
        If the study has no result.
    """
    options = options or Options()
    return run_frozen(freeze.freeze(file, options.root, options.listener.say), stop, options)


def run_frozen(frozen: Frozen, stop: Event, options: Options) -> Selection | None:
    """Run a study that is frozen already; see `run`."""
    try:
        with Bench() as bench:
            return _run(frozen, stop, options, bench)
    except OSError as error:
        raise StudyError(
            f"{error.filename or frozen.folder.root}: {(error.strerror or str(error)).lower()}",
            "Run it again when that is cured: it goes on from what is recorded.",
        ) from error


def _run(frozen: Frozen, stop: Event, options: Options, bench: Bench) -> Selection | None:
    say = options.listener.say
    work = partial(
        run_stage,
        workers=options.workers or frozen.file.training.workers or environment.workers(),
        stop=stop,
        progress=options.listener.progress,
        environment=frozen.environment,
        files=frozen.beside,
        bench=bench,
    )
    shared = options.shard is not None and options.shard[1] > 1
    outcome: Outcome | None = None
    if shared:
        _require_shardable(frozen)
    else:
        frozen, outcome = decide.decided(frozen, work, say)
    pilot: Parts = outcome.parts if outcome else {}
    plan, folder = freeze.settle(frozen), frozen.folder
    if pilot:
        finish.certificate(frozen, plan, pilot=pilot).save(folder.certificate)
    say(f"study {plan.study}: {freeze.described(plan)}")
    first = _step1(frozen, plan, work, options.shard or (0, 1))
    if shared:
        return None
    _tell_left_out(plan, folder, say)
    frozen = decide.again(frozen, outcome, first, say)
    plan = freeze.settle(frozen)
    chosen = _shortlist(plan, folder, first)
    second = _step2(frozen, plan, chosen, work)
    return finish.conclude(frozen, plan, chosen, [*first, *second], pilot, say)


def _require_shardable(frozen: Frozen) -> None:
    if frozen.plan.sampling.startswith(trials.OPTUNA):
        raise StudyError(
            f"step 1 cannot be shared: {frozen.plan.sampling} draws each round from the results of the last",
            "Run it without --shard, or with sampling: sobol or random.",
        )
    if not frozen.decided:
        raise StudyError(
            "step 1 cannot be shared before the pilot has decided what is `auto`",
            "Run it once without --shard, stop it when step 1 begins, and write what was chosen into the file.",
        )


def stage1(frozen: Frozen, plan: ArrayPlan) -> Stage:
    """Return how step 1 is trained."""
    limit = frozen.file.hpo.step1.trial_walltime
    return replace(
        _stage(plan, 1, "subset"), rungs=plan.rungs, walltime=limit.total_seconds() if limit else None
    )


def stage2(plan: ArrayPlan) -> Stage:
    """Return how step 2 is trained."""
    return replace(_stage(plan, 2, "training"), rungs=plan.choice.rungs)


def _stage(plan: ArrayPlan, step: Literal[1, 2], members: str) -> Stage:
    name = f"step{step}"
    return Stage(
        name=name,
        step=step,
        members=members,
        epochs=plan.epochs[name],
        patience=plan.patience.get(name),
        patience_epochs=plan.patience_epochs.get(name),
        precision=plan.precision[name],
    )


def _step1(frozen: Frozen, plan: ArrayPlan, work: Run, shard: Shard) -> list[TrialResult]:
    stage = stage1(frozen, plan)
    if plan.sampling.startswith(trials.OPTUNA):
        return rounds.run(plan, frozen.folder, stage, work)
    tasks = [Task(trial, trials.parameters(plan, trial)) for trial in range(plan.trials)]
    return work(plan, frozen.folder.root, stage, tasks, shard=shard)


def _shortlist(plan: ArrayPlan, folder: Folder, results: Sequence[TrialResult]) -> Shortlist:
    atomic.write(folder.table(1), record.table(results))
    chosen = two_step.shortlist(plan, results)
    chosen.save(folder.shortlist)
    return chosen


def _step2(frozen: Frozen, plan: ArrayPlan, chosen: Shortlist, work: Run) -> list[TrialResult]:
    """Train candidates, then finalists again with other seeds."""
    stage, root = stage2(plan), frozen.folder.root
    tasks = [Task(c.trial, c.params, alone=c.role == "control") for c in chosen.candidates]
    results = work(plan, root, stage, tasks)
    params = {c.trial: c.params for c in chosen.candidates}
    again = [
        Task(trial, params[trial], replicate, alone=True)
        for trial in two_step.finalists(plan, chosen, results)
        for replicate in range(1, plan.choice.replicates)
    ]
    if not again:
        return results
    # a candidate that failed just now is not tried again for this
    lost = [r for r in results if r.state is TrialState.FAILED]
    kept = [task for task in tasks if task.trial not in {r.trial for r in lost}]
    return [*lost, *work(plan, root, stage, [*kept, *again])]


def _tell_left_out(plan: ArrayPlan, folder: Folder, say: Callable[[str], None]) -> None:
    paths = [path for stage in ("step1", "step2") for path in folder.records(stage)]
    if left_out := record.gather(paths, plan.study).left_out:
        say(f"left out of the record, as results of another study: {left_out}")
