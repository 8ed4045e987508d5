"""Make the server run what is wanted, keeping the state of everything that stays.

::

    suspend the suite          nothing new is submitted, jobs that run go on
    write the scripts
    read, compare, merge       again from what runs now, not from what was shown
    one forced replace         in one request of the server
    repeat what jobs said between reading and replacing
    resume, read again, compare: nothing may be left to do

A process that dies in between leaves the suite suspended and a mark; the next deploy starts over and resumes it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite import atomic
from ml_suite.errors import MlSuiteError
from ml_suite.server.carry import carry
from ml_suite.server.client import Server
from ml_suite.server.definition import Definition
from ml_suite.server.missed import Message, between, say_again, unsaid
from ml_suite.server.plan import Plan, plan

if TYPE_CHECKING:
    import ecflow

_ATTEMPTS = 5
_LOG_LINES = (2_000, 100_000, 5_000_000)
"""Tail of the server's log to search; a replace writes a line for some nodes, other suites may write many."""
_BACKUPS = 20


@dataclass(frozen=True)
class Wanted:
    """What to apply."""

    defs: ecflow.Defs
    definition: Definition
    base: Definition | None = None
    """As deployed last."""
    overrule: bool = False


@dataclass(frozen=True)
class Keep:
    """Where an apply leaves its marks."""

    backups: Path
    """Folder of the states before each replace; they hold job passwords, mode 0600."""
    mark: Path
    """Exists while the suite is suspended because of a deploy."""


@dataclass(frozen=True)
class Applied:
    """What was done."""

    plan: Plan
    backup: Path | None = None
    repeated: tuple[Message, ...] = ()
    """What jobs said while the suite was replaced."""


def apply(
    server: Server,
    wanted: Wanted,
    shown: Plan,
    keep: Keep,
    write: Callable[[], object],
    suspended: bool = False,
) -> Applied:
    """Apply.

    Parameters
    ----------
    shown
        The plan that was agreed to.
    write
        Puts the scripts in place; called while nothing is submitted.
    suspended
        Leave the suite suspended.

    Raises
    ------
    MlSuiteError
        If the plan refuses, or what runs is not what the plan was made from. Nothing is changed then.
    ServerUnreachable
        If the server goes away; the message says what state that leaves.
    """
    refuse(shown)
    if shown.new:
        write()
        _begin(server, wanted, suspended)
        return Applied(shown)
    suite = shown.suite
    already = server.suspended(suite)
    stay = suspended or (already and not keep.mark.exists())
    if not already:
        atomic.write(keep.mark, f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {os.getpid()}\n")
        server.suspend(f"/{suite}")
    try:
        applied = _replace(server, wanted, shown, keep, write)
    finally:
        if not stay:
            # an error of its own would hide the one that matters; the mark makes the next deploy resume
            with suppress(MlSuiteError):
                server.resume(f"/{suite}")
                keep.mark.unlink(missing_ok=True)
    if stay:
        keep.mark.unlink(missing_ok=True)
    _verify(server, wanted, suite)
    return applied


def refuse(shown: Plan) -> None:
    """Raise the reasons why a plan cannot be applied now.

    Raises
    ------
    MlSuiteError
        If there are any.
    """
    if not shown.refusals:
        return
    first = shown.refusals[0]
    more = f" (and {len(shown.refusals) - 1} more)" if len(shown.refusals) > 1 else ""
    raise MlSuiteError(f"{first.path} {first.message}{more}", first.hint)


def _running(server: Server, suite: str) -> Definition:
    running = server.fetch(suite)
    if running is None:
        raise MlSuiteError(f"suite {suite} was removed from the server meanwhile", "Deploy again.")
    return running


def _begin(server: Server, wanted: Wanted, suspended: bool) -> None:
    server.load(wanted.defs)
    suite = wanted.definition.suite.name
    if suspended:
        server.suspend(f"/{suite}")
    server.begin(suite)


def _replace(server: Server, wanted: Wanted, shown: Plan, keep: Keep, write: Callable[[], object]) -> Applied:
    suite = shown.suite
    _still(_running(server, suite), wanted, shown)
    write()
    for attempt in range(_ATTEMPTS):
        begin = f"ml-suite deploy {suite} {uuid.uuid4().hex}"
        server.write_log(begin)
        running = _running(server, suite)
        now = _still(running, wanted, shown)
        backup = _back_up(keep.backups, running)
        merged = backup.with_suffix(".new")
        atomic.write(merged, carry(wanted.definition, running, now), mode=0o600)
        # jobs speak often on a busy server; what they say in the last gap is repeated afterwards
        if server.changed() and attempt < _ATTEMPTS - 1:
            continue
        server.replace(suite, merged)
        repeated = tuple(_missed(server, begin, running))
        say_again(server, repeated, running)
        merged.unlink()
        if "begun:1" not in running.suite.head:
            server.begin(suite)
        return Applied(now, backup, repeated)
    raise AssertionError


def _missed(server: Server, begin: str, read: Definition) -> list[Message]:
    suite = read.suite.name
    for lines in _LOG_LINES:
        messages = between(server.log(lines), begin, suite)
        if messages is not None:
            return unsaid(messages, read)
    raise MlSuiteError(
        f"suite {suite} was replaced, but the server's log does not tell what its jobs said meanwhile",
        f"Look for tasks that stay active although their job has ended: ml-suite status {suite}",
    )


def _still(running: Definition, wanted: Wanted, shown: Plan) -> Plan:
    """Plan again from what runs now, and insist that it is what was agreed to."""
    now = plan(wanted.definition, running, wanted.base, wanted.overrule)
    refuse(now)
    if _outline(now) != _outline(shown):
        raise MlSuiteError(
            f"suite {shown.suite} was changed on the server after the plan was made",
            "Look at the new plan: run deploy again.",
        )
    return now


def _outline(made: Plan) -> set[tuple[str, str, str, str, str]]:
    return {(c.sign, c.path, c.attribute, c.old, c.new) for c in made.changes}


def _back_up(folder: Path, running: Definition) -> Path:
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    path = folder / f"{running.suite.name}-{stamp}.def"
    same = plan(running, running)
    atomic.write(path, carry(running, running, same), mode=0o600)
    for old in sorted(folder.glob(f"{running.suite.name}-*.def"))[:-_BACKUPS]:
        old.unlink(missing_ok=True)
    return path


def _verify(server: Server, wanted: Wanted, suite: str) -> None:
    left = plan(wanted.definition, _running(server, suite), wanted.base, wanted.overrule)
    for one in left.changes[:1]:
        raise MlSuiteError(
            f"after the replace {one.path} still differs ({one.attribute or one.sign})",
            "Somebody else changes this suite at the same time; run deploy again.",
        )
