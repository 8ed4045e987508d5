"""Numbers of the report; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations

from ml_suite.report.model import Account, Cost, Failure, Row, StepCost
from ml_suite.study.contract import Selection, TrialResult, TrialState
from ml_suite.study.two_step import rank

NOT_RUN = "not run"
FORMULA = "one step = number of trials x mean time of a complete candidate of step 2"


def rows(results: Sequence[TrialResult], direction: str, selection: Selection | None) -> list[Row]:
    """One row a training, by step and trial, ranked within its step."""
    places = {}
    for step in {r.step for r in results}:
        for place, result in enumerate(rank([r for r in results if r.step == step], direction), start=1):
            places[result.step, result.trial] = place
    return [_row(r, places.get((r.step, r.trial)), selection) for r in results]


def _row(result: TrialResult, place: int | None, selection: Selection | None) -> Row:
    won = selection is not None and (selection.step, selection.trial) == (result.step, result.trial)
    return Row(
        step=result.step,
        trial=result.trial,
        rank=place,
        state=result.state,
        reason=result.reason,
        value=result.value,
        best=result.best,
        params=result.params,
        parameters=result.parameters,
        seconds=result.seconds,
        host=result.host,
        started=result.started,
        history=result.history,
        winner=won,
    )


def account(rows: Iterable[Row], planned: Mapping[int, int]) -> list[Account]:
    """Trials by state and step; those without a record are counted too."""
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


def cost(results: Sequence[TrialResult], gpus: Mapping[int, int], trials: int) -> Cost:
    """Time of both steps, and an estimate for training every trial on everything.

    Parameters
    ----------
    gpus
        GPUs of one training by step.
    trials
        Trials of step 1.
    """
    steps = [_step(step, [r for r in results if r.step == step], gpus) for step in sorted(gpus)]
    seconds = sum(step.seconds for step in steps)
    full = [r.seconds for r in results if r.step == 2 and r.state is TrialState.COMPLETE]
    one_step = trials * sum(full) / len(full) if full and trials else None
    return Cost(
        steps=steps,
        seconds=seconds,
        one_step_seconds=one_step,
        share=seconds / one_step if one_step else None,
    )


def _step(step: int, results: Sequence[TrialResult], gpus: Mapping[int, int]) -> StepCost:
    seconds = sum(r.seconds for r in results)
    cpu = [r.cpu_seconds for r in results]
    return StepCost(
        step=step,
        trainings=len(results),
        seconds=seconds,
        gpu_hours=seconds * gpus[step] / 3600,
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


def step_pairs(rows: Iterable[Row]) -> list[tuple[Row, Row]]:
    """Each candidate as (step 1, step 2), where both have a value."""
    listed = list(rows)
    first = {row.trial: row for row in listed if row.step == 1 and row.value is not None}
    return [(first[r.trial], r) for r in listed if r.step == 2 and r.value is not None and r.trial in first]
