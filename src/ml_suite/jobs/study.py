"""Tasks of the two-step search: plan, pilot, judge, ask, shard, shortlist, retrain, finalists, final, select."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from threading import Event

from ml_suite import atomic
from ml_suite.errors import StudyError
from ml_suite.jobs import callback, freezing, judging, outbox, parcels, planning, training
from ml_suite.jobs.context import Job
from ml_suite.jobs.pilot import run_pilot
from ml_suite.jobs.shard import ALL, run_shard, value
from ml_suite.study import asking, cost, piloting, record, two_step
from ml_suite.study.asking import Draws
from ml_suite.study.contract import (
    Candidate,
    Selection,
    Shortlist,
    StudyPlan,
    TrialState,
)
from ml_suite.trainers import process


def run(job: Job, arguments: list[str]) -> None:
    """Do what the first argument says."""
    parser = argparse.ArgumentParser(prog="study")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("plan")
    verbs.add_parser("pilot")
    verbs.add_parser("judge")
    ask = verbs.add_parser("ask")
    ask.add_argument("--round", type=int, required=True, help="from 0")
    shard = verbs.add_parser("shard")
    shard.add_argument("--shard", type=int, required=True)
    shard.add_argument("--round", type=int, default=ALL)
    verbs.add_parser("shortlist")
    verbs.add_parser("retrain").add_argument("--rank", type=int, required=True)
    verbs.add_parser("finalists")
    final = verbs.add_parser("final")
    final.add_argument("--finalist", type=int, required=True)
    final.add_argument("--replicate", type=int, required=True)
    verbs.add_parser("select")
    given = parser.parse_args(arguments)
    with process.stop_requests() as stop:
        match given.verb:
            case "plan":
                make_plan(job)
            case "pilot":
                run_pilot(job, stop)
            case "judge":
                judge_pilot(job)
            case "ask":
                ask_round(job, given.round)
            case "shard":
                run_shard(job, given.shard, stop, given.round)
            case "shortlist":
                make_shortlist(job)
            case "retrain":
                run_candidate(job, given.rank, stop)
            case "finalists":
                make_finalists(job)
            case "final":
                run_final(job, given.finalist, given.replicate, stop)
            case "select":
                make_selection(job)


def make_plan(job: Job) -> StudyPlan | None:
    """Freeze the study.

    Returns
    -------
    StudyPlan or None
        None where a pilot has to decide first what is `auto`.

    Raises
    ------
    StudyError
        If it cannot be, or finished trials belong to another study.
    """
    hpo = job.deployment.hpo
    if hpo is None or not piloting.wanted(hpo):
        return _settled(job, planning.settle(job, freezing.search(job)))
    pilot = freezing.pilot(job)
    plan = judging.pilot_plan(job, pilot)
    if plan is None:
        say(
            f"{pilot.plan.trials} trials of {pilot.plan.epochs['step1']} epochs; the pilot decides with "
            f"{pilot.aim.configurations} of them"
        )
        return None
    return _settled(job, plan)


def judge_pilot(job: Job) -> StudyPlan:
    """Make the plan and the certificate that follow from the pilot.

    Raises
    ------
    StudyError
        If the pilot has not ended, or finished trials belong to another study.
    """
    plan, made, told = judging.conclude_pilot(job)
    _settled(job, plan)
    say(made.words)
    callback.label("certificate", told)
    print(told)
    return plan


def _settled(job: Job, plan: StudyPlan) -> StudyPlan:
    outbox.leave(job.tree.outbox, parcels.of_study(job, plan, _begun(job)))
    say(
        f"study {plan.study}: {plan.trials} trials of {plan.epochs['step1']} epochs on {plan.samples['subset']} of "
        f"{plan.samples['training']} samples, the best {plan.keep} again on all"
    )
    return plan


def ask_round(job: Job, number: int) -> Draws | None:
    """Have the sampler draw the trials of a round.

    Raises
    ------
    StudyError
        If a trial of an earlier round has no result, or the sampler cannot be used.
    """
    plan = planning.current(job)
    draws = asking.settle(plan, job.tree.study, number, planning.results(job, 1, plan.study))
    if draws is None:
        say(f"round {number + 1} has no trials: all {plan.trials} are drawn")
        return None
    say(f"round {number + 1}: {len(draws.trials)} trials by {draws.sampler} from {draws.seen} results")
    return draws


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
    say(
        f"{states}; candidates {', '.join(str(c.trial) for c in chosen.candidates)}; best {_number(best.value)}"
    )
    return chosen


def run_candidate(job: Job, rank: int, stop: Event) -> None:
    """Train a candidate on all of the training period.

    Raises
    ------
    StudyError
        If it was stopped or failed; a candidate that diverged is a result.
    """
    candidate = next((c for c in planning.shortlist(job).candidates if c.rank == rank), None)
    if candidate is None:
        # a pilot may keep fewer than there are tasks for
        callback.label("value", "no candidate")
        print(f"no candidate of rank {rank}: fewer trials are kept, or were complete and different")
        callback.meter("epochs", 100)
        return
    _train(job, candidate, 0, str(rank), stop)


def make_finalists(job: Job) -> Shortlist:
    """Name the candidates that are trained again with other seeds.

    Raises
    ------
    StudyError
        If a candidate has no result or none is complete.
    """
    plan = planning.current(job)
    chosen = planning.shortlist(job)
    results = planning.results(job, 2, plan.study)
    known = {c.trial: c for c in chosen.candidates}
    last = two_step.finalists(plan, chosen, results)
    ranked = [known[trial].model_copy(update={"rank": i}) for i, trial in enumerate(last, start=1)]
    found = chosen.model_copy(update={"candidates": ranked})
    found.save(job.tree.finalists)
    say(
        f"finalists {', '.join(str(trial) for trial in last)}, each {plan.choice.replicates} trainings in all"
    )
    return found


def run_final(job: Job, finalist: int, replicate: int, stop: Event) -> None:
    """Train a finalist again with another seed.

    Raises
    ------
    StudyError
        If it was stopped or failed; one that diverged is a result.
    """
    candidate = next((c for c in planning.finalists(job).candidates if c.rank == finalist), None)
    if candidate is None:
        callback.label("value", "no finalist")
        print(f"no finalist {finalist}: fewer candidates are complete")
        callback.meter("epochs", 100)
        return
    _train(job, candidate, replicate, f"final-{finalist}-{replicate}", stop)


def _train(job: Job, candidate: Candidate, replicate: int, name: str, stop: Event) -> None:
    plan = planning.current(job)
    spec = training.specification(job, plan, 2, candidate.trial, replicate=replicate, params=candidate.params)
    result = training.train(spec, stop, lambda share: callback.meter("epochs", round(100 * share)))
    training.keep(job, plan, result, name)
    training.require_not_stopped(result, spec.output)
    what = f"trial {candidate.trial}" + (f", seed {replicate}" if replicate else "")
    callback.label("value", f"{what}: {value(result)}")
    print(f"{what}: {result.state} {value(result)} (step 1: {_number(candidate.value)}) {result.reason}")
    if result.state is TrialState.FAILED:
        raise StudyError(f"{what}: {result.reason}", f"Read {spec.output}/log.txt")
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
    found = judging.evidence(job, plan, results)
    spent = judging.account(job, plan, found)
    spent.save(tree.cost)
    judged = _certificate(job, plan, found, selection, spent)
    outbox.leave(tree.outbox, parcels.of_study(job, plan, _begun(job), selection))
    params = " ".join(f"{name.rsplit('.', 1)[-1]}={given}" for name, given in selection.params.items())
    text = (
        f"trial {selection.trial}: {selection.value:.6g} (step 1: {_number(selection.step1_value)}) {params}"
    )
    callback.label("winner", text)
    print(text)
    callback.label("certificate", judged)
    for words in filter(None, (selection.judged, selection.reason, *selection.warnings, judged)):
        print(words)
    return selection


def _certificate(
    job: Job, plan: StudyPlan, found: judging.Evidence, selection: Selection, spent: cost.Cost
) -> str:
    """Leave the certificate; returns what it says, or why there is none: a winner is not lost for want of it."""
    try:
        made = judging.certificate(job, plan, found, selection, spent)
    except StudyError as error:
        return f"{error.message}; {error.hint}"
    made.save(job.tree.certificate)
    return made.sentence


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


def _number(given: float | None) -> str:
    return "none" if given is None else f"{given:.6g}"
