"""``ml-suite study``: searches that need nothing but this machine."""

from __future__ import annotations

import importlib
from typing import Any

import click

VERBS = {
    "validate": "Check a study file, its samples and its environment.",
    "run": "Run a study file, or go on with it.",
    "show": "Show how far a study is, its winner and its certificate.",
    "trials": "List trials, sorted and filtered.",
    "quote": "Say what a study will cost, before it runs.",
    "report": "Write figures and tables as one HTML file.",
    "import": "Tell an adaptive sampler of a study of Optuna.",
    "export": "Write tables, or an Optuna storage.",
}
"""Commands in the order of their use; each is the object ``command`` of the module ``study_VERB``."""


class Verbs(click.Group):
    """Commands from a table, so that one of them imports none of the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"ml_suite.cli.study_{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, 1)
            more = f" Did you mean '{near[0]}'?" if near else " Commands: " + ", ".join(VERBS)
            ctx.fail(f"there is no command 'study {args[0]}'.{more}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=text) for name, text in VERBS.items() if name.startswith(incomplete)
        ]


@click.group(
    cls=Verbs,
    epilog="""\b
Examples:
  ml-suite study validate suites/aerosol/study.yaml
  ml-suite study run suites/aerosol/study.yaml
  ml-suite study show aerosol
  ml-suite study trials aerosol --top 10""",
)
def command() -> None:
    """Search hyperparameters in two steps on this machine, without ecFlow.

    Step 1 trains many trials on a small subset of the samples, step 2 trains the best of them on all. What is killed
    goes on where it was when it is run again.
    """
