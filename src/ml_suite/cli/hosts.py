"""``ml-suite hosts``: the machines that deployments can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ml_suite.cli import hosts_check, hosts_login
from ml_suite.cli.options import console, json_option, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from ml_suite.hosts.host import Host


@click.group(
    epilog="""\b
Examples:
  ml-suite hosts list
  ml-suite hosts show local --json"""
)
def command() -> None:
    """List the machines that are known, and their facts."""


command.add_command(hosts_login.login)
command.add_command(hosts_check.check)


@command.command("list", epilog="\b\nExamples:\n  ml-suite hosts list\n  ml-suite hosts list --json")
@json_option
def list_(as_json: bool) -> None:
    """List the hosts that have a file."""
    from pathlib import Path

    from ml_suite.cli.options import next_step
    from ml_suite.hosts.host import files, load

    hosts = {name: (load(name, Path.cwd()), path) for name, path in files(Path.cwd()).items()}
    if as_json:
        print_json(
            [{"name": name, "file": str(path), **_summary(host)} for name, (host, path) in hosts.items()]
        )
        return
    console().print(_table({name: host for name, (host, _) in hosts.items()}))
    if hosts:
        next_step("ml-suite hosts show", next(iter(hosts)))


@command.command(
    epilog="""\b
Examples:
  ml-suite hosts show local
  ml-suite hosts show local --json
  ml-suite hosts show NAME --gpus 16 --walltime 36h --account PROJECT"""
)
@click.argument("name")
@click.option("--gpus", type=click.IntRange(min=0), help="Show what a job with so many GPUs becomes.")
@click.option("--walltime", default="12h", show_default=True, help="Time that the job asks for.")
@click.option("--account", help="Account that pays for it.")
@click.option("--partition", help="Partition that it names.")
@click.option("--qos", help="QOS that it names.")
@json_option
def show(
    name: str,
    gpus: int | None,
    walltime: str,
    account: str | None,
    partition: str | None,
    qos: str | None,
    as_json: bool,
) -> None:
    """Show the facts of the host NAME, or with --gpus what a job becomes there."""
    from pathlib import Path

    from ml_suite.hosts.host import files, gpus_here, load

    host = load(name, Path.cwd())
    if gpus is not None:
        data = _job(host, name, gpus, walltime, account, partition, qos)
    else:
        facts = host.model_dump(mode="json", exclude_defaults=not as_json)
        data = {"name": name, "file": str(files(Path.cwd())[name]), **facts}
        if host.here and host.gpus_per_node is None:
            data["gpus_per_node"] = gpus_here()
    if as_json:
        print_json(data)
        return
    for line in _lines(data):
        click.echo(line)


def _job(
    host: Host,
    name: str,
    gpus: int,
    walltime: str,
    account: str | None,
    partition: str | None,
    qos: str | None,
) -> dict[str, Any]:
    """Queue, price and directives of a job."""
    from ml_suite.config.resources import Resources
    from ml_suite.errors import ConfigError
    from ml_suite.hosts.directives import lines, options
    from ml_suite.hosts.request import request
    from ml_suite.quantities import duration, format_duration

    if host.here:
        raise ConfigError(f"{name} has no queues: jobs start at once", "Name another host.")
    try:
        asked = Resources(gpus=gpus, walltime=duration(walltime))
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--walltime") from error
    found = request(host, asked, partition, qos)
    # an account is asked for when a job is really submitted
    payer = account or host.account or "ACCOUNT"
    return {
        "name": name,
        "queue": found.queue.name,
        "nodes": found.nodes,
        "ranks": found.ranks,
        "jobs": [format_duration(time) for time in found.chain],
        "cost": f"{found.cost:,.10g} {found.unit}" if found.unit else None,
        "directives": lines(options(host, found, payer, name="JOB", output="OUTPUT")),
    }


def _summary(host: Host) -> dict[str, Any]:
    from ml_suite.hosts.queues import queues
    from ml_suite.quantities import format_duration

    taken = [queue.max_walltime for queue in queues(host) if queue.gpus and not queue.by_name]
    return {
        "title": host.title,
        "login": host.auth.kind,
        "lifetime": format_duration(host.auth.lifetime) if host.auth.lifetime else None,
        "callback": host.callback,
        "scheduler": host.scheduler,
        "gpus_per_node": host.gpus_per_node,
        "architecture": host.architecture,
        "max_walltime": format_duration(max(taken)) if taken else None,
        "billing": host.billing,
    }


def _table(hosts: dict[str, Host]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("host", "login", "callback", "GPUs/node", "processor", "longest job", "billing", ""):
        table.add_column(column, justify="right" if column in ("GPUs/node", "longest job") else "left")
    for name, host in hosts.items():
        row = _summary(host)
        login = f"{row['login']}, {row['lifetime']}" if row["lifetime"] else row["login"]
        cells = (login, row["callback"], row["gpus_per_node"], row["architecture"], row["max_walltime"])
        billing = None if host.billing == "none" else host.billing.replace("_", "-")
        # what a file says is text, not markup
        words = ["-" if cell is None else str(cell) for cell in (*cells, billing)]
        table.add_row(Text(name, "bold"), *map(Text, words), Text(host.title, "dim"))
    return table


def _lines(data: dict[str, Any], indent: str = "") -> list[str]:
    """Keys and values below each other, without those that say nothing."""
    lines = []
    for key, value in data.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")] if value else []
        elif isinstance(value, list) and any(" " in str(item) for item in value):
            lines += [f"{indent}{key}:", *(f"{indent}  {item}" for item in value)]
        elif isinstance(value, list):
            lines += [f"{indent}{key}: {', '.join(map(str, value))}"] if value else []
        elif isinstance(value, bool):
            lines.append(f"{indent}{key}: {'yes' if value else 'no'}")
        elif value is not None:
            lines.append(f"{indent}{key}: {value}")
    return lines
