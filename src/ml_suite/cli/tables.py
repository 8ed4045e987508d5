"""The status of a suite as a table for a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ml_suite.server.status import FamilyRow, Status, TaskRow

# the colours of ecFlowUI, as far as a terminal has them
STYLES = {
    "complete": "yellow",
    "active": "green",
    "submitted": "cyan",
    "aborted": "bold red",
    "queued": "blue",
    "unknown": "dim",
}
_BAR = 10


def status_table(seen: Status) -> Group:
    """Everything of a status, from the whole to what needs a look."""
    parts: list[RenderableType] = [_title(seen), "", _families(seen.families)]
    running = [row for row in seen.tasks if row.state != "aborted"]
    if running:
        parts += ["", _running(running)]
    for row in seen.tasks:
        if row.state == "aborted":
            parts += ["", _aborted(row)]
    if facts := _facts(seen):
        parts += ["", *facts]
    return Group(*parts)


def _title(seen: Status) -> Text:
    text = Text.assemble((seen.suite, "bold"), "  ", (seen.state, STYLES[seen.state]))
    if seen.suspended:
        text.append(f"  suspended (resume: ecflow_client --resume=/{seen.suite})", "magenta")
    return text


def _families(rows: tuple[FamilyRow, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("family")
    states = [state for state in STYLES if any(state in row.counts for row in rows)]
    for state in states:
        table.add_column(state, justify="right")
    for row in rows:
        depth = row.path.count("/") - 2
        name = Text("  " * depth + row.path.rpartition("/")[2], STYLES[row.state])
        if row.suspended:
            name.append(" suspended", "magenta")
        table.add_row(
            name,
            *(Text(str(row.counts.get(s, "-")), STYLES[s] if s in row.counts else "dim") for s in states),
        )
    return table


def _running(rows: list[TaskRow]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("task", "state", "try", "progress", "said"):
        table.add_column(column, justify="right" if column == "try" else "left")
    for row in rows:
        bars = "  ".join(f"{m.name} {_bar(m.value, m.low, m.high)} {m.value}" for m in row.meters)
        said = "; ".join(f"{name}: {value}" for name, value in row.labels.items())
        # what jobs say is text, not markup
        table.add_row(
            Text(row.path), Text(row.state, STYLES[row.state]), str(row.tries), Text(bars), Text(said)
        )
    return table


def _bar(value: int, low: int, high: int) -> str:
    done = round(_BAR * (value - low) / (high - low)) if high > low else 0
    return "━" * done + "─" * (_BAR - done)


def _aborted(row: TaskRow) -> Text:
    text = Text.assemble((row.path, "bold"), " ", ("aborted", STYLES["aborted"]))
    text.append(f" (try {row.tries}): {row.reason or 'no reason given'}")
    if row.output:
        text.append(f"\n  output: {row.output}")
    text.append(f"\n  ecflow_client --file={row.path} jobout")
    return text


def _facts(seen: Status) -> list[Text]:
    facts = []
    if study := seen.study:
        line = f"step 1: {study.percent} % of the trials, {study.shards_complete} of {study.shards} shards complete"
        if study.candidates:
            line += f"   step 2: {study.candidates_complete} of {study.candidates} candidates retrained"
        facts.append(Text(line))
        if study.winner:
            facts.append(Text(f"winner: {study.winner}"))
        elif study.best:
            facts.append(Text(f"best so far: {study.best}"))
    if seen.limits:
        facts.append(Text("limits: " + ", ".join(f"{r.name} {r.used}/{r.limit}" for r in seen.limits)))
    facts += [Text(f"delivered: {said} ({path})") for path, said in seen.delivered.items()]
    return facts
