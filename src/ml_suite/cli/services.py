"""``ml-suite services up|status|env|down``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ml_suite.services.lifecycle import Outcome

_HOME = click.option(
    "--home",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the services' data (default: ML_SUITE_HOME or ~/.local/share/ml-suite).",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def command() -> None:
    """Run ecFlow, S3, MLflow and the catalogue on this machine."""


@command.command()
@_HOME
@_JSON
def up(home: Path | None, as_json: bool) -> None:
    """Start what does not run, check that everything works, and say how to open it."""
    from ml_suite.services import lifecycle

    place = _place(home)
    outcomes = lifecycle.up(place, tell=lambda text: click.echo(text, err=True))
    if as_json:
        click.echo(_as_json(place, outcomes))
        return
    click.echo(f"services in {place}")
    _table(outcomes)
    click.echo(_how_to_open(place, outcomes))
    click.echo("next: ml-suite validate suites/demo/deployment.yaml")


@command.command()
@_HOME
@_JSON
@click.pass_context
def status(context: click.Context, home: Path | None, as_json: bool) -> None:
    """Use every service once and say whether it works; exit code 1 if one does not."""
    from ml_suite.services import lifecycle

    place = _place(home)
    outcomes = lifecycle.status(place)
    running = all(outcome.state == "running" for outcome in outcomes)
    if as_json:
        click.echo(_as_json(place, outcomes))
    else:
        click.echo(f"services in {place}")
        _table(outcomes)
        click.echo(_how_to_open(place, outcomes) if running else "next: ml-suite services up")
    if not running:
        context.exit(1)


@command.command()
@_HOME
def env(home: Path | None) -> None:
    """Print the variables by which ecflow_client and ecflow_ui find the server: eval "$(ml-suite services env)"."""
    import shlex

    from ml_suite.services.addresses import client_environment

    for key, value in client_environment(_place(home)).items():
        click.echo(f"export {key}={shlex.quote(value)}")


@command.command()
@_HOME
@_JSON
def down(home: Path | None, as_json: bool) -> None:
    """Stop the services; their data stays."""
    from ml_suite.services import lifecycle

    place = _place(home)
    outcomes = lifecycle.down(place, tell=lambda text: click.echo(text, err=True))
    if as_json:
        click.echo(_as_json(place, outcomes))
        return
    _table(outcomes)
    click.echo(f"the data stays in {place}\nnext: ml-suite services up")


def _place(home: Path | None) -> Path:
    from ml_suite import home as default

    return home.absolute() if home else default.home()


def _as_json(home: Path, outcomes: list[Outcome]) -> str:
    from dataclasses import asdict

    services = {outcome.name: asdict(outcome) for outcome in outcomes}
    return json.dumps(
        {"home": str(home), "connections": str(home / "connections.json"), "services": services}, indent=1
    )


def _table(outcomes: list[Outcome]) -> None:
    for x in outcomes:
        place = f"port {x.port}" if x.port else ""
        click.echo(f"  {x.name:<10} {x.state:<10} {x.seconds:5.1f} s  {place:<11} {x.remark}".rstrip())


def _how_to_open(home: Path, outcomes: list[Outcome]) -> str:
    from ml_suite.services.addresses import client_environment

    port = {outcome.name: outcome.port for outcome in outcomes}
    ecflow = client_environment(home)
    where = "" if home == _place(None) else f" --home {home}"
    return f"""\
open
  ecFlow     eval "$(ml-suite services env{where})"
             ecflow_ui -ts {ecflow["ECF_HOST"]} {ecflow["ECF_PORT"]}    ecflow_client --get_state
             Only this user with that password file reads or changes suites.
  MLflow     http://127.0.0.1:{port["mlflow"]}
  catalogue  http://127.0.0.1:{port["catalogue"]}
  S3         http://127.0.0.1:{port["s3"]}  credentials in {home / "connections.json"}"""
