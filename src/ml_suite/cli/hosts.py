"""``ml-suite hosts``: the machines that deployments can name."""

from __future__ import annotations

import click

from ml_suite.cli.options import json_option, print_json


@click.group(
    epilog="""\b
Examples:
  ml-suite hosts list
  ml-suite hosts show local --json"""
)
def command() -> None:
    """List the machines that are known, and their facts."""


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
            [{"name": name, "title": host.title, "file": str(path)} for name, (host, path) in hosts.items()]
        )
        return
    width = max((len(name) for name in hosts), default=0)
    for name, (host, path) in hosts.items():
        click.echo(f"{name:{width}}  {host.title}  ({path})")
    if hosts:
        next_step("ml-suite hosts show", next(iter(hosts)))


@command.command(epilog="\b\nExamples:\n  ml-suite hosts show local\n  ml-suite hosts show local --json")
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show the facts of the host NAME."""
    from pathlib import Path

    from ml_suite.hosts.host import files, gpus_here, load

    host = load(name, Path.cwd())
    data = {"name": name, "file": str(files(Path.cwd())[name]), **host.model_dump(mode="json")}
    if host.here and host.gpus_per_node is None:
        data["gpus_per_node"] = gpus_here()
    if as_json:
        print_json(data)
        return
    for line in _lines(data):
        click.echo(line)


def _lines(data: dict[str, object], indent: str = "") -> list[str]:
    """Keys and values below each other, without those that have none."""
    lines = []
    for key, value in data.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")] if value else []
        elif value is not None:
            lines.append(f"{indent}{key}: {value}")
    return lines
