"""Numbers of the report; pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from ml_suite.report.model import Account, Cost, Failure, Row, StepCost
from ml_suite.study import cost as spending
from ml_suite.study.contract import SearchPlan, Selection, Shortlist, TrialResult, TrialState
from ml_suite.study.ranking import judged, rank

NOT_RUN = "not run"


def rows(
    results: Sequence[TrialResult],
    direction: str,
    selection: Selection | None,
    chosen: Shortlist | None = None,
) -> list[Row]:
    """One row a training, by step and trial, ranked within its step; trainings with other seeds have no rank."""
    places = {}
    for step in {r.step for r in results}:
        of_step = [
            r for r in results if r.step == step and not r.replicate and r.state is TrialState.COMPLETE
        ]
        for place, result in enumerate(rank(of_step, direction), start=1):
            places[result.step, result.trial] = place
    roles = {c.trial: c.role for c in chosen.candidates} if chosen else {}
    return [
        _row(r, None if r.replicate else places.get((r.step, r.trial)), selection, roles.get(r.trial))
        for r in results
    ]


def _row(result: TrialResult, place: int | None, selection: Selection | None, role: Any) -> Row:
    won = selection is not None and (selection.step, selection.trial) == (result.step, result.trial)
    return Row(
        step=result.step,
        trial=result.trial,
        replicate=result.replicate,
        rank=place,
        role=role,
        state=result.state,
        reason=result.reason,
        value=result.value,
        best=result.best,
        params=result.params,
        depth=depth(result.params),
        parameters=result.parameters,
        inference_seconds=result.inference_seconds,
        epochs=result.epochs,
        seconds=result.seconds,
        host=result.host,
        started=result.started,
        history=result.history,
        winner=won and not result.replicate,
    )


def value(row: Row) -> float | None:
    """What a training reached; of one that was cut, its best so far; None when it is not a finite number."""
    found = row.best if row.value is None and row.state is TrialState.PRUNED else row.value
    return found if found is not None and math.isfinite(found) else None


def depth(params: Mapping[str, Any]) -> int | None:
    """Hidden layers, told by a hyperparameter that ends in ``layers`` or by the longest list.

    >>> depth({"model.num_layers": 4, "lr": 0.1}), depth({"units": [64, 32]}), depth({"lr": 0.1})
    (4, 2, None)
    """
    for name, value in params.items():
        if name.rsplit(".", 1)[-1].endswith("layers") and type(value) is int:
            return value
    return max((len(value) for value in params.values() if isinstance(value, list)), default=None)


def account(rows: Iterable[Row], planned: Mapping[int, int]) -> list[Account]:
    """Trainings by state and step; those without a record are counted too."""
    listed = list(rows)
    accounts = []
    for step, number in planned.items():
        states = Counter(row.state.value for row in listed if row.step == step)
        ordered = {state.value: states[state.value] for state in TrialState if states[state.value]}
        if (absent := number - states.total()) > 0:
            ordered[NOT_RUN] = absent
        accounts.append(Account(step=step, planned=number, states=ordered))
    return accounts


def failures(rows: Iterable[Row]) -> list[Failure]:
    """Trainings that are not complete, those with the same reason together."""
    grouped: dict[tuple[int, TrialState, str], list[int]] = {}
    for row in rows:
        if row.state is not TrialState.COMPLETE:
            grouped.setdefault((row.step, row.state, row.reason), []).append(row.trial)
    return [
        Failure(step=step, state=state, reason=reason, trials=trials)
        for (step, state, reason), trials in sorted(grouped.items())
    ]


def cost(
    results: Sequence[TrialResult],
    gpus: Mapping[int, int],
    plan: SearchPlan | None,
    pilot: Sequence[TrialResult] = (),
) -> Cost:
    """Time of both steps and the pilot, and an estimate for training every trial on everything.

    Parameters
    ----------
    gpus
        GPUs of one training by step.
    plan
        None: nothing is searched.
    pilot
        Trainings behind the certificate.
    """
    first, second = ([r for r in results if r.step == step] for step in (1, 2))
    estimate = spending.account(plan, first, second)
    steps = [_step(step, [r for r in results if r.step == step], gpus.get(step, 0)) for step in sorted(gpus)]
    before = _step(0, pilot, gpus.get(1, 0)) if pilot else None
    seconds = sum(step.seconds for step in steps) + (before.seconds if before else 0.0)
    one_step = estimate.one_step_seconds
    return Cost(
        steps=steps,
        seconds=seconds,
        one_step_seconds=one_step,
        share=seconds / one_step if one_step else None,
        method=estimate.method,
        pilot=before,
    )


def _step(step: int, results: Sequence[TrialResult], gpus: int) -> StepCost:
    seconds = sum(r.seconds for r in results)
    cpu = [r.cpu_seconds for r in results]
    return StepCost(
        step=step,
        trainings=len(results),
        seconds=seconds,
        gpu_hours=seconds * gpus / 3600,
        cpu_hours=sum(c for c in cpu if c is not None) / 3600 if cpu and None not in cpu else None,
    )


def kendall_tau(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Rank correlation (tau-a) of pairs of values; None below three pairs.

    >>> kendall_tau([(1.0, 10.0), (2.0, 20.0), (3.0, 15.0)])
    0.3333333333333333
    """
    if len(pairs) < 3:
        return None
    score = sum(_sign((a[0] - b[0]) * (a[1] - b[1])) for a, b in combinations(pairs, 2))
    return score / (len(pairs) * (len(pairs) - 1) / 2)


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


@dataclass(frozen=True)
class Pair:
    """A candidate in both steps."""

    first: Row
    second: Row
    """With the study's seed."""
    seeds: Mapping[int, float]
    """Values in step 2 by replicate."""

    @property
    def values(self) -> tuple[float, ...]:
        """In step 2, with each seed."""
        return tuple(self.seeds.values())

    @property
    def value(self) -> float:
        """What the seeds say."""
        return judged(self.seeds)


def step_pairs(rows: Iterable[Row]) -> list[Pair]:
    """Each candidate that has a value in both steps."""
    listed = list(rows)
    first = {row.trial: row for row in listed if row.step == 1 and row.value is not None}
    values: dict[int, dict[int, float]] = {}
    for row in listed:
        if row.step == 2 and row.value is not None and row.state is TrialState.COMPLETE:
            values.setdefault(row.trial, {})[row.replicate] = row.value
    return [
        Pair(first[r.trial], r, values[r.trial])
        for r in listed
        if r.step == 2 and not r.replicate and r.trial in first and r.trial in values and r.value is not None
    ]
