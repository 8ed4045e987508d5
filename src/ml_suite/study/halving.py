"""Successive halving: which trials of a cohort go on after a rung.

Trials compete in cohorts of neighbouring numbers (Jamieson and Talwalkar 2016; Hyperband, Li et al. 2018), and who goes
on follows from the histories of one cohort alone. So a cohort belongs to one shard, nothing but finished trials has to
be recorded, and a cohort that was killed is decided again from what is known of it. The candidates of step 2 are one
cohort.

At each rung those that are left are ranked by their best value so far, and the best ``ceil(keep * left)`` stay. A trial
that stopped early took its whole budget: it is ranked with its best value, and when it does not stay it is complete all
the same. One that diverged or failed is not ranked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from ml_suite.quantities import part_of
from ml_suite.study.contract import Cuts, HistoryPoint, Rungs, SearchPlan, TrialResult, TrialState


class End(Enum):
    """Whether a training can go on."""

    RUNNING = "running"
    """It has not begun, or paused."""
    ENDED = "ended"
    """It used up its budget, stopped early, or was cut by an earlier decision."""
    LOST = "lost"
    """It diverged or failed."""


@dataclass(frozen=True)
class Course:
    """What is known of one trial."""

    history: Sequence[HistoryPoint] = ()
    """Epochs count from 0."""
    end: End = End.RUNNING

    @property
    def epochs(self) -> int:
        """Epochs that were trained."""
        return self.history[-1].epoch + 1 if self.history else 0

    def best(self, until: int, direction: str) -> float | None:
        """Best finite value of the first UNTIL epochs."""
        values = [p.value for p in self.history if p.epoch < until and p.value is not None]
        finite = [v for v in values if math.isfinite(v)]
        return (min(finite) if direction == "minimize" else max(finite)) if finite else None


@dataclass(frozen=True)
class Decision:
    """What becomes of the trials of a cohort that have not ended."""

    train: dict[int, int | None]
    """Trials to train, each until this epoch; None: to the end."""
    wait: frozenset[int]
    """Trials that go on or are cut when the others of the cohort have come as far."""
    pruned: dict[int, int]
    """Trials that are cut, each after this epoch."""


def decide(cohort: Mapping[int, Course], rungs: Cuts | None, direction: str) -> Decision:
    """Follow a cohort from rung to rung as far as its histories go.

    Parameters
    ----------
    cohort
        All its trials, those that have not begun too.
    rungs
        None: nobody is cut.

    >>> half = Rungs(at=[1], keep=0.5, cohort=2)
    >>> reached = [Course([HistoryPoint(epoch=0, step=1, value=v)]) for v in (0.2, 0.1)]
    >>> decide(dict(enumerate(reached)), half, "minimize")
    Decision(train={1: None}, wait=frozenset(), pruned={0: 1})
    """
    left = [trial for trial in sorted(cohort) if cohort[trial].end is not End.LOST]
    pruned: dict[int, int] = {}
    for at in rungs.at if rungs else ():
        behind = [t for t in left if cohort[t].end is End.RUNNING and cohort[t].epochs < at]
        if behind:
            waiting = [t for t in left if cohort[t].end is End.RUNNING and t not in behind]
            return Decision(dict.fromkeys(behind, at), frozenset(waiting), pruned)
        assert rungs is not None
        stay = cut({t: cohort[t].best(at, direction) for t in left}, rungs.keep, direction)
        pruned |= {t: at for t in left if t not in stay and cohort[t].end is End.RUNNING}
        left = [t for t in left if t in stay]
    running = [t for t in left if cohort[t].end is End.RUNNING]
    return Decision(dict.fromkeys(running), frozenset(), pruned)


def ends(whole: Mapping[int, Course], rungs: Cuts, direction: str) -> dict[int, int]:
    """Epochs after which trials of one cohort would have been cut, of trainings that went on to their end."""
    shown = {trial: Course(end=End.LOST if c.end is End.LOST else End.RUNNING) for trial, c in whole.items()}
    found: dict[int, int] = {}
    while (decision := decide(shown, rungs, direction)).train or decision.pruned:
        found |= decision.pruned
        for trial in decision.pruned:
            shown[trial] = Course(shown[trial].history, End.ENDED)
        for trial, until in decision.train.items():
            course = whole[trial]
            history = [p for p in course.history if until is None or p.epoch < until]
            going = until is not None and course.epochs > until
            shown[trial] = Course(history, End.RUNNING if going else End.ENDED)
    return found


def cut(values: Mapping[int, float | None], keep: float, direction: str) -> frozenset[int]:
    """Return the trials that stay: the best ``ceil(keep * number)``, of equal ones the first; None is the worst."""
    sign = 1 if direction == "minimize" else -1

    def place(trial: int) -> tuple[bool, float, int]:
        value = values[trial]
        return value is None, 0.0 if value is None else sign * value, trial

    return frozenset(sorted(values, key=place)[: part_of(len(values), keep)])


def pruned(result: TrialResult, at: int, direction: str) -> TrialResult:
    """Return the result of a training that is cut after AT epochs: nothing that came later counts."""
    history = [point for point in result.history if point.epoch < at]
    best = Course(history).best(at, direction)
    return result.model_copy(
        update={
            "state": TrialState.PRUNED,
            "reason": f"cut after {at} epoch{'' if at == 1 else 's'}: others of its cohort were better",
            "history": history,
            "value": best,
            "best": best,
            "epochs": at,
            "steps": history[-1].step if history else 0,
            "checkpoint": None,
        }
    )


def end_of(state: TrialState) -> End:
    """Whether a trial of this state counts in the cuts of its cohort."""
    if state in (TrialState.COMPLETE, TrialState.PRUNED):
        return End.ENDED
    return End.LOST if state in (TrialState.DIVERGED, TrialState.FAILED) else End.RUNNING


def cohort(rungs: Cuts | None, trial: int) -> int:
    """Return the number of the cohort that a trial of a stage belongs to; without cuts each is alone.

    >>> cohort(Rungs(at=[1], keep=0.5, cohort=4), 9), cohort(Cuts(at=[1], keep=0.5), 9), cohort(None, 9)
    (2, 0, 9)
    """
    if rungs is None:
        return trial
    return trial // rungs.cohort if isinstance(rungs, Rungs) else 0


def cohort_of(plan: SearchPlan, trial: int) -> int:
    """Return the number of the cohort of step 1 that a trial belongs to; without rungs each is alone."""
    return cohort(plan.rungs, trial)
