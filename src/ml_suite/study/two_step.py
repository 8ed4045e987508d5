"""The two steps: rank many trials of a small subset, choose the best, and judge those again on all of the data."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence

from ml_suite.errors import StudyError
from ml_suite.study.contract import Candidate, Selection, Shortlist, StudyPlan, TrialResult, TrialState


def account(results: Iterable[TrialResult]) -> dict[TrialState, int]:
    """Trials per state, in the order of `TrialState`."""
    counted = Counter(result.state for result in results)
    return {state: counted[state] for state in TrialState if counted[state]}


def rank(results: Iterable[TrialResult], direction: str) -> list[TrialResult]:
    """Complete trials, best first; equal values by number."""
    sign = 1 if direction == "minimize" else -1
    usable = [r for r in results if r.state is TrialState.COMPLETE and r.value is not None]
    finite = [r for r in usable if r.value is not None and math.isfinite(r.value)]
    return sorted(finite, key=lambda r: (sign * (r.value or 0.0), r.trial))


def shortlist(plan: StudyPlan, results: Sequence[TrialResult]) -> Shortlist:
    """Choose the candidates of step 2.

    A trial whose hyperparameters equal those of a better one is passed over: training it again would tell nothing.

    Raises
    ------
    StudyError
        If a trial has no record, none is complete, or keep is zero.
    """
    known = {r.trial: r for r in results if r.step == 1 and r.trial < plan.trials}
    if absent := sorted(set(range(plan.trials)) - set(known)):
        shards = sorted({trial % plan.shards for trial in absent})
        raise StudyError(
            f"{len(absent)} of {plan.trials} trials have no result: {_few(absent)}",
            f"Run the tasks of these shards again: {_few(shards)}.",
        )
    if not plan.keep:
        raise StudyError(
            f"keep rounds to no candidate of {plan.trials} trials",
            "Raise hpo.step2.keep or hpo.step1.trials.",
        )
    best = _distinct(rank(known.values(), plan.direction))
    if not best:
        raise StudyError(
            f"none of the {plan.trials} trials of step 1 is complete: {_told(known.values())}",
            "Read log.txt in the folders of the trials.",
        )
    candidates = [
        Candidate(rank=i, trial=r.trial, params=r.params, value=r.value or 0.0)
        for i, r in enumerate(best[: plan.keep], start=1)
    ]
    return Shortlist(study=plan.study, candidates=candidates, states=account(known.values()))


def select(plan: StudyPlan, chosen: Shortlist, results: Sequence[TrialResult]) -> Selection:
    """Name the winner: the best candidate of step 2.

    Raises
    ------
    StudyError
        If a candidate has no record or none is complete.
    """
    known = {r.trial: r for r in results if r.step == 2}
    if absent := [c.rank for c in chosen.candidates if c.trial not in known]:
        raise StudyError(
            f"{len(absent)} of {len(chosen.candidates)} candidates have no result: rank {_few(absent)}",
            "Run the step-2 tasks of these ranks again.",
        )
    trained = [known[c.trial] for c in chosen.candidates]
    if not (best := rank(trained, plan.direction)):
        raise StudyError(
            f"none of the {len(trained)} candidates of step 2 is complete: {_told(trained)}",
            "Read log.txt in the folders of the candidates.",
        )
    winner = best[0]
    return Selection(
        study=plan.study,
        trial=winner.trial,
        step=2,
        params=winner.params,
        value=winner.value or 0.0,
        step1_value=next(c.value for c in chosen.candidates if c.trial == winner.trial),
        result=winner,
    )


def _distinct(results: Iterable[TrialResult]) -> list[TrialResult]:
    seen: dict[str, TrialResult] = {}
    for result in results:
        seen.setdefault(json.dumps(result.params, sort_keys=True), result)
    return list(seen.values())


def _told(results: Iterable[TrialResult]) -> str:
    rows = list(results)
    states = ", ".join(f"{count} {state}" for state, count in account(rows).items())
    reason = next((r.reason for r in rows if r.reason), "")
    return f"{states}; the first says: {reason}" if reason else states


def _few(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(n) for n in numbers[:8])
    return f"{shown} and {len(numbers) - 8} more" if len(numbers) > 8 else shown
