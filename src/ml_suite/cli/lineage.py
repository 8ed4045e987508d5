"""``ml-suite lineage``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ml_suite.cli.options import console, json_option, next_step, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from ml_suite.lineage.graph import Graph
    from ml_suite.lineage.verify import Check


@click.command(short_help="Follow weights back to their recipe.")
@click.argument("name")
@json_option
@click.option(
    "--verify", "verifying", is_flag=True, help="Take every checksum and uuid again from the real objects."
)
@click.option(
    "--repository",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="Clone with the recipe, for --verify; default: the current folder.",
)
@click.option("--breaks", is_flag=True, help="Show what would lose its origin if NAME were deleted.")
def command(name: str, as_json: bool, verifying: bool, repository: Path, breaks: bool) -> None:
    """Show the chain from recipe to promoted weights that NAME is part of.

    NAME is a suite, a dataset, the uuid of weights or of a dataset, an s3:// address, or the sha256 of any of them.
    Everything is read from the catalogue and MLflow; no files of the suite are needed. Every link is found by a uuid or
    a checksum that both sides carry. The exit code is 1 when a link is broken or a check fails.
    """
    from ml_suite.home import home
    from ml_suite.lineage.chain import build
    from ml_suite.lineage.find import find
    from ml_suite.lineage.verify import verify
    from ml_suite.stores.connections import Connections

    connections = Connections.load(home() / "connections.json")
    records = find(name, connections)
    graph = build(records)
    checks = list(verify(records, connections, repository)) if verifying else []
    if as_json:
        print_json(_plain(graph, checks, verifying))
    else:
        out = console()
        _show(graph, checks, out)
        if breaks:
            _show_breaks(graph, name, out)
    if graph.broken or any(check.verdict == "mismatch" for check in checks):
        raise click.exceptions.Exit(1)
    if not as_json:
        next_step(
            f"ml-suite lineage {name} --verify"
            if not verifying
            else f"ml-suite report {name} --html report.html"
        )


def _plain(graph: Graph, checks: list[Check], verifying: bool) -> dict[str, Any]:
    from dataclasses import asdict

    plain: dict[str, Any] = dict(graph.as_json())
    return {**plain, "checks": [asdict(check) for check in checks]} if verifying else plain


def _show(graph: Graph, checks: list[Check], console: Console) -> None:
    from rich.text import Text

    from ml_suite.lineage.tree import draw

    for tree in draw(graph):
        console.print(tree)
    for edge in graph.broken:
        console.print(
            Text(f"broken: {edge.source} -> {edge.target} by {edge.by}: {edge.broken}", style="red")
        )
    styles = {"ok": "green", "mismatch": "bold red", "unknown": "yellow"}
    for check in checks:
        told = "" if check.verdict == "ok" else f": expected {check.expected}, found {check.found}"
        line = Text(f"{check.verdict:9}", style=styles[check.verdict]) + Text(f"{check.what}{told}")
        console.print(line, soft_wrap=True)
    if checks:
        counts = [f"{sum(c.verdict == v for c in checks)} {v}" for v in styles]
        console.print(Text(", ".join(counts)))


def _show_breaks(graph: Graph, name: str, console: Console) -> None:
    from rich.text import Text

    start = [node for node in graph.nodes if name in (node.label, *node.facts.values())]
    lost = {node.id: node for origin in start for node in graph.downstream(origin.id)}
    console.print(Text(f"without {name} {len(lost)} of {len(graph.nodes)} things lose their origin"))
    for node in lost.values():
        console.print(Text(f"  {node.kind.value} {node.label}"), soft_wrap=True)
