"""The command line: a group that imports a command's module only when the command is typed."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

COMMANDS = {
    "init": "Start a project: deployment, training configuration and recipe.",
    "validate": "Check a deployment or a study file without a network.",
    "plan": "Show what a deploy would change on the server.",
    "deploy": "Plan, ask, and apply only what changed.",
    "status": "Show how a suite is doing.",
    "study": "Search hyperparameters on this machine, without ecFlow.",
    "report": "Write the result of a search as one HTML file.",
    "lineage": "Follow weights back to their recipe.",
    "dataset": "Register datasets, describe them, ask how far they are.",
    "hosts": "List the machines that are known, and their facts.",
    "services": "Run ecFlow, S3, MLflow and the catalogue on this machine.",
    "schema": "Print the JSON Schema of deployment and study files, for editors.",
    "completion": "Print the completion script of a shell.",
}
"""Commands in the order of their use; each is the object ``command`` of the module of its name."""

EXTRAS = {
    "boto3": "services",
    "fastapi": "services",
    "httpx": "stores",
    "jinja2": "report",
    "jsonpatch": "services",
    "matplotlib": "study",
    "mlflow": "stores",
    "numpy": "study",
    "obstore": "stores",
    "optuna": "study",
    "plotly": "report",
    "psutil": "services",
    "pyarrow": "study",
    "scipy": "study",
    "uvicorn": "services",
}
"""Optional libraries and the extra of this package that brings them."""

EPILOG = """\
\b
Examples:
  ml-suite init storm && ml-suite validate storm
  ml-suite deploy suites/demo/deployment.yaml
\b
Exit codes:
  0    done
  1    error
  2    usage, or an invalid deployment
  3    plan --detailed-exitcode: there are changes
  4    a person has to log in or renew a credential
  5    the ecFlow server cannot be reached
  130  interrupted
"""


class LazyGroup(click.Group):
    """Commands from a table, so that help imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"ml_suite.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"there is no command '{args[0]}'." + _suggestion(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        return [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]

    def main(  # type: ignore[override]
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run a command and leave the process with its exit code.

        Raises
        ------
        SystemExit
            Always, except for a bug, which keeps its traceback.
        """
        extra |= {"standalone_mode": False}
        try:
            result = super().main(args, prog_name or "ml-suite", **extra)
            sys.stdout.flush()
            sys.exit(result if isinstance(result, int) else 0)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            say("\ninterrupted")
            sys.exit(130)
        except BrokenPipeError:
            # the reader has gone, such as `| head`; nothing is left to tell and to nobody
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except Exception as error:
            sys.exit(_expected(error))


def _suggestion(word: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(word, COMMANDS, 1)
    return f" Did you mean '{near[0]}'?" if near else " Commands: " + ", ".join(COMMANDS)


def _expected(error: Exception) -> int:
    """Show an expected error and return its exit code; raise a bug again."""
    from ml_suite.errors import MlSuiteError

    if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get((error.name or "").split(".")[0])):
        say(f"{_label('error')}{error.name} is not installed\n  Run: pip install 'ml-suite[{extra}]'")
        return 1
    if not isinstance(error, MlSuiteError):
        raise error
    from ml_suite.config.findings import FileError

    if isinstance(error, FileError):
        from ml_suite.cli.options import coloured

        say(coloured(str(error)))
    else:
        say(_label("error") + str(error))
    return error.exit_code


def say(text: str) -> None:
    """Write to stderr, in colour when a person reads it and NO_COLOR is not set."""
    click.echo(text, err=True, color=False if os.environ.get("NO_COLOR") else None)


def _label(word: str) -> str:
    return click.style(f"{word}: ", fg="red", bold=True)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(package_name="ml-suite", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Train machine-learning weather models across machines from one deployment file, on ecFlow."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
