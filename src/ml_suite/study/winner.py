"""Name the winner of step 2."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_suite.errors import StudyError
from ml_suite.quantities import format_fraction, fraction
from ml_suite.study import front
from ml_suite.study.contract import (
    Candidate,
    SearchPlan,
    Selection,
    Shortlist,
    StudyPlan,
    TrialResult,
)
from ml_suite.study.ranking import few, judged, judged_by, rank, signed, told, weight

Known = Mapping[tuple[int, int], TrialResult]
"""Results of step 2 by trial and replicate."""


@dataclass(frozen=True)
class _Rival:
    """A candidate that can win."""

    candidate: Candidate
    results: tuple[TrialResult, ...]
    """Its complete trainings, the best first."""
    value: float
    """What they say of it."""


def finalists(plan: SearchPlan, chosen: Shortlist, results: Sequence[TrialResult]) -> list[int]:
    """Trials that are trained again with other seeds, the best first; none if the study has no finalists.

    Raises
    ------
    StudyError
        If a candidate has no record or none is complete.
    """
    known = _known(results)
    _require_results(plan, chosen, known)
    if plan.choice.replicates < 2:
        return []
    first = [known[c.trial, 0] for c in chosen.candidates if c.role != "control"]
    return [r.trial for r in rank(first, plan.direction)[: plan.choice.finalists]]


def select(plan: SearchPlan, chosen: Shortlist, results: Sequence[TrialResult]) -> Selection:
    """Name the winner: of the finalists, where there are some, else of all candidates; never a control.

    The value of a finalist is the mean of its further trainings where there are two or more, for the first is the one
    by which it was chosen; its weights are those of the best of all. A finalist of which a training was lost comes
    after those that were trained as often as they should.

    Raises
    ------
    StudyError
        If a candidate or a replicate has no record, or none is complete.
    """
    known = _known(results)
    last = finalists(plan, chosen, results)
    _require_replicates(plan, last, known)
    rivals = [
        rival
        for c in chosen.candidates
        if c.role != "control" and (not last or c.trial in last)
        if (rival := _rival(plan, c, known)) is not None
    ]
    whole = max(len(r.results) for r in rivals)
    rivals = [r for r in rivals if len(r.results) == whole]
    best = min(rivals, key=lambda r: (signed(r.value, plan.direction), r.candidate.trial))
    winner, reason = _judge(plan, rivals, best)
    return Selection(
        study=plan.study,
        trial=winner.candidate.trial,
        step=2,
        params=winner.candidate.params,
        value=winner.value,
        step1_value=winner.candidate.value,
        result=winner.results[0],
        replicates=[r.value or 0.0 for r in sorted(winner.results, key=lambda r: r.replicate)]
        if last
        else [],
        judged=judged_by(len(winner.results)),
        reason=reason,
        warnings=_warnings(plan, chosen, known, winner.value),
    )


def _known(results: Sequence[TrialResult]) -> dict[tuple[int, int], TrialResult]:
    return {(r.trial, r.replicate): r for r in results if r.step == 2}


def _rival(plan: SearchPlan, candidate: Candidate, known: Known) -> _Rival | None:
    trained = [
        known[candidate.trial, i] for i in range(plan.choice.replicates) if (candidate.trial, i) in known
    ]
    complete = rank(trained, plan.direction)
    if not complete:
        return None
    return _Rival(candidate, tuple(complete), judged({r.replicate: r.value or 0.0 for r in complete}))


def _warnings(plan: SearchPlan, chosen: Shortlist, known: Known, value: float) -> list[str]:
    """Say so where a control, which cannot win, did better than the winner."""
    controls = [known[c.trial, 0] for c in chosen.candidates if c.role == "control"]
    best = next(iter(rank(controls, plan.direction)), None)
    if best is None or signed(best.value or 0.0, plan.direction) >= signed(value, plan.direction):
        return []
    return [
        f"trial {best.trial}, a control from the middle of step 1, reached {best.value:.6g}, which is better: the "
        "ranking of step 1 is worth little here; try a larger subset"
    ]


def _judge(plan: SearchPlan, rivals: Sequence[_Rival], best: _Rival) -> tuple[_Rival, str]:
    """Return the winner, and why it is not the one with the best value."""
    rule = plan.choice.select
    if rule == "best":
        return best, ""
    weights = {r.candidate.trial: weight(r.results[0], plan.choice.against) for r in rivals}
    what = "parameters" if plan.choice.against == "parameters" else "seconds of a forward pass"
    if rule == "pareto":
        points = [
            front.Point(signed(r.value, plan.direction), weights[r.candidate.trial], r.candidate.trial)
            for r in rivals
        ]
        trial = front.balance(points).trial
        winner = next(r for r in rivals if r.candidate.trial == trial)
        why = f"the best balance of {plan.metric} and {what}"
    else:
        share = _tolerance(rule)
        limit = share * abs(best.value)
        near = [r for r in rivals if abs(r.value - best.value) <= limit]
        winner = min(
            near,
            key=lambda r: (weights[r.candidate.trial], signed(r.value, plan.direction), r.candidate.trial),
        )
        why = f"the lightest within {format_fraction(share)} of the best"
    if winner is best:
        return best, ""
    b, w = best.candidate.trial, winner.candidate.trial
    return winner, (
        f"{why}: {weights[w]:.6g} {what} at {winner.value:.6g}; the best is trial {b} with {weights[b]:.6g} at "
        f"{best.value:.6g}"
    )


def _tolerance(rule: str) -> float:
    found = re.fullmatch(r"lightest within (.+)", rule)
    if found is None:
        raise StudyError(
            f"a winner cannot be chosen by {rule!r}",
            "Write best, pareto, or lightest within 5% in hpo.step2.select.",
        )
    return fraction(found[1])


def _require_replicates(plan: SearchPlan, last: Sequence[int], known: Known) -> None:
    absent = [t for t in last if any((t, i) not in known for i in range(1, plan.choice.replicates))]
    if absent:
        raise StudyError(
            f"{len(absent)} of {len(last)} finalists have fewer trainings than {plan.choice.replicates}: "
            f"trial {few(absent)}",
            "Run their replicates."
            if isinstance(plan, StudyPlan)
            else "Run the study again: it trains what is missing.",
        )


def _require_results(plan: SearchPlan, chosen: Shortlist, known: Known) -> None:
    """Look whether each candidate was trained.

    Raises
    ------
    StudyError
        If a candidate has no record or none is complete.
    """
    if absent := [c.rank for c in chosen.candidates if (c.trial, 0) not in known]:
        raise StudyError(
            f"{len(absent)} of {len(chosen.candidates)} candidates have no result: rank {few(absent)}",
            "Run the step-2 tasks of these ranks again."
            if isinstance(plan, StudyPlan)
            else "Run the study again: it trains what is missing.",
        )
    rivals = [known[c.trial, 0] for c in chosen.candidates if c.role != "control"]
    if not rank(rivals, plan.direction):
        raise StudyError(
            f"none of the {len(rivals)} candidates of step 2 is complete: {told(rivals)}",
            "Read log.txt in the folders of the candidates."
            if plan.trainer != "mlp"
            else "Train fewer epochs, or choose other candidates: hpo.step2.",
        )
