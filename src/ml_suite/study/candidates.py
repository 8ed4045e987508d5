"""Choose the candidates of step 2."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ml_suite.config.search_rules import RESULTS
from ml_suite.errors import StudyError
from ml_suite.study import expressions, front, halving
from ml_suite.study.contract import Candidate, SearchPlan, Shortlist, StudyPlan, TrialResult, TrialState
from ml_suite.study.ranking import account, few, rank, signed, told, weight


def shortlist(plan: SearchPlan, results: Sequence[TrialResult]) -> Shortlist:
    """Choose the candidates of step 2.

    Complete trials go before pruned ones, which are chosen only where there are too few complete. A trial whose
    hyperparameters equal those of a better one is passed over: training it again would tell nothing.

    Raises
    ------
    StudyError
        If a trial has no record, none is complete, none fulfils the filter, or more are to be kept than there are.
    """
    known = {r.trial: r for r in results if r.step == 1 and not r.replicate and r.trial < plan.trials}
    if absent := sorted(set(range(plan.trials)) - set(known)):
        raise StudyError(
            f"{len(absent)} of {plan.trials} trials have no result: {few(absent)}", _again(plan, absent)
        )
    _require_keep(plan)
    complete = rank(known.values(), plan.direction)
    if not complete:
        raise StudyError(
            f"none of the {plan.trials} trials of step 1 is complete: {told(known.values())}",
            "Read log.txt in the folders of the trials."
            if plan.trainer != "mlp"
            else "Change hpo.space so that some of the trials can be trained.",
        )
    ranked = _distinct([*complete, *rank(known.values(), plan.direction, TrialState.PRUNED)])
    chosen = _chosen(plan, _filtered(plan, ranked))
    candidates = chosen if plan.choice.narrow is None else _narrowed(plan, chosen)
    controls = _controls(ranked, {c.trial for c in chosen}, plan.choice.controls)
    candidates += [
        Candidate(rank=i, trial=r.trial, params=r.params, value=r.value, role="control")
        for i, r in enumerate(controls, start=len(candidates) + 1)
    ]
    return Shortlist(study=plan.study, candidates=candidates, states=account(known.values()))


def _require_keep(plan: SearchPlan) -> None:
    if not plan.keep:
        raise StudyError(
            f"keep rounds to no candidate of {plan.trials} trials",
            "Raise hpo.step2.keep or hpo.step1.trials.",
        )
    if plan.keep > plan.trials:
        raise StudyError(
            f"{plan.keep} candidates cannot be kept of {plan.trials} trials",
            "Lower hpo.step2.keep or raise hpo.step1.trials.",
        )


def _filtered(plan: SearchPlan, ranked: Sequence[TrialResult]) -> list[TrialResult]:
    """Trials that fulfil the user's filter, of hyperparameters and of what step 1 found."""
    text = plan.choice.filter
    if text is None:
        return list(ranked)
    fulfils = expressions.compile(text, [*plan.space, *RESULTS])

    def told(place: int, result: TrialResult) -> dict[str, Any]:
        found = {"rank": place, **{name: getattr(result, name) for name in RESULTS if name != "rank"}}
        return {name: value for name, value in found.items() if value is not None} | result.params

    kept = [r for place, r in enumerate(ranked, start=1) if fulfils(told(place, r))]
    if not any(r.state is TrialState.COMPLETE for r in kept):
        raise StudyError(
            f"no complete trial of step 1 fulfils the filter: {text}", "Change hpo.step2.filter in the file."
        )
    return kept


def _chosen(plan: SearchPlan, ranked: Sequence[TrialResult]) -> list[Candidate]:
    """Candidates by rank, or from the Pareto fronts, the first ones first."""
    choice = plan.choice
    if choice.by == "rank":
        return [
            Candidate(rank=i, trial=r.trial, params=r.params, value=r.value)
            for i, r in enumerate(ranked[: plan.keep], start=1)
        ]
    # a pruned trial's value is of fewer epochs, so that it is never compared with complete ones
    complete = [r for r in ranked if r.state is TrialState.COMPLETE]
    points = [
        front.Point(signed(r.value or 0.0, plan.direction), weight(r, choice.against), r.trial)
        for r in complete
    ]
    known = {r.trial: r for r in complete}
    order = [point.trial for layer in front.layers(points) for point in layer][: plan.keep]
    return [
        Candidate(rank=i, trial=t, params=known[t].params, value=known[t].value, role="pareto")
        for i, t in enumerate(order, start=1)
    ]


def _narrowed(plan: SearchPlan, between: Sequence[Candidate]) -> list[Candidate]:
    """Return new trials, drawn between the candidates; the best candidate itself stays as the first."""
    from ml_suite.study import narrow

    best = between[0].model_copy(update={"rank": 1})
    drawn = narrow.trials(plan, [c.params for c in between])
    return [
        best,
        *(
            Candidate(rank=i, trial=trial, params=params, value=None, role="narrowed")
            for i, (trial, params) in enumerate(drawn, start=2)
        ),
    ]


def _controls(ranked: Sequence[TrialResult], taken: set[int], count: int) -> list[TrialResult]:
    """Trials from the middle of the ranking, nearest to it first."""
    middle = len(ranked) // 2
    free = [(abs(i - middle), i) for i, r in enumerate(ranked) if r.trial not in taken]
    return [ranked[i] for i in sorted(i for _, i in sorted(free)[:count])]


def _again(plan: SearchPlan, absent: Sequence[int]) -> str:
    if not isinstance(plan, StudyPlan):
        return "Run the study again: it trains what is missing."
    shards = sorted({halving.cohort_of(plan, trial) % plan.shards for trial in absent})
    return f"Run the tasks of these shards again: {few(shards)}."


def _distinct(results: Iterable[TrialResult]) -> list[TrialResult]:
    seen: dict[str, TrialResult] = {}
    for result in results:
        seen.setdefault(json.dumps(result.params, sort_keys=True), result)
    return list(seen.values())
