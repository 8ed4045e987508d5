"""``ml-suite study export``."""

from __future__ import annotations

from pathlib import Path

import click

from ml_suite.cli.options import shown

_file = click.Path(dir_okay=False, path_type=Path)


@click.command(
    epilog="""\b
Examples:
  ml-suite study export aerosol --csv trials.csv --parquet trials.parquet
  ml-suite study export aerosol --optuna sqlite:///aerosol.db && optuna-dashboard sqlite:///aerosol.db"""
)
@click.argument("name")
@click.option("--csv", type=_file, help="Write all trainings as CSV.")
@click.option("--parquet", type=_file, help="Write all trainings as Parquet.")
@click.option("--optuna", metavar="URL", help="Add the trials to a storage: sqlite:///FILE or journal:FILE.")
def command(name: str, csv: Path | None, parquet: Path | None, optuna: str | None) -> None:
    """Write the trainings of the study NAME for other programs."""
    from ml_suite.errors import MlSuiteError
    from ml_suite.search.look import find, look

    if not (csv or parquet or optuna):
        raise click.UsageError("say what to write: --csv FILE, --parquet FILE or --optuna URL")
    known = look(find(name))
    try:
        if csv is not None:
            from ml_suite.study.exports import write_csv

            click.echo(f"wrote {write_csv(csv, known.results):,} trainings to {shown(csv)}")
        if parquet is not None:
            from ml_suite.study.exports import write_parquet

            click.echo(
                f"wrote {write_parquet(parquet, known.results, known.plan):,} trainings to {shown(parquet)}"
            )
    except OSError as error:
        raise MlSuiteError(f"{error.filename}: {(error.strerror or str(error)).lower()}") from error
    if optuna is not None:
        from ml_suite.study.optuna_export import export
        from ml_suite.study.optuna_storage import shown as public

        for title, count in export(known.plan, known.results, optuna).items():
            click.echo(f"added {count:,} trials to the study {title} in {public(optuna)}")
