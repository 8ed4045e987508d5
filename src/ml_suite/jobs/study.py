"""Tasks of the two-step search: plan, shard, shortlist, retrain, select."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from datetime import UTC, datetime
from threading import Event

from ml_suite import atomic
from ml_suite.errors import StudyError
from ml_suite.jobs import callback, outbox, parcels, planning, training
from ml_suite.jobs.context import Job
from ml_suite.study import record, trials, two_step
from ml_suite.study.contract import Selection, Shortlist, StudyPlan, TrialResult, TrialState
from ml_suite.trainers import process, runner
from ml_suite.trainers.outcome import ABSENT, LATE

SETTLED = runner.FINAL | {TrialState.FAILED}
"""States after which a shard does not run a trial again: the same failure would come back."""

_HOPELESS = 2
"""Trials that may fail before any trains until a shard gives up."""


def run(job: Job, arguments: list[str]) -> None:
    """Do what the first argument says."""
    parser = argparse.ArgumentParser(prog="study")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("plan")
    verbs.add_parser("shard").add_argument("--shard", type=int, required=True)
    verbs.add_parser("shortlist")
    verbs.add_parser("retrain").add_argument("--rank", type=int, required=True)
    verbs.add_parser("select")
    given = parser.parse_args(arguments)
    with process.stop_requests() as stop:
        match given.verb:
            case "plan":
                make_plan(job)
            case "shard":
                run_shard(job, given.shard, stop)
            case "shortlist":
                make_shortlist(job)
            case "retrain":
                run_candidate(job, given.rank, stop)
            case "select":
                make_selection(job)


def make_plan(job: Job) -> StudyPlan:
    """Freeze the study.

    Raises
    ------
    StudyError
        If it cannot be, or finished trials belong to another study.
    """
    plan = planning.settle(job, planning.search(job))
    outbox.leave(job.tree.outbox, parcels.of_study(job, plan, _begun(job)))
    say(
        f"study {plan.study}: {plan.trials} trials of {plan.epochs['step1']} epochs on {plan.samples['subset']} of "
        f"{plan.samples['training']} samples, the best {plan.keep} again on all"
    )
    return plan


def run_shard(job: Job, shard: int, stop: Event) -> None:
    """Run the trials of one job of step 1 that have no result yet, one after the other.

    Raises
    ------
    StudyError
        If the job was told to stop, or the trials fail for a reason that has nothing to do with their hyperparameters.
    """
    plan, tree = planning.current(job), job.tree
    mine = trials.of_shard(plan, shard)
    results = [r for r in planning.results(job, 1, plan.study) if r.trial in mine and r.state in SETTLED]
    # where nothing has trained yet, the failures say nothing about the trials: they run again
    done = {r.trial: r for r in results} if not all(map(_never_trained, results)) else {}
    _tell(plan, done.values(), len(mine))
    # what failed before comes last, so that a job that gave up tries others when it runs again
    for trial in sorted(
        set(mine) - set(done), key=lambda t: ((tree.trial(1, t) / "result.json").exists(), t)
    ):
        result = training.train(job, plan, 1, trial, stop)
        print(f"trial {trial}: {result.state} {_value(result)} {result.reason}", flush=True)
        training.keep(job, plan, result, f"{shard:03d}")
        training.require_not_stopped(result, tree.trial(1, trial))
        done[trial] = result
        _tell(plan, done.values(), len(mine))
        hopeless = result.reason.startswith(ABSENT) or len(done) >= _HOPELESS
        if hopeless and all(map(_never_trained, done.values())):
            raise StudyError(
                f"no trial of this job trains; trial {trial}: {result.reason}",
                f"Read {tree.trial(1, trial)}/log.txt; once cured, run the task again.",
            )


def make_shortlist(job: Job) -> Shortlist:
    """Account for all trials of step 1 and name the candidates of step 2.

    Raises
    ------
    StudyError
        If a trial has no result or none is complete.
    """
    plan, tree = planning.current(job), job.tree
    results = [r for r in planning.results(job, 1, plan.study) if r.trial < plan.trials]
    atomic.write(tree.study / "step1.csv", record.table(results))
    chosen = two_step.shortlist(plan, results)
    chosen.save(tree.shortlist)
    states = ", ".join(f"{count} {state}" for state, count in chosen.states.items())
    best = chosen.candidates[0]
    say(f"{states}; candidates {', '.join(str(c.trial) for c in chosen.candidates)}; best {best.value:.6g}")
    return chosen


def run_candidate(job: Job, rank: int, stop: Event) -> None:
    """Train a candidate on all of the training period.

    Raises
    ------
    StudyError
        If it was stopped or failed; a candidate that diverged is a result.
    """
    plan = planning.current(job)
    candidate = next((c for c in planning.shortlist(job).candidates if c.rank == rank), None)
    if candidate is None:
        say(f"no candidate of rank {rank}: fewer trials were complete and different")
        return
    result = training.train(
        job, plan, 2, candidate.trial, stop, lambda share: callback.meter("epochs", round(100 * share))
    )
    training.keep(job, plan, result, str(rank))
    folder = job.tree.trial(2, candidate.trial)
    training.require_not_stopped(result, folder)
    callback.label("value", f"trial {candidate.trial}: {_value(result)}")
    print(
        f"trial {candidate.trial}: {result.state} {_value(result)} (step 1: {candidate.value:.6g}) {result.reason}"
    )
    if result.state is TrialState.FAILED:
        raise StudyError(f"trial {candidate.trial}: {result.reason}", f"Read {folder}/log.txt")
    callback.meter("epochs", 100)


def make_selection(job: Job) -> Selection:
    """Name the winner.

    Raises
    ------
    StudyError
        If a candidate has no result or none is complete.
    """
    plan, tree = planning.current(job), job.tree
    results = planning.results(job, 2, plan.study)
    atomic.write(tree.study / "step2.csv", record.table(results))
    selection = two_step.select(plan, planning.shortlist(job), results)
    selection.save(tree.selection)
    outbox.leave(tree.outbox, parcels.of_study(job, plan, _begun(job), selection))
    params = " ".join(f"{name.rsplit('.', 1)[-1]}={value}" for name, value in selection.params.items())
    text = f"trial {selection.trial}: {selection.value:.6g} (step 1: {selection.step1_value:.6g}) {params}"
    callback.label("winner", text)
    print(text)
    return selection


def say(text: str) -> None:
    """Tell the operator."""
    callback.label("info", text)
    print(text, flush=True)


def _begun(job: Job) -> datetime:
    """When the study was first frozen; a plan that is written again keeps the time in its parcel."""
    for path in job.tree.outbox.glob(f"{planning.current(job).study}.0-study.json"):
        parcel = outbox.load(path)
        if isinstance(parcel, outbox.RunParcel):
            return parcel.started
    return datetime.now(UTC)


def _never_trained(result: TrialResult) -> bool:
    late = result.reason.startswith(LATE)
    return result.state is TrialState.FAILED and not result.history and not late


def _tell(plan: StudyPlan, done: Collection[TrialResult], of: int) -> None:
    callback.meter("trials", round(100 * len(done) / of) if of else 100)
    if best := two_step.rank(done, plan.direction)[:1]:
        callback.label("best", f"{_value(best[0])} (trial {best[0].trial}), {len(done)} of {of} done")


def _value(result: TrialResult) -> str:
    return "no value" if result.value is None else f"{result.value:.6g}"
