"""How a suite is doing, from its definition: pure."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from ml_suite.server.definition import BUSY, Definition, Node, attributes

Outcome = Literal["complete", "aborted"]
_NUMBER = re.compile(r"([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)")
STATES = ("complete", "active", "submitted", "aborted", "queued", "unknown")


@dataclass(frozen=True)
class FamilyRow:
    """A family and the states of the tasks below it, cron tasks left out."""

    path: str
    state: str
    counts: dict[str, int]
    """Tasks by state; states without tasks are left out."""
    suspended: bool


@dataclass(frozen=True)
class Meter:
    """Progress of a task."""

    name: str
    value: int
    low: int
    high: int


@dataclass(frozen=True)
class TaskRow:
    """A task that runs, waits for its job, or has failed."""

    path: str
    state: str
    tries: int
    reason: str
    """Why it aborted; empty otherwise."""
    meters: tuple[Meter, ...]
    labels: dict[str, str]
    """What the job said last; labels that nobody set are left out."""
    output: str
    """File that the job writes, seen by the server."""


@dataclass(frozen=True)
class LimitRow:
    """A limit of the suite."""

    name: str
    used: int
    limit: int


@dataclass(frozen=True)
class Study:
    """The search, as far as its tasks have told."""

    shards: int
    shards_complete: int
    percent: int
    """Trials of step 1 that are done."""
    best: str
    """Best value that a shard has told, in its words."""
    candidates: int
    candidates_complete: int
    winner: str


@dataclass(frozen=True)
class Behind:
    """How far deliveries of another machine are behind, as its courier told last."""

    host: str
    parcels: int
    """Known here and not delivered."""
    oldest: str | None
    """When the one that waits longest was left there, ISO 8601."""
    contact: str | None
    """When the machine last answered, ISO 8601."""
    said: str
    """The same in words, with what is in the way."""
    hint: str | None
    """What to type, if a person has to do something."""


@dataclass(frozen=True)
class Status:
    """Everything that `ml-suite status` shows."""

    suite: str
    state: str
    suspended: bool
    outcome: Outcome | None
    """None while it runs."""
    families: tuple[FamilyRow, ...]
    tasks: tuple[TaskRow, ...]
    limits: tuple[LimitRow, ...]
    study: Study | None
    delivered: dict[str, str]
    """Last word of each task that delivers, by path."""
    states: dict[str, str]
    """State of every task that is not a cron task, by path."""
    behind: tuple[Behind, ...] = ()
    """Deliveries of the suite's other machines; not from the server."""


def status(definition: Definition, maximize: bool = False) -> Status:
    """Summarise a suite.

    Parameters
    ----------
    maximize
        The greatest value of the study is the best.
    """
    suite = definition.suite
    tasks = [n for n in definition.nodes.values() if n.kind == "task"]
    shown = [n for n in tasks if n.state in ("active", "submitted", "aborted")]
    return Status(
        suite=suite.name,
        state=suite.state,
        suspended=suite.suspended,
        outcome=outcome(definition),
        families=tuple(_families(definition)),
        tasks=tuple(_task(definition, n) for n in shown),
        limits=tuple(_limits(suite)),
        study=_study(tasks, maximize),
        delivered={n.path: said for n in tasks if (said := _labels(n).get("delivered"))},
        states={n.path: n.state for n in tasks if not is_cron(n)},
    )


def outcome(definition: Definition) -> Outcome | None:
    """How a suite ended; None while tasks run or can still be submitted.

    Cron tasks run for ever and do not count. A suite with an aborted task has ended when nothing runs.
    """
    states = {n.state for n in definition.nodes.values() if n.kind == "task" and not is_cron(n)}
    if states & BUSY or not states:
        return None
    if "aborted" in states:
        return "aborted"
    return "complete" if states == {"complete"} else None


def is_cron(node: Node) -> bool:
    """Whether a task starts again by the clock and so is never over."""
    return re.search(r"^ *cron ", node.structure, re.MULTILINE) is not None


def _families(definition: Definition) -> list[FamilyRow]:
    rows = []
    for node in definition.nodes.values():
        if node.kind != "family":
            continue
        below = [n for n in definition.below(node.path) if n.kind == "task" and not is_cron(n)]
        if not below:
            continue
        counts = Counter(n.state for n in below)
        ordered = {state: counts[state] for state in STATES if counts[state]}
        rows.append(FamilyRow(node.path, node.state, ordered, node.suspended))
    return rows


