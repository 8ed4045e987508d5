"""``ml-suite study import``."""

from __future__ import annotations

from pathlib import Path

import click

from ml_suite.cli.options import next_step, shown
from ml_suite.cli.study_run import file_argument, folder_option


@click.command(
    epilog="""\b
Examples:
  ml-suite study import study.yaml --optuna sqlite:///earlier.db
  ml-suite study import study.yaml --optuna journal:all.log --name earlier"""
)
@file_argument
@folder_option
@click.option(
    "--optuna", "url", metavar="URL", required=True, help="Storage to read: sqlite:///FILE or journal:FILE."
)
@click.option("--name", help="Study in it; default: the only one.")
def command(file: Path, folder: Path | None, url: str, name: str | None) -> None:
    """Let the adaptive sampler of the study FILE begin where a study of Optuna ended.

    Trials that lie in the space are told to the sampler before it draws; they are no trials of this study, and cannot
    win. Their values have to be comparable: of the same metric, on about as much data as step 1 has.
    """
    from ml_suite.cli import say
    from ml_suite.cli.study_words import several
    from ml_suite.search import start
    from ml_suite.search.freeze import freeze

    frozen = freeze(file, folder, say)
    taken = start.take(frozen.plan, frozen.folder, url, name)
    click.echo(f"took {taken.kept:,} of {several(taken.found, 'trial')} of {taken.name}")
    if taken.metric not in (frozen.plan.metric, "value"):
        say(f"warning: its metric is called {taken.metric}, and that of this study {frozen.plan.metric}")
    if taken.asked:
        say(f"warning: {several(taken.asked, 'round')} of this study were drawn without them")
    next_step("ml-suite study run", shown(file), *(["--folder", shown(folder)] if folder else []))
