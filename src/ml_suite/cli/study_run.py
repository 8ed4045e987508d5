"""``ml-suite study run``."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ml_suite.cli.options import shown

if TYPE_CHECKING:
    from ml_suite.search.freeze import Frozen

INTERRUPTED = 130

_LONG = 1800.0
"""Seconds that a person is asked about."""


class StudyPath(click.ParamType):  # type: ignore[type-arg]  # no generic before Click 8.3
    """A study file, or the folder that holds ``study.yaml``."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from ml_suite.config.study_file import STUDY

        path = Path(value).expanduser()
        if path.is_dir():
            path = path / STUDY
        if not path.is_file():
            self.fail(f"there is no file {path}; docs/study-files.md shows one", param, ctx)
        return path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


class ShardText(click.ParamType):  # type: ignore[type-arg]  # no generic before Click 8.3
    """``K/N``: the K-th of N shards, from 1."""

    name = "k/n"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d+)/(\d+)", str(value))
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r} is no shard; write 1/8 to 8/8 for eight of them", param, ctx)
        return int(found[1]) - 1, int(found[2])


file_argument = click.argument("file", type=StudyPath())
folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the study; default: $ML_SUITE_HOME/studies/NAME.",
)


@click.command(
    epilog="""\b
Examples:
  ml-suite study run suites/aerosol/study.yaml
  ml-suite study run study.yaml --folder /scratch/study --shard 3/8"""
)
@file_argument
@folder_option
@click.option("--shard", type=ShardText(), help="Run only this part of step 1, such as 3/8, and end.")
@click.option("--workers", type=click.IntRange(min=1), help="Trainings at once; default: one per core.")
@click.option("--yes", is_flag=True, help="Do not ask, whatever it will cost.")
def command(
    file: Path, folder: Path | None, shard: tuple[int, int] | None, workers: int | None, yes: bool
) -> int:
    """Run the study FILE to its end, or go on with it.

    Several processes may share step 1 in one folder, on one host or several: each runs a --shard, and a plain run
    afterwards goes on from all their records.
    """
    from ml_suite.cli import say
    from ml_suite.cli.study_live import view
    from ml_suite.search.freeze import freeze
    from ml_suite.search.run import Listener, Options, run_frozen
    from ml_suite.search.stages import Stopped
    from ml_suite.trainers.process import stop_requests

    again = f"ml-suite study run {shown(file)}" + (f" --folder {shown(folder)}" if folder else "")
    frozen = freeze(file, folder, click.echo)
    if not _agreed(frozen, workers, yes):
        say("nothing was started")
        return 1
    with stop_requests() as stop:
        try:
            with view() as told:
                options = Options(folder, shard, workers, Listener(told.say, told.progress))
                won = run_frozen(frozen, stop, options)
        except Stopped as stopped:
            say(f"{stopped.message}\n  It goes on from there: {again}")
            return INTERRUPTED
    if won is None:
        click.echo(f"This shard is done. When all are: {again}")
        return 0
    _summary(frozen)
    return 0


def _agreed(frozen: Frozen, workers: int | None, yes: bool) -> bool:
    """Say what it will cost, once, and ask a person where that is long."""
    from ml_suite.cli import study_quote
    from ml_suite.errors import StudyError
    from ml_suite.report.words import duration
    from ml_suite.search import environment
    from ml_suite.search.quoting import quote

    if any(frozen.folder.records(stage) for stage in ("step1", "step2")):
        return True
    try:
        made = quote(frozen)
    except StudyError:
        return True  # a program of one's own tells by running
    at_once = workers or frozen.file.training.workers or environment.workers()
    wall = made.seconds / at_once
    share = f"{study_quote.share(made)} of training every trial on everything"
    long = f"roughly {duration(wall)}" if wall >= 60 else "less than a minute of training"
    click.echo(f"{long} with {at_once} at once: {share}" + (f"; {made.remark}" if made.remark else ""))
    if yes or wall < _LONG or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return True
    return click.confirm("Start?", default=True)


def _summary(frozen: Frozen) -> None:
    """Say what came of it."""
    from ml_suite.cli import study_words as words
    from ml_suite.cli.options import next_step, print_table
    from ml_suite.search.folder import Folder
    from ml_suite.search.look import look

    folder = frozen.folder
    known = look(folder)
    click.echo()
    print_table(words.facts_table(words.facts(known) | words.files(known)))
    usual = folder == Folder.named(frozen.file.study)
    next_step("ml-suite study show", frozen.file.study if usual else shown(folder.root))
