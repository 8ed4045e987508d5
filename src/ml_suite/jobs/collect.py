"""Task collect: bring home what the jobs of a step left on another host, and see that all of it is there.

It runs beside the ecFlow server once those jobs are complete. Trials count as there when their record is, wherever they
ran in the end; candidates and single trainings also need their weights, which are compared with their digests.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path

from ml_suite.errors import CredentialNeeded, HostBusy, HostUnreachable, MlSuiteError, StudyError
from ml_suite.jobs import callback, mirror, pilot, planning, shard
from ml_suite.jobs.context import Job
from ml_suite.jobs.mirror import Mirrored
from ml_suite.jobs.places import ELSEWHERE, Found, places
from ml_suite.quantities import format_bytes
from ml_suite.study import trials
from ml_suite.study.contract import Selection, StudyPlan, TrialState

ANY = "any"
"""In place of a host: all other machines of the deployment."""

PATIENCE = 1800.0
"""Seconds in which a host that does not answer is asked again."""
LAG = 120.0
"""Seconds after which a file system of a host shows what its compute nodes wrote."""
_PAUSES = (2.0, 5.0, 15.0, 30.0, 60.0)


Training = tuple[int, int]
"""Trial and replicate."""


@dataclass(frozen=True)
class Wanted:
    """What has to be there at the end."""

    step: int
    trainings: tuple[Training, ...]
    again: str
    """Which tasks to run again if it never comes."""
    pilot: bool = False
    """All that the pilot's decision rests on."""


def run(job: Job, arguments: list[str]) -> None:
    """Collect and tell the operator.

    Raises
    ------
    CredentialNeeded, HostUnreachable
        If the host could not be reached for half an hour.
    StudyError
        If a trial or its weights are not at the host.
    """
    parser = argparse.ArgumentParser(prog="collect")
    parser.add_argument("--host", required=True, help="one, several with commas between them, or any")
    parser.add_argument("--step", type=int, choices=(0, 1, 2), required=True)
    parser.add_argument("--shards", type=_numbers, default=())
    parser.add_argument("--round", type=int, default=shard.ALL)
    parser.add_argument("--ranks", type=_numbers, default=())
    parser.add_argument("--pilot", action="store_true")
    parser.add_argument("--finals", type=_pairs, default=(), help="FINALIST:REPLICATE, ...")
    given = parser.parse_args(arguments)
    job.use_home()
    hosts = job.resolved.remote if given.host == ANY else given.host.split(",")
    if unknown := [host for host in hosts if host not in job.resolved.remote]:
        raise StudyError(f"{unknown[0]} is no other machine of this deployment")
    if given.pilot:
        want = Wanted(1, (), "the task pilot/train", pilot=True)
    else:
        want = wanted(job, given.step, given.shards, given.ranks, given.finals, given.round)
    got = collect(job, hosts, want)
    if given.step == 0:
        take_selection(job)
    callback.label("collected", got)
    print(got)


def wanted(
    job: Job,
    step: int,
    shards: tuple[int, ...] = (),
    ranks: tuple[int, ...] = (),
    finals: tuple[Training, ...] = (),
    number: int = shard.ALL,
) -> Wanted:
    """Trials of shards, of ranks, of finalists and their replicates, or the single one."""
    if step == 0:
        return Wanted(0, ((0, 0),), "the task train")
    plan = planning.current(job)
    if step == 1:
        draws = shard.drawn(job, plan, number)
        theirs = sorted(trial for name in shards for trial in trials.of_shard(plan, name))
        mine = [trial for trial in theirs if draws is None or trial in draws]
        return Wanted(1, tuple((trial, 0) for trial in mine), f"shards {', '.join(map(str, shards))}")
    if finals:
        last = {c.rank: c.trial for c in planning.finalists(job).candidates}
        named = ", ".join(f"{finalist}_{replicate}" for finalist, replicate in finals)
        return Wanted(2, tuple((last[f], r) for f, r in finals if f in last), f"finalists {named}")
    chosen = planning.shortlist(job).candidates
    mine = sorted(c.trial for c in chosen if c.rank in ranks)
    return Wanted(2, tuple((trial, 0) for trial in mine), f"candidates {', '.join(map(str, ranks))}")


