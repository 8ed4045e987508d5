"""``ml-suite study quote``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ml_suite.cli.options import json_option, next_step, print_json, print_table, shown
from ml_suite.cli.study_run import file_argument, folder_option

if TYPE_CHECKING:
    from ml_suite.study.cost import Line, Quote


@click.command(
    epilog="""\b
Examples:
  ml-suite study quote suites/aerosol/study.yaml
  ml-suite study quote study.yaml --workers 16 --json"""
)
@file_argument
@folder_option
@click.option("--workers", type=click.IntRange(min=1), help="Trainings at once; default: one per core.")
@json_option
def command(file: Path, folder: Path | None, workers: int | None, as_json: bool) -> None:
    """Say what the study FILE will cost on this machine, and what training every trial on everything would.

    Nothing is trained. What the study has trained already makes the quote a measured one.
    """
    from ml_suite.cli import say
    from ml_suite.cli import study_words as words
    from ml_suite.search import environment
    from ml_suite.search.freeze import freeze
    from ml_suite.search.quoting import quote
    from ml_suite.study import record

    frozen = freeze(file, folder, say)
    paths = [path for stage in ("step1", "step2") for path in frozen.folder.records(stage)]
    made = quote(frozen, record.merge(paths, frozen.plan.study))
    at_once = workers or frozen.file.training.workers or environment.workers()
    if as_json:
        print_json(
            made.model_dump(mode="json") | {"workers": at_once, "wall_seconds": made.seconds / at_once}
        )
        return
    print_table(words.facts_table(told(made, at_once)))
    next_step("ml-suite study run", shown(file))


def told(made: Quote, workers: int) -> dict[str, str]:
    """A quote in words, by what it is about."""
    from ml_suite.report.words import duration

    found = {
        line.part.replace("step", "step "): _line(line, _range(line.least, line.seconds))
        for line in made.lines
    }
    ending = (
        "measured by the trainings of this study"
        if made.measured
        else "a rough estimate before anything is trained"
    )
    found["in all"] = (
        f"{_range(made.least_seconds, made.seconds)} of training, about "
        f"{_range(None if made.least_seconds is None else made.least_seconds / workers, made.seconds / workers)} "
        f"with {workers} at once"
    )
    found["one step"] = (
        f"{duration(made.one_step_seconds)} to train every trial on everything: {share(made)} of it"
    )
    if made.remark:
        found["budget"] = made.remark
    found["a trial"] = (
        f"{_short(made.full_seconds)} on everything, and {_short(made.overhead_seconds)} whatever its data"
    )
    found[""] = ending
    return found


def share(made: Quote) -> str:
    """Write what a study costs as a part of the one step."""
    most = f"{made.share:.1%}"
    if made.least_share is None or (least := f"{made.least_share:.1%}") == most:
        return most
    return f"{least} to {most}"


def _line(line: Line, long: str) -> str:
    few = "at least" if line.least else "at most"
    return f"{f'{few} ' if line.least is not None else ''}{line.trainings:,.0f} trainings, {long}"


def _range(least: float | None, most: float) -> str:
    """Write a time, or between what and what it lies."""
    from ml_suite.report.words import duration

    if least is None or duration(least) == duration(most):
        return duration(most)
    return f"between {duration(least)} and {duration(most)}" if least else f"at most {duration(most)}"


def _short(seconds: float) -> str:
    from ml_suite.report.words import duration

    return duration(seconds) if seconds >= 1 else f"{1000 * seconds:.3g} ms"
