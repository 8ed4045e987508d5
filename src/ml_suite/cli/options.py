"""Options and output that several commands share."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ml_suite.config.locate import near

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

DEPLOYMENT = "deployment.yaml"
_PIPE_WIDTH = 160


class DeploymentFile(click.ParamType):  # type: ignore[type-arg]  # no generic before Click 8.3
    """A deployment file, or the folder that holds ``deployment.yaml``."""

    name = "file"

    def __init__(self, or_study: bool = False) -> None:
        """Take OR_STUDY a folder with nothing but a ``study.yaml``."""
        self.or_study = or_study

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from ml_suite.config.study_file import STUDY

        path = Path(value).expanduser()
        if self.or_study and not (path / DEPLOYMENT).exists() and (path / STUDY).is_file():
            return path / STUDY
        if path.is_dir():
            path = path / DEPLOYMENT
            if not path.is_file():
                self.fail(
                    f"the folder {path.parent} has no {DEPLOYMENT}; ml-suite init writes one", param, ctx
                )
        elif not path.exists():
            self.fail(f"there is no file {path}; ml-suite init writes one", param, ctx)
        return path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [CompletionItem(incomplete, type="file")]


deployment_argument = click.argument("file", type=DeploymentFile())
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON with stable keys.")


def print_json(data: Any) -> None:
    """Print a result for a program."""
    click.echo(json.dumps(data, indent=2, ensure_ascii=False, default=str))


def next_step(*words: object) -> None:
    """Print the next command to type, the last line of a success."""
    click.echo("Next: " + " ".join(str(word) for word in words))


def shown(path: Path) -> str:
    """Name a path as a person in the current folder would."""
    return near(path)


_SEVERITY = re.compile(r"(?m)^(.*?:\d+:\d+: |)(error|warning|note)(: .*)$")
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


def coloured(report: str) -> str:
    """Report with its severities in colour; Click takes the colour out again where nobody sees it."""

    def paint(match: re.Match[str]) -> str:
        place, word, rest = match.groups()
        return click.style(place, bold=True) + click.style(word, fg=_COLOURS[word], bold=True) + rest

    return _SEVERITY.sub(paint, report)


def console() -> Console:
    """A console as wide as the terminal; into a file or a pipe it writes wide lines instead of folding at 80."""
    from rich.console import Console

    made = Console(highlight=False)
    if not made.is_terminal:
        made.width = _PIPE_WIDTH
    return made


def print_table(table: Table) -> None:
    """Print a table without the blanks that fill its last column."""
    out = console()
    with out.capture() as drawn:
        out.print(table)
    click.echo("\n".join(line.rstrip() for line in drawn.get().splitlines()))
