"""Whatever a study holds, its report can be made."""

from __future__ import annotations

import json
import math
from datetime import datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ml_suite.report.assemble import Found, assemble
from ml_suite.report.figure import Curves, Line
from ml_suite.report.figures import figures
from ml_suite.report.interactive import plots
from ml_suite.report.page import render
from ml_suite.study.contract import (
    Candidate,
    HistoryPoint,
    Rungs,
    SearchPlan,
    Selection,
    Shortlist,
    TrialResult,
    TrialState,
)

VALUES = st.one_of(
    st.none(), st.just(0.0), st.just(math.inf), st.floats(-1e9, 1e9), st.floats(1e-9, 1e-3), st.just(1e300)
)
PARAMETERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**9),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.lists(st.integers(1, 64), max_size=4),
)
HISTORY = st.lists(st.one_of(st.none(), st.floats(-1e3, 1e3)), max_size=4)


@st.composite
def results(draw: st.DrawFn, step: int) -> list[TrialResult]:
    count = draw(st.integers(0, 24 if step == 1 else 9))
    made = []
    for i in range(count):
        replicate = draw(st.sampled_from([0, 0, 0, 1])) if step == 2 else 0
        made.append(
            TrialResult(
                study="s",
                trial=i if not replicate else i - 1 if i else 0,
                step=step,
                replicate=replicate,
                state=draw(st.sampled_from([TrialState.COMPLETE, *TrialState])),
                params={name: draw(PARAMETERS) for name in ("layers", "units", "a.b")},
                metric="m",
                value=draw(VALUES),
                best=draw(VALUES),
                history=[HistoryPoint(epoch=e, step=10 * e, value=v) for e, v in enumerate(draw(HISTORY))],
                seconds=draw(st.sampled_from([0.0, 1e-3, 10.0, 1e5])),
                parameters=draw(st.sampled_from([None, 0, 7, 10**7])),
                inference_seconds=draw(st.sampled_from([None, 0.0, 1e-6, 0.1])),
                started=datetime(2026, 1, 1),
                ended=datetime(2026, 1, 2),
                host="h",
            )
        )
    return made


@st.composite
def studies(draw: st.DrawFn) -> Found:
    first, second = draw(results(1)), draw(results(2))
    plan = SearchPlan(
        study="s",
        suite="any",
        metric="m",
        direction=draw(st.sampled_from(["minimize", "maximize"])),
        seed=0,
        space={"units": {"choice": [1, 2], "per": "layers"}, "a.b": {"log": [1e-3, 1.0]}},
        trials=max(2, len(first)),
        keep=2,
        subset=draw(st.sampled_from([1e-4, 0.05, 1.0])),
        shards=1,
        epochs={"step1": 3, "step2": 9},
        rungs=draw(st.sampled_from([None, Rungs(at=[1], keep=0.5, cohort=4)])),
        trainer="mlp",
        software={},
    )
    roles = ["ranked", "pareto", "control", "narrowed"]
    candidates = [
        Candidate(rank=n, trial=r.trial, params=r.params, value=r.value, role=draw(st.sampled_from(roles)))
        for n, r in enumerate(second, start=1)
    ]
    won = next((r for r in second if r.state is TrialState.COMPLETE and r.value is not None), None)
    selection = None
    if won is not None and math.isfinite(won.value or 0):
        selection = Selection(
            study="s",
            trial=won.trial,
            step=2,
            params=won.params,
            value=won.value or 0.0,
            step1_value=None,
            result=won,
        )
    return Found(
        results=first + second,
        plan=plan,
        chosen=Shortlist(study="s", candidates=candidates, states={}) if candidates else None,
        selection=selection,
    )


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(studies())
def test_any_study_has_a_report(found: Found) -> None:
    report = assemble(found, "any", datetime(2026, 1, 1))
    for figure in figures(report):
        for panel in figure.panels:
            for axis in (panel.x, panel.y):
                assert axis.range is None or axis.range[0] < axis.range[1]
        json.dumps(plots(figure), allow_nan=False)
    assert render(report).startswith("<!doctype html>")


def test_what_was_cut_ends_at_the_line_of_its_rung_and_a_control_is_one_in_both_steps() -> None:
    def result(trial: int, epochs: int, step: int = 1) -> TrialResult:
        return TrialResult(
            study="s",
            trial=trial,
            step=step,
            state=TrialState.COMPLETE if epochs == 4 else TrialState.PRUNED,
            params={"x": trial},
            metric="m",
            value=1.0 + trial if epochs == 4 else None,
            best=1.0 + trial,
            history=[HistoryPoint(epoch=e, step=5 * e + 5, value=2.0 + trial - e / 9) for e in range(epochs)],
            seconds=1.0,
            started=datetime(2026, 1, 1),
            ended=datetime(2026, 1, 2),
            host="h",
        )

    plan = SearchPlan(
        study="s",
        suite="any",
        metric="m",
        direction="minimize",
        seed=0,
        space={"x": {"int": [0, 3]}},
        trials=4,
        keep=1,
        subset=0.5,
        shards=1,
        epochs={"step1": 4, "step2": 4},
        rungs=Rungs(at=[2], keep=0.5, cohort=4),
        trainer="command",
        software={},
    )
    chosen = Shortlist(
        study="s",
        candidates=[
            Candidate(rank=1, trial=0, params={"x": 0}, value=1.0),
            Candidate(rank=2, trial=2, params={"x": 2}, value=None, role="control"),
        ],
        states={},
    )
    trained = [result(0, 4), result(1, 4), result(2, 2), result(3, 2), result(0, 4, 2), result(2, 4, 2)]
    report = assemble(Found(results=trained, plan=plan, chosen=chosen), "any", datetime(2026, 1, 3))
    first, second = next(f for f in figures(report) if f.id == "curves").panels
    (line,) = [layer for layer in first.layers if isinstance(layer, Line)]
    curves = {layer.name: layer.curves for layer in first.layers if isinstance(layer, Curves)}
    assert line.x[0] == curves["not chosen"][0].x[-1] == curves["control"][0].x[-1] == 2
    assert curves["candidate"][0].x == [1, 2, 3, 4]
    assert {layer.name for layer in second.layers if isinstance(layer, Curves)} == {"candidate", "control"}
