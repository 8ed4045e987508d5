"""Step 1: the trials of one job, and who of them goes on where a study has rungs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from itertools import groupby
from threading import Event
from typing import Any

from ml_suite.errors import StudyError
from ml_suite.jobs import callback, planning, training
from ml_suite.jobs.context import Job
from ml_suite.study import asking, halving, trials, two_step
from ml_suite.study.contract import StudyPlan, TrialResult, TrialSpec, TrialState
from ml_suite.study.halving import Course
from ml_suite.trainers import outcome, runner
from ml_suite.trainers.outcome import ABSENT, never_trained

SETTLED = runner.FINAL | {TrialState.FAILED}
"""States after which a shard does not run a trial again: the same failure would come back."""

_HOPELESS = 2
"""Trials that may fail before any trains until a shard gives up."""


ALL = -1
"""In place of a round: every trial that is drawn."""


def run_shard(job: Job, shard: int, stop: Event, number: int = ALL) -> None:
    """Run the trials of one job of step 1 that have no result yet, one after the other.

    Where the study has rungs, each cohort is trained up to the next one, cut, and goes on. Who is cut follows from the
    metric histories alone, so a job that was killed finds its way from results and checkpoints.

    Parameters
    ----------
    number
        Round of an adaptive sampler.

    Raises
    ------
    StudyError
        If the job was told to stop, or the trials fail for a reason that has nothing to do with their hyperparameters.
    """
    plan = planning.current(job)
    draws = drawn(job, plan, number)
    mine = [trial for trial in trials.of_shard(plan, shard) if draws is None or trial in draws]
    results = [r for r in planning.results(job, 1, plan.study) if r.trial in mine and r.state in SETTLED]
    done = worth_knowing(results)
    work = _Shard(job, plan, f"{shard:03d}", len(mine), done, stop, draws or {})
    work.tell()
    for cohort in cohorts(plan, mine):
        work.run(cohort)


def worth_knowing(results: Sequence[TrialResult]) -> dict[int, TrialResult]:
    """Results by trial; none where nothing has trained yet: what failed says nothing about the trials then."""
    return {} if all(map(never_trained, results)) else {r.trial: r for r in results}


def drawn(job: Job, plan: StudyPlan, number: int = ALL) -> dict[int, dict[str, Any]] | None:
    """Hyperparameters of the trials of a round by number; None where a trial depends on nothing but its number.

    Raises
    ------
    StudyError
        If the round is not asked for yet.
    """
    if not plan.sampling.startswith(trials.OPTUNA):
        return None
    known = asking.known(job.tree.study, plan)
    if number >= len(known):
        raise StudyError(
            f"round {number + 1} has no trials yet", f"Run the task round_{number + 1}/ask first."
        )
    return asking.parameters(known if number == ALL else known[number : number + 1])


def cohorts(plan: StudyPlan, mine: Sequence[int]) -> list[list[int]]:
    """Trials of one job that compete with each other; without rungs all of them, for nobody is cut."""
    if plan.rungs is None:
        return [list(mine)]
    return [list(group) for _, group in groupby(mine, lambda trial: halving.cohort_of(plan, trial))]


class Trainings(ABC):
    """Trainings that belong together, with what is known of them; each is made on the plan's subset."""

    def __init__(
        self,
        plan: StudyPlan,
        size: int,
        known: Mapping[int, TrialResult],
        stop: Event,
        part: str = "",
    ) -> None:
        self.plan, self.size, self.stop, self.part = plan, size, stop, part
        self.known = dict(known)

    @abstractmethod
    def specification(self, trial: int, until: int | None) -> TrialSpec:
        """Return what to train."""

    @abstractmethod
    def keep(self, result: TrialResult) -> None:
        """Record what has ended or was stopped."""

    def run(self, cohort: Sequence[int]) -> None:
        """Train a cohort from rung to rung until each of its trials has ended."""
        while True:
            courses = {trial: self._course(trial) for trial in cohort}
            decision = halving.decide(courses, self.plan.rungs, self.plan.direction)
            # recorded before anyone goes on: what is found out later never changes who was cut
            for trial, at in decision.pruned.items():
                self._prune(trial, at)
            if not decision.train:
                return
            # what failed before comes last, so that a job that gave up tries others when it runs again
            for trial in sorted(decision.train, key=lambda t: (self._failed_before(t), t)):
                self._train(trial, decision.train[trial])

    def _course(self, trial: int) -> Course:
        known = self.known.get(trial)
        return Course(known.history, halving.end_of(known.state)) if known else Course()

    def _failed_before(self, trial: int) -> bool:
        return trial not in self.known and (self.specification(trial, None).output / "result.json").exists()

    def _prune(self, trial: int, epochs: int) -> None:
        self._keep(runner.prune(self.specification(trial, None), epochs))

    def _train(self, trial: int, until: int | None) -> None:
        spec = self.specification(trial, until)
        result = training.train(spec, self.stop)
        if outcome.paused(result):
            print(f"trial {trial}: {result.best:.6g} after {result.epochs} epochs", flush=True)
            self.known[trial] = result
            return
        self._keep(result)
        training.require_not_stopped(result, spec.output)
        tried = self.known.values()
        hopeless = result.reason.startswith(ABSENT) or len(tried) >= _HOPELESS
        if hopeless and all(map(never_trained, tried)):
            raise StudyError(
                f"no trial of this job trains; trial {trial}: {result.reason}",
                f"Read {spec.output}/log.txt; once cured, run the task again.",
            )

    def _keep(self, result: TrialResult) -> None:
        print(f"trial {result.trial}: {result.state} {value(result)} {result.reason}", flush=True)
        self.keep(result)
        self.known[result.trial] = result
        self.tell()

    def tell(self) -> None:
        """Show how far the job is."""
        done = [result for result in self.known.values() if result.state in SETTLED]
        callback.meter("trials", round(100 * len(done) / self.size) if self.size else 100)
        if best := two_step.rank(done, self.plan.direction)[:1]:
            told = f"{value(best[0])} (trial {best[0].trial}), {len(done)} of {self.size} done"
            callback.label("best", f"{self.part}: {told}" if self.part else told)


class _Shard(Trainings):
    """The trials of one job of step 1."""

    def __init__(
        self,
        job: Job,
        plan: StudyPlan,
        name: str,
        size: int,
        known: Mapping[int, TrialResult],
        stop: Event,
        draws: Mapping[int, dict[str, Any]],
    ) -> None:
        super().__init__(plan, size, known, stop)
        self.job, self.name, self.draws = job, name, draws

    def specification(self, trial: int, until: int | None) -> TrialSpec:
        return training.specification(
            self.job, self.plan, 1, trial, until=until, params=self.draws.get(trial)
        )

    def keep(self, result: TrialResult) -> None:
        training.keep(self.job, self.plan, result, self.name)


def value(result: TrialResult) -> str:
    """The metric of a training, for a person."""
    return "no value" if result.value is None else f"{result.value:.6g}"
