"""``ml-suite study trials``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from ml_suite.cli.options import json_option, print_json, print_table

if TYPE_CHECKING:
    from ml_suite.study.contract import SearchPlan, TrialResult

SORTS = ("rank", "trial", "parameters", "time")


@click.command(
    epilog="""\b
Examples:
  ml-suite study trials aerosol --top 10
  ml-suite study trials aerosol --step 2 --sort parameters
  ml-suite study trials aerosol --filter 'layers in [2, 3] and state == "complete"' --json"""
)
@click.argument("name")
@click.option("--step", type=click.IntRange(1, 2), help="Only trainings of one step.")
@click.option(
    "--sort", type=click.Choice(SORTS), default="rank", show_default=True, help="Order of the rows."
)
@click.option("--top", type=click.IntRange(min=1), help="Only so many rows.")
@click.option(
    "--filter", "text", help="Only trainings for which this is true, of hyperparameters and columns."
)
@json_option
def command(name: str, step: int | None, sort: str, top: int | None, text: str | None, as_json: bool) -> None:
    """List the trainings of the study NAME, the best first."""
    from ml_suite.cli import study_words as words
    from ml_suite.search.look import find, look

    known = look(find(name))
    rows = [r for r in known.results if step is None or r.step == step]
    rows = sorted(_filtered(known.plan, rows, text), key=lambda r: _place(r, sort, known.plan.direction))
    shown = rows[:top]
    if as_json:
        print_json([r.model_dump(mode="json") for r in shown])
        return
    if not shown:
        click.echo("There is no such training." if known.results else "Nothing is trained yet.")
        return
    print_table(words.trials_table(shown))
    if len(shown) < len(rows):
        click.echo(f"{len(shown):,} of {len(rows):,} trainings")


def _filtered(plan: SearchPlan, rows: list[TrialResult], text: str | None) -> list[TrialResult]:
    from ml_suite.study import expressions

    if text is None:
        return rows
    columns = ("step", "trial", "replicate", "state", "value", "parameters", "epochs", "seconds")
    holds = expressions.compile(text, [*plan.space, *columns])
    kept = []
    for row in rows:
        told = {column: getattr(row, column) for column in columns if getattr(row, column) is not None}
        if holds(told | {"state": row.state.value} | row.params):
            kept.append(row)
    return kept


def _place(row: TrialResult, sort: str, direction: str) -> tuple[float, ...]:
    from ml_suite.study.contract import TrialState
    from ml_suite.study.ranking import signed

    if sort == "trial":
        return -row.step, row.trial, row.replicate
    if sort == "parameters":
        return row.parameters or math.inf, row.trial, -row.step
    if sort == "time":
        return -row.seconds, row.trial, -row.step
    order = list(TrialState).index(row.state)
    worth = math.inf if row.value is None else signed(row.value, direction)
    return -row.step, order, worth, row.trial, row.replicate
