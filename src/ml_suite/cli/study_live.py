"""How a study goes, while it goes: drawn in a terminal, as plain lines elsewhere."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click

from ml_suite.cli.study_words import STYLES, called, params, states
from ml_suite.report.words import duration, number
from ml_suite.study.contract import TrialState

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ml_suite.search.stages import Progress

_EVERY = 10.0
"""Seconds between two plain lines of a stage."""
_BAR = 30
_ENOUGH = 0.03
"""Share of the work by which the rest is judged: workers need some seconds to begin."""


class View(Protocol):
    """What is told how a study goes."""

    def say(self, text: str) -> None:
        """Tell what begins."""

    def progress(self, progress: Progress) -> None:
        """Tell how far a stage is."""


def left(progress: Progress) -> float | None:
    """Estimate the seconds until a stage ends, from the expected work that is done; None while nothing is.

    Trainings differ in length, and those that stop early are not foreseen: it is an estimate.
    """
    done = progress.share - progress.begun
    return progress.seconds * (1 - progress.share) / done if done >= _ENOUGH and progress.share < 1 else None


def title(stage: str) -> str:
    """Name of a stage for a person.

    >>> title("step1"), title("pilot/5%-0")
    ('step 1', 'pilot 5%-0')
    """
    return stage.replace("step", "step ").replace("/", " ")


class Lines:
    """Plain lines: when a stage begins and ends, and now and then between."""

    def __init__(self) -> None:
        self._due: dict[tuple[str, int], float] = {}

    def say(self, text: str) -> None:
        """Write it."""
        click.echo(text)

    def progress(self, progress: Progress) -> None:
        """Write a line if one is due."""
        now = time.monotonic()
        ended = progress.done == progress.total
        # a stage that grows, by finalists or another round, is told anew
        stage = progress.stage, progress.total
        if not ended and now < self._due.get(stage, 0.0):
            return
        if self._due.get(stage) == float("inf"):
            return
        self._due[stage] = float("inf") if ended else now + _EVERY
        click.echo(line(progress))


def line(progress: Progress) -> str:
    """One line about a stage."""
    words = [f"{title(progress.stage)}: {progress.done:,} of {progress.total:,}"]
    if progress.states:
        words.append(states(progress.states))
    if progress.best is not None:
        words.append(f"best {number(progress.best.value, 6)} (trial {called(progress.best.trial)})")
    if (seconds := left(progress)) is not None:
        words.append(f"about {duration(seconds)} left")
    if progress.cpu_seconds:
        words.append(f"{duration(progress.cpu_seconds)} of CPU")
    return ", ".join(words)


class Drawing:
    """A few lines that change in place."""

    def __init__(self, console: Console) -> None:
        from rich.live import Live

        self._stages: dict[str, Progress] = {}
        self._note = ""
        self._live = Live(console=console, get_renderable=self._drawn, refresh_per_second=4, transient=False)

    def __enter__(self) -> Drawing:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._note = ""
        self._live.stop()

    def say(self, text: str) -> None:
        """Write above the lines that change."""
        from rich.text import Text

        self._live.console.print(Text(text))

    def progress(self, progress: Progress) -> None:
        """Show it at the next refresh."""
        self._stages[progress.stage] = progress

    def _drawn(self) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        grid = Table.grid(padding=(0, 2))
        stages = list(self._stages.values())  # drawn in a thread of its own
        for progress in stages:
            grid.add_row(*_row(progress, max(8, min(_BAR, self._live.console.width - 75))))
        parts: list[RenderableType] = [grid]
        running = [p for p in stages if p.done < p.total]
        if running and (best := running[-1].best) is not None:
            told = f"best {number(best.value, 6)}  trial {called(best.trial)}: {params(best.params)}"
            parts.append(Text(told, style="green", overflow="ellipsis", no_wrap=True))
        if cpu := sum(p.cpu_seconds for p in stages):
            parts.append(
                Text(f"{duration(cpu)} of CPU so far; Ctrl-C stops, and a new run goes on", style="dim")
            )
        return Group(*parts)


def _row(progress: Progress, width: int) -> list[RenderableType]:
    from rich.text import Text

    full = round(width * progress.share)
    bar = Text("━" * full, style="green" if progress.done == progress.total else "cyan")
    bar.append("━" * (width - full), style="bright_black")
    counted = Text(f"{progress.done:,}/{progress.total:,}")
    how = Text()
    for state in TrialState:
        if count := progress.states.get(state):
            how.append(f"{count:,} {state}  ", style=STYLES[state])
    seconds = left(progress)
    rest = Text(f"about {duration(seconds)} left" if seconds is not None else "", style="dim")
    if progress.done == progress.total:
        # what is recorded from earlier runs took no time in this one
        rest = Text(f"done in {duration(progress.seconds)}" if progress.seconds >= 1 else "done", style="dim")
    return [Text(title(progress.stage), style="bold"), bar, counted, how, rest]


@contextmanager
def view() -> Iterator[View]:
    """How this terminal is told: drawn where a person looks, plain where nobody does or NO_COLOR is set."""
    from ml_suite.cli.options import console

    made = console()
    if not made.is_terminal or made.is_dumb_terminal or os.environ.get("NO_COLOR"):
        yield Lines()
        return
    with Drawing(made) as drawing:
        yield drawing
