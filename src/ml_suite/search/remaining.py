"""How long a study that runs elsewhere will still take, from its record; nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from ml_suite.search.claim import Holder
from ml_suite.search.look import Known
from ml_suite.search.stages import expected_cost, of_shard
from ml_suite.study import trials
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.contract import TrialResult, TrialState
from ml_suite.study.stage import Task

_ENOUGH = 0.03
"""Share of the work by which the rest is judged."""


def seconds(known: Known, holder: Holder, now: datetime | None = None) -> float | None:
    """Estimate how long a process needs for the rest of its stage; None where that cannot be told.

    What it has done since it began counts, in the expected work of each training. Those that stop early are not
    foreseen.
    """
    plan = known.plan
    if not isinstance(plan, ArrayPlan) or not (tasks := _tasks(known, plan, holder)):
        return None
    cost = {(t.trial, t.replicate): expected_cost(plan, t) for t in tasks}
    ended = _ended(known.of_step(1 if holder.stage == "step1" else 2))
    done = sum(c for key, c in cost.items() if key in ended and ended[key] >= holder.since)
    left = sum(c for key, c in cost.items() if key not in ended)
    if done < _ENOUGH * sum(cost.values()):
        return None
    spent = max(0.0, ((now or datetime.now(UTC)) - holder.since).total_seconds())  # clocks may be set back
    return spent * left / done


def _tasks(known: Known, plan: ArrayPlan, holder: Holder) -> list[Task]:
    if holder.stage == "step1" and not plan.sampling.startswith(trials.OPTUNA):
        every = [Task(i, trials.parameters(plan, i)) for i in range(plan.trials)]
        return of_shard(every, plan.rungs, holder.shard)
    if holder.stage != "step2" or known.shortlist is None:
        return []
    chosen = known.shortlist.candidates
    first = [Task(c.trial, c.params) for c in chosen]
    # who the finalists are is not known before the candidates are trained: any will do
    again = [c for c in chosen if c.role != "control"][: plan.choice.finalists]
    if named := {r.trial for r in known.of_step(2) if r.replicate}:
        again = [c for c in chosen if c.trial in named]
    return first + [Task(c.trial, c.params, k) for c in again for k in range(1, plan.choice.replicates)]


def _ended(results: Sequence[TrialResult]) -> dict[tuple[int, int], datetime]:
    return {(r.trial, r.replicate): r.ended for r in results if r.state is not TrialState.PREEMPTED}