def collect(
    job: Job, hosts: Sequence[str], want: Wanted, patience: float = PATIENCE, lag: float = LAG
) -> str:
    """Pull until everything is there; returns one line for the operator.

    Parameters
    ----------
    patience
        Seconds to go on while a host does not answer.
    lag
        Seconds to go on while all hosts answer and something is missing.

    Raises
    ------
    CredentialNeeded, HostUnreachable, HostBusy
        If a host could not be reached for so long, and something is missing.
    StudyError
        If something is not at the hosts.
    """
    total = Mirrored(0, 0)
    checked: set[tuple[Path, str]] = set()
    give_up, late = time.monotonic() + patience, 0.0
    for pause in chain(_PAUSES, repeat(_PAUSES[-1])):
        got, silent = _pull(job, hosts, weights=want.step != 1)
        total = Mirrored(total.files + got.files, total.bytes + got.bytes)
        missing = _missing(job, want, checked)
        if not missing:
            break
        now = time.monotonic()
        if silent is None:
            late = late or now + lag
        if silent is None and now > late:
            raise StudyError(f"{missing[0]}; {len(missing)} missing in all", f"Run again: {want.again}.")
        if silent is not None and now > give_up:
            raise silent
        words = silent.message if silent else missing[0]
        callback.label("collected", f"waits: {(silent.hint if silent else None) or words}")
        print(words, flush=True)
        time.sleep(min(pause, patience if silent else lag))
    if want.pilot:
        return f"the pilot; {total.files} files, {format_bytes(total.bytes)}"
    count = len(want.trainings)
    return f"{count} trial{'' if count == 1 else 's'}; {total.files} files, {format_bytes(total.bytes)}"


def _pull(job: Job, hosts: Sequence[str], weights: bool) -> tuple[Mirrored, MlSuiteError | None]:
    """What came, and why a host was silent."""
    files = size = 0
    silent: MlSuiteError | None = None
    for host in hosts:
        try:
            got = mirror.pull(job.resolved, host, job.cycle, weights)
        except (CredentialNeeded, HostUnreachable, HostBusy) as error:
            silent = error
        else:
            files, size = files + got.files, size + got.bytes
    return Mirrored(files, size), silent


def _missing(job: Job, want: Wanted, checked: set[tuple[Path, str]]) -> list[str]:
    """What is not here yet, one sentence each."""
    if want.pilot:
        return _of_pilot(job)
    if want.step == 0:
        told = selection_of(job)
        if told is None:
            return ["the training has left no selection.json"]
        study = told[1].study
    else:
        study = planning.current(job).study
    found = planning.whereabouts(job, want.step, study)
    known = {(one.result.trial, one.result.replicate): one for one in found}
    absent = [f"{_name(want.step, t)} has no result" for t in want.trainings if not _ended(known.get(t))]
    if want.step == 1:
        return absent
    there = [known[t] for t in want.trainings if _ended(known.get(t))]
    return absent + [words for one in there if (words := _without_weights(one, checked))]


def _of_pilot(job: Job) -> list[str]:
    plan = pilot.planned(job)
    made = pilot.decision(job, plan)
    if made is None:
        return ["the pilot has left no decision"]
    try:
        pilot.parts(job, plan, made)
    except StudyError as error:
        return [error.message]
    return []


def _ended(one: Found | None) -> bool:
    return one is not None and one.result.state is not TrialState.PREEMPTED


def _without_weights(one: Found, checked: set[tuple[Path, str]]) -> str:
    """What is wrong with the weights of a trial; empty if nothing is.

    Weights with another digest than the trained ones are removed here, so that the next pull brings them again.
    """
    weights, place = one.result.checkpoint, one.place
    if not place.mirrored or weights is None or one.result.state is not TrialState.COMPLETE:
        return ""
    name = _name(one.result.step, (one.result.trial, one.result.replicate))
    if weights.path.is_relative_to(place.tree.work / ELSEWHERE):
        return f"the weights of {name} lie outside of the work folder {place.work}"
    if (weights.path, weights.sha256) in checked:
        return ""
    if not weights.path.is_file():
        return f"the weights of {name} have not come: {weights.path}"
    with weights.path.open("rb") as f:
        if hashlib.file_digest(f, "sha256").hexdigest() != weights.sha256:
            weights.path.unlink()
            return f"the weights of {name} are not those that were trained: {weights.path}"
    checked.add((weights.path, weights.sha256))
    return ""


def selection_of(job: Job) -> tuple[StudyPlan, Selection] | None:
    """Plan and outcome of the latest single training at another machine, with paths of this one."""
    found = []
    for place in places(job.resolved, job.host, job.cycle):
        try:
            plan, selection = StudyPlan.load(place.tree.plan), Selection.load(place.tree.selection)
        except (OSError, ValueError):
            continue
        if place.mirrored and plan.study == selection.study and selection.step == 0:
            found.append((plan, selection.model_copy(update={"result": place.result(selection.result)})))
    return max(found, key=lambda told: told[1].result.ended, default=None)


def take_selection(job: Job) -> None:
    """Make a single training's plan and outcome this host's: what comes next reads them here."""
    if told := selection_of(job):
        plan, selection = told
        dataset = plan.dataset.model_copy(update={"path": planning.dataset_of(job)})
        plan.model_copy(update={"dataset": dataset}).save(job.tree.plan)
        selection.save(job.tree.selection)


def _name(step: int, training: Training) -> str:
    trial, replicate = training
    return f"trial {trial}{f' (seed {replicate})' if replicate else ''} of step {step}"


def _pairs(text: str) -> tuple[Training, ...]:
    pairs = (word.partition(":") for word in text.split(",") if word)
    return tuple((int(finalist), int(replicate)) for finalist, _, replicate in pairs)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(",") if word)
