"""``ml-suite study report``."""

from __future__ import annotations

from pathlib import Path

import click

from ml_suite.cli.options import shown


@click.command(
    epilog="""\b
Examples:
  ml-suite study report aerosol --html aerosol.html
  ml-suite study report aerosol --figures figures/"""
)
@click.argument("name")
@click.option(
    "--html", type=click.Path(dir_okay=False, path_type=Path), help="Write one HTML file that opens offline."
)
@click.option(
    "--figures",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each figure as PNG and SVG here.",
)
def command(name: str, html: Path | None, figures: Path | None) -> None:
    """Write figures and tables of the study NAME; without options its report.html.

    A study that is not finished is reported as far as it is.
    """
    from ml_suite import atomic
    from ml_suite.errors import MlSuiteError
    from ml_suite.report.study import report_of_study
    from ml_suite.search.look import find, look
    from ml_suite.study.contract import StudyPlan

    folder = find(name)
    if isinstance(look(folder).plan, StudyPlan):
        raise MlSuiteError(
            f"{name} is the study of a deployed suite", f"Run: ml-suite report {name} --html report.html"
        )
    report = report_of_study(folder.root)
    if html is None and figures is None:
        html = folder.report
    if html is not None:
        from ml_suite.report.page import render

        atomic.write(html, render(report))
        click.echo(f"wrote {shown(html)}")
    if figures is not None:
        from ml_suite.report.images import write

        made = write(report, figures)
        click.echo(f"wrote {len(made)} files to {shown(figures)}")
