"""``ml-suite study run``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from ml_suite.cli.options import shown

INTERRUPTED = 130


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
    from ml_suite.search.run import Listener, Options, run
    from ml_suite.search.stages import Stopped
    from ml_suite.trainers.process import stop_requests

    again = f"ml-suite study run {shown(file)}" + (f" --folder {shown(folder)}" if folder else "")
    with stop_requests() as stop:
        try:
            with view() as told:
                listener = Listener(told.say, told.progress)
                options = Options(folder, shard, workers, listener)
                won = run(file, stop, options)
        except Stopped as stopped:
            say(f"{stopped.message}\n  It goes on from there: {again}")
            return INTERRUPTED
    if won is None:
        click.echo(f"This shard is done. When all are: {again}")
        return 0
    _summary(file, folder)
    return 0


def _summary(file: Path, root: Path | None) -> None:
    """Say what came of it."""
    from ml_suite.cli import study_words as words
    from ml_suite.cli.options import console, next_step
    from ml_suite.config.study_file import parse
    from ml_suite.search.folder import Folder
    from ml_suite.search.look import look

    name = parse(file)[0].study
    known = look(Folder(root.absolute()) if root else Folder.named(name))
    click.echo()
    console().print(words.facts_table(words.facts(known) | words.files(known)))
    next_step("ml-suite study show", shown(root) if root else name)
