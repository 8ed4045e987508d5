"""``ml-suite report``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ml_suite.cli.options import console, json_option, next_step, shown

if TYPE_CHECKING:
    from ml_suite.report.model import Report


@click.command(short_help="Result, cost and failures of a study.")
@click.argument("suite")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one HTML file that opens offline."
)
@click.option(
    "--figures",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write every figure as PNG and SVG, and the table of the best models.",
)
@json_option
@click.option("--cycle", help="Cycle to report on; default: the latest.")
def command(suite: str, html: Path | None, figures: Path | None, as_json: bool, cycle: str | None) -> None:
    """Report on the study of SUITE: the winner, all trials of both steps, cost, failures and where things are.

    A study that is not finished is reported as far as it is.
    """
    from ml_suite.errors import MlSuiteError
    from ml_suite.home import home
    from ml_suite.layout import ONCE
    from ml_suite.report.collect import collect, cycles, deployed

    resolved = deployed(suite, home())
    known = cycles(resolved)
    if cycle is not None and cycle not in known:
        raise MlSuiteError(
            f"suite {suite!r} has no cycle {cycle!r}", f"It has: {', '.join(known) or 'none yet'}."
        )
    report = collect(resolved, cycle or (known[-1] if known else ONCE))
    told = written(report, html, figures)
    if as_json:
        click.echo(report.model_dump_json(indent=2))
        return
    if not told:
        from ml_suite.report.text import show

        show(report, console())
        next_step("ml-suite report", suite, "--html report.html")
        return
    for words in told:
        click.echo(words)
    next_step("ml-suite lineage", suite)


def written(report: Report, html: Path | None, figures: Path | None) -> list[str]:
    """Write the page and the images that were asked for.

    Returns
    -------
    list of str
        What was written, in words; empty if nothing was asked for.
    """
    from ml_suite import atomic
    from ml_suite.errors import MlSuiteError

    told = []
    try:
        if html is not None:
            from ml_suite.report.page import render

            atomic.write(html, render(report))
            told.append(f"wrote {shown(html)}")
        if figures is not None:
            from ml_suite.report.images import write

            count = len(write(report, figures))
            told.append(
                f"wrote {count} files in {shown(figures)}" if count else "there is no figure to draw yet"
            )
    except ImportError as error:
        raise MlSuiteError(
            f"the report needs {error.name}, which is not installed", "Run: pip install 'ml-suite[study]'"
        ) from error
    return told
