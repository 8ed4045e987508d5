"""The report in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ml_suite.report.model import Report, Row
from ml_suite.report.words import duration, headline, number, weights_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

SHOWN = 20
"""Rows in the terminal; the page has them all."""


def show(report: Report, console: Console) -> None:
    """Print it."""
    from rich.text import Text

    name = f"{report.suite}, cycle {report.cycle}" if report.cycle else report.suite
    console.print(Text(name, style="bold"))
    console.print(Text(headline(report)))
    if words := weights_line(report):
        console.print(Text(words))
    for words in report.warnings:
        console.print(Text(f"{words[0].upper()}{words[1:]}.", style="yellow"))
    if report.certificate:
        console.print(Text(report.certificate.sentence))
    for words in report.missing:
        console.print(Text(f"not there yet: {words}", style="yellow"))
    rows = sorted((r for r in report.rows), key=lambda r: (-r.step, r.rank or 10**9, r.trial))
    if rows:
        console.print(_trainings(rows[:SHOWN]))
    if len(rows) > SHOWN:
        console.print(
            Text(f"and {len(rows) - SHOWN} more: ml-suite report {report.suite} --html report.html")
        )
    for account in report.account:
        states = ", ".join(f"{count} {state}" for state, count in account.states.items())
        name = f"step {account.step}" if account.step else "training"
        console.print(Text(f"{name}: {account.planned} planned: {states}"))
    for failure in report.failures:
        reason = failure.reason or "no reason given"
        trials = ", ".join(map(str, failure.trials[:8])) + (", …" if len(failure.trials) > 8 else "")
        console.print(
            Text(f"  step {failure.step}, {failure.state.value}, trial {trials}: {reason}", style="red")
        )
    _cost(report, console)
    _links(report, console)


def _trainings(rows: list[Row]) -> Table:
    from rich.table import Table
    from rich.text import Text

    names = sorted({name for row in rows for name in row.params})
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("step", "trial", "rank"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for name in ("value", *names, "time"):
        table.add_column(Text(name.rsplit(".", 1)[-1]), justify="right")
    for row in rows:
        params = [row.params.get(name, "") for name in names]
        cells = [row.step, row.trial, row.rank or "", row.state.value, number(row.value, 6)]
        cells += [number(v, 4) if isinstance(v, float) else v for v in params]
        style = "bold green" if row.winner else ""
        table.add_row(*(Text(str(cell)) for cell in [*cells, duration(row.seconds)]), style=style)
    return table


def _cost(report: Report, console: Console) -> None:
    from rich.text import Text

    if report.cost is None:
        return
    for step in report.cost.steps:
        gpus = f", {number(step.gpu_hours, 4)} GPU hours" if step.gpu_hours else ""
        name = f"step {step.step}" if step.step else "training"
        console.print(Text(f"cost of {name}: {step.trainings} trainings, {duration(step.seconds)}{gpus}"))
    if report.cost.one_step_seconds is not None and report.cost.share is not None:
        console.print(
            Text(
                f"in one step about {duration(report.cost.one_step_seconds)} ({report.cost.method}); "
                f"the study took {report.cost.share:.1%} of it"
            )
        )


def _links(report: Report, console: Console) -> None:
    from rich.text import Text

    links = {"MLflow": report.links.mlflow, "catalogue": report.links.catalogue, **report.links.objects}
    for what, address in links.items():
        if address:
            console.print(Text(f"{what}: {address}"), soft_wrap=True)
