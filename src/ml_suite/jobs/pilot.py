"""The pilot of a search: its parts in one job, and what follows from them.

The job takes part after part, as `ml_suite.study.piloting` asks for them, and leaves a decision. Beside the ecFlow
server that becomes the plan, where something was left to it, and the first certificate.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from threading import Event

from ml_suite.config.deployment import Deployment
from ml_suite.errors import StudyError
from ml_suite.jobs import callback, planning, training
from ml_suite.jobs.context import Job
from ml_suite.jobs.places import piloted, places
from ml_suite.jobs.shard import SETTLED, Trainings, worth_knowing
from ml_suite.layout import WorkTree
from ml_suite.study import piloting, record, speed, trials
from ml_suite.study.chooser import Part
from ml_suite.study.contract import StudyPlan, TrialResult, TrialSpec
from ml_suite.study.dated import DatedPilot, PilotDecision, Trained
from ml_suite.study.speed import Work
from ml_suite.trainers import outcome


def run_pilot(job: Job, stop: Event) -> PilotDecision:
    """Train what the pilot needs and has not trained yet, and decide.

    Raises
    ------
    StudyError
        If the job was told to stop, nothing trains, too little does to decide what is `auto`, or no search is within
        the budget where all is.
    """
    _require_numbers(job)
    pilot = planned(job)
    found = piloting.run(
        pilot.plan, pilot.aim, lambda part: _train(job, pilot, part, stop), _clock(job.deployment)
    )
    keep = min(found.keep, pilot.most)
    words = piloting.words(pilot.aim, found) or "pilot: too little is complete to judge the search"
    if keep < found.keep:
        words += f"; {keep} are kept, as many as there are tasks for"
    made = PilotDecision(
        pilot=pilot.digest,
        subset=found.subset,
        keep=keep,
        words=words,
        costs=piloting.excess(pilot.aim, found),
        parts=[
            Trained(share=share, replicate=replicate, trainings=len(results))
            for (share, replicate), results in found.parts.items()
        ],
        made=datetime.now(UTC),
    )
    known = _decision(job.tree, pilot)
    if known is not None and known.model_copy(update={"made": made.made}) == made:
        made = known
    made.save(job.tree.pilot_decision)
    callback.meter("trials", 100)
    callback.label("best", words)
    print(words, flush=True)
    return made


def planned(job: Job) -> DatedPilot:
    """Read what the pilot must know.

    Raises
    ------
    StudyError
        If there is none or another version wrote it.
    """
    return planning.required(DatedPilot, job.tree.pilot_plan, "plan", "pilot in ")


def decision(job: Job, pilot: DatedPilot) -> PilotDecision | None:
    """Return how this pilot ended, wherever it ran; None if it has not."""
    where = places(job.resolved, job.host, job.cycle)
    found = [made for place in where if (made := _decision(place.tree, pilot))]
    return max(found, key=lambda made: made.made, default=None)


def parts(job: Job, pilot: DatedPilot, made: PilotDecision) -> piloting.Parts:
    """Return the pilot's results.

    Raises
    ------
    StudyError
        If some of them are not here.
    """
    where = places(job.resolved, job.host, job.cycle)
    found: piloting.Parts = {}
    for part in made.parts:
        name = piloting.name(Part(part.share, part.replicate))
        results = [r for r in piloted(where, name, pilot.plan.study) if r.state in SETTLED]
        if len(results) < part.trainings:
            raise StudyError(
                f"{part.trainings - len(results)} of {part.trainings} trainings of {name} have no result",
                "Run the tasks of the family pilot again.",
            )
        found[part.share, part.replicate] = results
    return found


def _decision(tree: WorkTree, pilot: DatedPilot) -> PilotDecision | None:
    try:
        made = PilotDecision.load(tree.pilot_decision)
    except (OSError, ValueError):
        return None
    return made if made.pilot == pilot.digest else None


def _train(job: Job, pilot: DatedPilot, part: Part, stop: Event) -> list[TrialResult]:
    plan, number = pilot.part(part), piloting.number(pilot.aim, part)
    chosen = list(part.trials if part.trials is not None else range(pilot.aim.configurations))
    name = piloting.name(part)
    known = [
        r
        for r in record.merge([job.tree.pilot_record(name)], plan.study)
        if r.trial in chosen and r.replicate == number and r.state in SETTLED
    ]
    work = _Part(job, plan, number, len(chosen), worth_knowing(known), stop, name)
    work.tell()
    work.run(chosen)
    return [work.known[trial] for trial in sorted(chosen)]


class _Part(Trainings):
    """Trainings of one part of a pilot."""

    def __init__(
        self,
        job: Job,
        plan: StudyPlan,
        number: int,
        size: int,
        known: dict[int, TrialResult],
        stop: Event,
        part: str,
    ) -> None:
        super().__init__(plan, size, known, stop, part)
        self.job, self.number = job, number
        self.draws = piloting.drawn(plan)

    def specification(self, trial: int, until: int | None) -> TrialSpec:
        return training.specification(
            self.job,
            self.plan,
            1,
            trial,
            replicate=self.number,
            params=trials.parameters(self.draws, trial),
            until=until,
            output=self._folder(trial),
        )

    def keep(self, result: TrialResult) -> None:
        if not outcome.paused(result):
            record.append(self.job.tree.pilot_record(self.part), result)

    def _folder(self, trial: int) -> Path:
        return self.job.tree.pilot_trial(self.part, trial)


def _clock(deployment: Deployment) -> Work:
    """What trainings are counted by: processor time, which other jobs of the node disturb least, unless GPUs train."""
    hpo, usual = deployment.hpo, deployment.training.resources
    asked = (hpo.step1.resources if hpo else None) or usual
    return speed.wall if asked.gpus else speed.processor


def _require_numbers(job: Job) -> None:
    """Say before anything is trained that the pilot cannot be judged here."""
    if absent := [name for name in ("numpy", "scipy") if find_spec(name) is None]:
        raise StudyError(
            f"the pilot needs {' and '.join(absent)} in {job.environment}",
            "Install it there, or leave out hpo.pilot and state hpo.step1.subset and hpo.step2.keep.",
        )
