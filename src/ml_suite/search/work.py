"""What is left to do of a stage: which training comes next, and what becomes of one that ended; no side effects.

Trainings of finished cohorts are never made again, those of a started cohort go before those of a fresh one, so that
little has to be kept of paused trainings, and within that the longest come first, so that no worker is left alone with
one at the end. None of this changes a result.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from ml_suite.study import halving
from ml_suite.study.contract import Cuts, TrialResult, TrialState
from ml_suite.study.halving import Course, decide, end_of, pruned
from ml_suite.study.stage import Task

Key = tuple[int, int]
"""Trial and replicate."""

_Name = tuple[bool, int, int]
"""Of a cohort: whether it is a training that competes with nobody, number, replicate."""


@dataclass(frozen=True)
class Job:
    """A training, or the next part of one."""

    task: Task
    until: int | None
    """Epoch after which it pauses."""
    seconds: float = 0.0
    """Of its earlier parts."""


@dataclass(frozen=True)
class Part:
    """How a job went."""

    result: TrialResult
    paused: bool = False
    """It reached its `until` and could go on; the state of the result means nothing yet."""


@dataclass
class _Cohort:
    tasks: dict[int, Task]
    courses: dict[int, Course]
    rungs: Cuts | None
    paused: dict[int, TrialResult] = field(default_factory=dict)
    running: set[int] = field(default_factory=set)
    place: int = 0
    """In the order of the cohorts, the most expensive first."""


class Work:
    """The trainings of a stage.

    Parameters
    ----------
    done
        Results that are recorded.
        A cut of step 2 is made again, for others may compete now: with more candidates some that were cut go on, and
        are trained from the start.
    cost
        Of a task, in any unit.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        done: Iterable[TrialResult],
        rungs: Cuts | None,
        direction: str,
        cost: Callable[[Task], float],
    ) -> None:
        self.rungs, self.direction = rungs, direction
        self.cost = {(t.trial, t.replicate): cost(t) for t in tasks}
        self._cohorts: dict[_Name, _Cohort] = {}
        of: dict[Key, _Cohort] = {}
        for task in tasks:
            ruled = None if task.alone else rungs
            cohort = self._cohorts.setdefault(self._name(task), _Cohort({}, {}, ruled))
            cohort.tasks[task.trial], cohort.courses[task.trial] = task, Course()
            of[task.trial, task.replicate] = cohort
        self.settled: list[TrialResult] = []
        """Results that are final by what is recorded."""
        for result in done:
            if (known := of.get((result.trial, result.replicate))) is None:
                continue
            if anew(result):
                known.paused[result.trial] = result
                known.courses[result.trial] = Course(result.history)
            else:
                known.courses[result.trial] = Course(result.history, end_of(result.state))
                self.settled.append(result)
        self._ready: list[tuple[int, int, float, int, Job]] = []
        for place, cohort in enumerate(sorted(self._cohorts.values(), key=self._weight)):
            cohort.place = place
            self.settled += self._ask(cohort)

    def next(self) -> Job | None:
        """Take the next job; None while there is none."""
        return heapq.heappop(self._ready)[-1] if self._ready else None

    def back(self, job: Job) -> None:
        """Put a job back that was not begun."""
        self._push(self._cohorts[self._name(job.task)], job)

    def ended(self, job: Job, part: Part) -> list[TrialResult]:
        """Account for a job and return the results that are final by it, also of others in its cohort."""
        cohort, trial = self._cohorts[self._name(job.task)], job.task.trial
        cohort.running.discard(trial)
        result = part.result
        if part.paused:
            cohort.paused[trial] = result
            cohort.courses[trial] = Course(result.history)
            return self._ask(cohort)
        cohort.paused.pop(trial, None)
        cohort.courses[trial] = Course(result.history, end_of(result.state))
        return [result, *self._ask(cohort)]

    def _name(self, task: Task) -> _Name:
        rungs = None if task.alone else self.rungs
        return rungs is None, halving.cohort(rungs, task.trial), task.replicate

    def _weight(self, cohort: _Cohort) -> tuple[float, int]:
        return -sum(self.cost[t.trial, t.replicate] for t in cohort.tasks.values()), min(cohort.tasks)

    def _ask(self, cohort: _Cohort) -> list[TrialResult]:
        """Queue what the cohort has to train next; return what is cut."""
        decision = decide(cohort.courses, cohort.rungs, self.direction)
        for trial, until in decision.train.items():
            if trial not in cohort.running:
                earlier = cohort.paused.pop(trial, None)
                spent = 0.0 if earlier is None or anew(earlier) else earlier.seconds
                self._push(cohort, Job(cohort.tasks[trial], until, spent))
        cut = []
        for trial, at in decision.pruned.items():
            if trial in cohort.paused:
                cut.append(_cut(cohort.paused.pop(trial), at, self.direction))
                cohort.courses[trial] = Course(cut[-1].history, end_of(TrialState.PRUNED))
        return cut

    def _push(self, cohort: _Cohort, job: Job) -> None:
        cohort.running.add(job.task.trial)
        at = cohort.rungs.at if cohort.rungs else []
        begun = -len(at) if job.until is None else -at.index(job.until)
        cost = -self.cost[job.task.trial, job.task.replicate]
        heapq.heappush(self._ready, (begun, cohort.place, cost, job.task.trial, job))


def anew(result: TrialResult) -> bool:
    """Whether a recorded result is a cut that is made again: candidates and rungs of step 2 may have changed."""
    return result.step == 2 and result.state is TrialState.PRUNED


def _cut(result: TrialResult, at: int, direction: str) -> TrialResult:
    """Return a training as cut; one that is recorded so stays as it is."""
    same = result.state is TrialState.PRUNED and result.epochs == at
    return result if same else pruned(result, at, direction)
