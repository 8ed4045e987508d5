"""``ml-suite status``: how a suite is doing, once or until it ends."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ml_suite.cli.options import DEPLOYMENT, console, json_option, next_step, print_json
from ml_suite.cli.plan import server_option

if TYPE_CHECKING:
    from rich.console import Group

    from ml_suite.config.deployment import Deployment
    from ml_suite.server.client import Server
    from ml_suite.server.status import Behind, Status

_PATIENCE = 120.0
"""Seconds that a server may be away while its suite is watched, as when it is started again."""


@click.command(
    epilog="""\b
Examples:
  ml-suite status demo
  ml-suite status suites/demo/deployment.yaml --watch
  ml-suite status demo --json
\b
Exit codes: 0 when the suite is complete or still runs, 1 when it has ended with aborted tasks."""
)
@click.argument("suite")
@click.option("--watch", is_flag=True, help="Follow the suite until it is complete or aborted.")
@click.option("--once", is_flag=True, help="Show it once; the default.")
@click.option("--every", type=click.FloatRange(min=0.2), default=2.0, metavar="SECONDS", help="With --watch.")
@json_option
@server_option
def command(suite: str, watch: bool, once: bool, every: float, as_json: bool, server: str | None) -> int:
    """Show how SUITE is doing: the name of a suite, or its deployment file.

    Aborted tasks are shown with their reason and the command that prints their output. With --watch and without a
    terminal, only what changes is printed, one line each.
    """
    if watch and (once or as_json):
        raise click.UsageError("--watch goes neither with --once nor with --json")
    from ml_suite.cli.plan import server_of
    from ml_suite.server.client import connect

    deployment = _deployment(suite)
    name = deployment.node if deployment else _node(suite)
    reached = connect(server_of(deployment, server))
    maximize = _maximize(deployment, suite)
    look = partial(read, reached, name, maximize)
    seen = _watch(look, every) if watch else look()
    if as_json:
        print_json(asdict(seen))
    elif not watch:
        _print(seen)
    if not as_json:
        if (
            seen.suspended or any(row.state == "aborted" for row in seen.tasks)
        ) and "ECF_HOST" not in os.environ:
            click.echo(f"For ecflow_client: {reached.address.exports}")
        _next(seen, deployment.suite if deployment else suite, watch)
    return 1 if seen.outcome == "aborted" else 0


def read(server: Server, suite: str, maximize: bool = False) -> Status:
    """Status of a suite.

    Parameters
    ----------
    maximize
        The greatest value of the study is the best.

    Raises
    ------
    MlSuiteError
        If it is not on the server.
    """
    from ml_suite.errors import MlSuiteError
    from ml_suite.server.status import status

    found = server.fetch(suite)
    if found is None:
        known = ", ".join(server.suites()) or "none"
        raise MlSuiteError(
            f"suite {suite} is not on the server at {server.address}",
            f"Deploy it: ml-suite deploy FILE    Suites there: {known}",
        )
    return replace(status(found, maximize), behind=_behind(suite))


def _behind(suite: str) -> tuple[Behind, ...]:
    """What the couriers of the hosts wrote down last; nobody is asked."""
    from datetime import UTC, datetime

    from ml_suite.home import home
    from ml_suite.jobs import behind
    from ml_suite.server.status import Behind

    now = datetime.now(UTC)
    rows = []
    for seen in behind.read_all(home()):
        for name, one in seen.suites.items():
            if _node(name) == suite:
                oldest, contact = (when.isoformat() if when else None for when in (one.oldest, seen.contact))
                rows.append(Behind(seen.host, one.parcels, oldest, contact, seen.words(now, name), seen.hint))
    return tuple(rows)


def _deployment(text: str) -> Deployment | None:
    """Deployment that TEXT is a file of; None when it is the name of a suite."""
    from ml_suite.config.source import load, parse

    path = Path(text).expanduser()
    path = path / DEPLOYMENT if (path / DEPLOYMENT).is_file() else path
    if path.is_file():
        return parse(load(path))
    if "/" in text or text.endswith((".yaml", ".yml")):
        raise click.BadParameter(f"there is no file {text}", param_hint="'SUITE'")
    return None


def _maximize(deployment: Deployment | None, suite: str) -> bool:
    """Whether the study looks for the greatest value; only the deployment knows, the one given or as deployed."""
    from ml_suite.config.resolved import Resolved
    from ml_suite.errors import ConfigError
    from ml_suite.home import home

    if deployment is None:
        try:
            deployment = Resolved.load(home() / "suites" / suite / "resolved.json").deployment
        except ConfigError:
            return False
    return deployment.hpo is not None and deployment.hpo.direction == "maximize"


def _node(suite: str) -> str:
    from ml_suite.config.values import node_name

    return node_name(suite)


def _print(seen: Status) -> None:
    console().print(_table(seen))


def _table(seen: Status) -> Group:
    """Everything of a status, with deliveries of other machines last."""
    from rich.console import Group
    from rich.text import Text

    from ml_suite.cli.tables import status_table

    rows = [f"{row.host}: {row.said}" + (f"    {row.hint}" if row.hint else "") for row in seen.behind]
    return Group(status_table(seen), *(Text(f"deliveries of {row}") for row in rows))


def _next(seen: Status, suite: str, watched: bool) -> None:
    if seen.outcome == "complete":
        next_step("ml-suite report", suite, "--html report.html")
    elif seen.outcome == "aborted":
        next_step(f"ecflow_client --requeue=abort /{seen.suite}")
    elif not watched:
        next_step("ml-suite status", suite, "--watch")


def _watch(read: Callable[[], Status], every: float) -> Status:
    return _live(read, every) if sys.stdout.isatty() else _lines(read, every)


def _live(read: Callable[[], Status], every: float) -> Status:
    from rich.live import Live

    last = first = read()
    with Live(_table(first), console=console(), auto_refresh=False) as live:
        for seen in _follow(read, every, first):
            live.update(_table(seen), refresh=True)
            last = seen
    return last


def _lines(read: Callable[[], Status], every: float) -> Status:
    from ml_suite.server.status import news

    before: Status | None = None
    last = first = read()
    for seen in _follow(read, every, first):
        for line in news(before, seen):
            click.echo(f"{time.strftime('%H:%M:%S')} {line}")
        sys.stdout.flush()
        before = last = seen
    return last


def _follow(read: Callable[[], Status], every: float, seen: Status) -> Iterator[Status]:
    """Yield one status after the other until the suite has ended twice in a row.

    Twice, because between two tasks that follow one another nothing runs for a moment.
    """
    from ml_suite.errors import ServerUnreachable

    yield seen
    over, away = seen.outcome == "complete", 0.0
    while not over:
        before = seen.outcome
        time.sleep(every)
        try:
            seen, away = read(), 0.0
        except ServerUnreachable:
            away += every
            if away > _PATIENCE:
                raise
            continue
        yield seen
        over = seen.outcome == "complete" or (seen.outcome == "aborted" and before == "aborted")
