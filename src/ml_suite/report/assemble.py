"""Make a report of what a study left, whatever kind of study it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ml_suite.report import summary
from ml_suite.report.model import Cost, CostModel, Prediction, Report, Row
from ml_suite.study.certificate import Certificate
from ml_suite.study.contract import SearchPlan, Selection, Shortlist, TrialResult
from ml_suite.study.cost import epochs_left


@dataclass(frozen=True)
class Found:
    """What there is of a study."""

    results: Sequence[TrialResult]
    plan: SearchPlan | None = None
    chosen: Shortlist | None = None
    selection: Selection | None = None
    planned: Mapping[int, int] | None = None
    """Trainings by step, where the plan does not say."""
    gpus: Mapping[int, int] = field(default_factory=lambda: {1: 0, 2: 0})
    """Of one training by step."""
    pilot: Sequence[TrialResult] = ()
    certificate: Certificate | None = None
    predictions: Sequence[Prediction] = ()


def assemble(found: Found, name: str, made: datetime, searching: bool = True) -> Report:
    """Everything that both kinds of study have; what belongs to one kind is filled in by its caller."""
    plan, selection = found.plan, found.selection
    direction = plan.direction if plan else "minimize"
    rows = summary.rows(found.results, direction, selection, found.chosen)
    pairs = [
        (p.first.value, p.value)
        for p in summary.step_pairs(rows)
        if p.first.value is not None and p.second.role != "control"
    ]
    search = plan if searching else None
    cost = None
    if found.results:
        cost = summary.cost(found.results, found.gpus, search, found.pilot)
    return Report(
        suite=name,
        made=made,
        state="selected" if selection else "running" if found.results else "empty",
        missing=[],
        study=plan.study if plan else None,
        metric=plan.metric if plan else selection.result.metric if selection else None,
        direction=direction,
        seed=plan.seed if plan else None,
        subset=search.subset if search else None,
        keep=plan.keep if plan else None,
        trials=search.trials if search else None,
        sampling=search.sampling if search else None,
        epochs=plan.epochs if plan else {},
        rungs=plan.rungs.at if plan and plan.rungs else [],
        trainer=plan.trainer if plan else None,
        space=plan.space if plan else {},
        software=plan.software if plan else {},
        winner=next((row for row in rows if row.winner), None),
        value=selection.value if selection else None,
        step1_value=selection.step1_value if selection else None,
        replicates=selection.replicates if selection else [],
        judged=selection.judged if selection else "",
        reason=selection.reason if selection else "",
        warnings=selection.warnings if selection else [],
        test={k: v for k, v in selection.result.metrics.items() if k.startswith("test")} if selection else {},
        rows=rows,
        account=summary.account(rows, found.planned or _planned(found)),
        failures=summary.failures(rows),
        rank_correlation=summary.kendall_tau(pairs),
        cost=cost,
        cost_model=cost_model(search, cost, rows, found.chosen) if search and cost else None,
        certificate=found.certificate,
        predictions=list(found.predictions),
    )


def _planned(found: Found) -> dict[int, int]:
    if found.plan is None:
        return {}
    choice, kept = found.plan.choice, found.plan.keep
    if found.chosen is not None:
        candidates = found.chosen.candidates
        second = len(candidates) + choice.again(sum(c.role != "control" for c in candidates))
    else:
        second = (kept if choice.narrow is None else 1 + choice.narrow) + choice.controls + choice.again()
    return {1: found.plan.trials, 2: second}


def cost_model(
    plan: SearchPlan, cost: Cost, rows: Sequence[Row], chosen: Shortlist | None
) -> CostModel | None:
    """What trainings of this study cost, for other choices of its shares; None before both steps have some.

    A trial of step 1 that took longer than its part of the data and of the epochs accounts for has that much overhead;
    if it took less, because trials stopped early, its time is in proportion to the data.
    """
    first = [r.seconds for r in rows if r.step == 1]
    second = [r.seconds for r in rows if r.step == 2]
    if not first or not second or not cost.one_step_seconds or not plan.subset:
        return None
    each = cost.one_step_seconds / plan.trials
    mean = sum(first) / len(first) / each
    epochs = plan.epochs.get("step1", 1)
    shorter = epochs / max(1, plan.epochs.get("step2", 1)) * epochs_left(plan.rungs, epochs)
    expected = plan.subset * shorter
    finished = len(first) >= plan.trials and chosen is not None and len(second) >= len(chosen.candidates)
    return CostModel(
        subset=plan.subset,
        keep=len(second) / plan.trials,
        step1=min(shorter, mean / plan.subset),
        overhead=max(0.0, mean - expected),
        step2=sum(second) / len(second) / each,
        pilot=cost.pilot.seconds / cost.one_step_seconds if cost.pilot else 0.0,
        full_seconds=each,
        measured=cost.share if finished else None,
    )