def _task(definition: Definition, node: Node) -> TaskRow:
    reason = node.facts.get("abort", "") if node.state == "aborted" else ""
    return TaskRow(
        node.path, node.state, node.tries, reason, _meters(node), _labels(node), _output(definition, node)
    )


def _meters(node: Node) -> tuple[Meter, ...]:
    found = []
    for attribute in attributes(node):
        if attribute.key[0] == "meter":
            low, high = map(int, attribute.value.split()[:2])
            found.append(Meter(attribute.key[1], int(attribute.runtime or low), low, high))
    return tuple(found)


def _labels(node: Node) -> dict[str, str]:
    values = {
        a.key[1]: a.runtime.strip('"').replace("\\n", " ") for a in attributes(node) if a.key[0] == "label"
    }
    return {name: value for name, value in values.items() if value}


def _limits(suite: Node) -> list[LimitRow]:
    rows = []
    for attribute in attributes(suite):
        if attribute.key[0] == "limit":
            used = int(attribute.runtime.split()[0]) if attribute.runtime else 0
            rows.append(LimitRow(attribute.key[1], used, int(attribute.value)))
    return rows


def _output(definition: Definition, node: Node) -> str:
    """Return ecFlow's ECF_JOBOUT: below ECF_OUT, else ECF_HOME, by path and try."""
    for path in (node.path, *definition.above(node.path)):
        found = re.search(
            r"^ *edit (?:ECF_OUT|ECF_HOME) '(.*)'$", definition.nodes[path].structure, re.MULTILINE
        )
        if found:
            return f"{found[1]}{node.path}.{node.tries}"
    return ""


def _study(tasks: list[Node], maximize: bool) -> Study | None:
    shards = [
        n
        for n in tasks
        if re.search(r"/hpo/step1/(round_\d+/)?[^/]+$", n.path) and "meter trials" in n.structure
    ]
    if not shards:
        return None
    candidates = [
        n for n in tasks if re.search(r"/hpo/step2/[^/]+$", n.path) and "meter epochs" in n.structure
    ]
    done = [
        100 if n.state == "complete" else m.value for n in shards for m in _meters(n) if m.name == "trials"
    ]
    bests = [label for n in shards if (label := _labels(n).get("best"))]
    winners = [label for n in tasks if (label := _labels(n).get("winner"))]
    return Study(
        shards=len(shards),
        shards_complete=sum(n.state == "complete" for n in shards),
        percent=sum(done) // len(done) if done else 0,
        best=_best(bests, maximize),
        candidates=len(candidates),
        candidates_complete=sum(n.state == "complete" for n in candidates),
        winner=winners[0] if winners else "",
    )


def _best(labels: list[str], maximize: bool) -> str:
    """Best of what the shards told; each begins with the value."""
    values = [(float(m[1]), label) for label in labels if (m := _NUMBER.match(label))]
    return (max(values) if maximize else min(values))[1] if values else ""


def news(before: Status | None, now: Status) -> list[str]:
    """What is new since the last look, one line each.

    The first look tells what is not queued. Aborted tasks come with their reason and the command to see their output.
    """
    old = before.states if before else {}
    rows = {row.path: row for row in now.tasks}
    said = {row.path: row.labels for row in before.tasks} if before else {}
    lines = []
    for path, state in now.states.items():
        row = rows.get(path)
        if state != old.get(path, "queued") and state != "unknown":
            reason = f": {row.reason or 'no reason given'}" if row and state == "aborted" else ""
            lines.append(f"{state:<9} {path}{reason}")
            if row and state == "aborted":
                lines.append(f"          output: {row.output}    ecflow_client --file={path} jobout")
        for name, value in (row.labels if row else {}).items():
            if said.get(path, {}).get(name) != value:
                lines.append(f"          {path} {name}: {value}")
    if before is None or before.suspended != now.suspended:
        lines += [f"suspended /{now.suite}    ecflow_client --resume=/{now.suite}"] if now.suspended else []
    if now.outcome and (before is None or before.outcome != now.outcome):
        lines.append(f"{now.outcome:<9} /{now.suite}")
    return lines
