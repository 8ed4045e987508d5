"""The group: help, errors and exit codes of every command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ml_suite import cli
from ml_suite.errors import ConfigError, CredentialNeeded, MlSuiteError, ServerUnreachable

ESCAPE = "\x1b["


def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", "from ml_suite.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
        check=False,
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> object:
    """Put an error in the place of a command."""

    def put(error: BaseException) -> None:
        @click.command()
        def command() -> None:
            raise error

        monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: command)

    return put


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command_and_the_exit_codes(option: str) -> None:
    done = run(option)
    assert done.returncode == 0
    for name in cli.COMMANDS:
        assert f"\n  {name} " in done.stdout
    assert "Exit codes:" in done.stdout
    assert "130  interrupted" in done.stdout


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_of_the_table_is_there(name: str) -> None:
    command = cli.main.get_command(click.Context(cli.main), name)
    assert command is not None
    assert command.help
    done = CliRunner().invoke(cli.main, [name, "-h"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", ["init", "validate", "hosts", "schema", "completion"])
def test_help_ends_with_examples(name: str) -> None:
    *_, title, first, second = CliRunner().invoke(cli.main, [name, "-h"]).output.splitlines()
    assert title.strip() == "Examples:"
    assert first.startswith(f"    ml-suite {name}")
    assert second.startswith("    ml-suite ")


def test_the_version_is_the_package_s() -> None:
    assert run("--version").stdout == "ml-suite 0.1.0\n"


@pytest.mark.parametrize(
    ("word", "told"),
    [("vlidate", "Did you mean 'validate'?"), ("xyzzy", "Commands: init, validate"), ("--nope", "--nope")],
)
def test_an_unknown_command_is_a_usage_error(word: str, told: str) -> None:
    done = run(word)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MlSuiteError("it is wrong", "Type this."), 1),
        (ConfigError("it is wrong", "Type this."), 2),
        (CredentialNeeded("it is wrong", "Type this."), 4),
        (ServerUnreachable("it is wrong", "Type this."), 5),
    ],
)
def test_expected_errors_have_a_message_and_an_exit_code(failing, error: MlSuiteError, code: int) -> None:  # type: ignore[no-untyped-def]
    failing(error)
    done = CliRunner().invoke(cli.main, ["status"])
    assert done.exit_code == code
    assert done.stderr == "error: it is wrong\n  Type this.\n"
    assert done.stdout == ""


def test_a_bug_keeps_its_traceback(failing) -> None:  # type: ignore[no-untyped-def]
    failing(ZeroDivisionError("a bug"))
    done = CliRunner().invoke(cli.main, ["status"])
    assert isinstance(done.exception, ZeroDivisionError)


def test_an_optional_library_that_is_missing_is_named_with_its_extra(failing) -> None:  # type: ignore[no-untyped-def]
    failing(ModuleNotFoundError("No module named 'plotly'", name="plotly.graph_objects"))
    done = CliRunner().invoke(cli.main, ["report"])
    assert done.exit_code == 1
    assert "pip install 'ml-suite[report]'" in done.stderr
    failing(ModuleNotFoundError("No module named 'ml_suite.typo'", name="ml_suite.typo"))
    assert isinstance(CliRunner().invoke(cli.main, ["report"]).exception, ModuleNotFoundError)


def test_an_interruption_is_130() -> None:
    code = textwrap.dedent("""
        import click, signal, time
        from ml_suite import cli
        # a job in the background of a script is started deaf to it
        signal.signal(signal.SIGINT, signal.default_int_handler)
        @click.command()
        def command():
            print("ready", flush=True)
            time.sleep(30)
        cli.LazyGroup.get_command = lambda *_: command
        cli.main(["status"])
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 130
    assert told.strip() == "interrupted"


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    command = f"{sys.executable} -c 'from ml_suite.cli import main; main()' schema | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_only_for_a_person_who_wants_it(tmp_path: Path, no_color: str, coloured: bool) -> None:
    (tmp_path / "deployment.yaml").write_text("suite: 1\n")
    # script(1) gives the command a terminal
    line = f"{sys.executable} -c 'from ml_suite.cli import main; main()' validate {tmp_path}"
    done = subprocess.run(
        ["script", "-qec", line, "/dev/null"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "NO_COLOR": no_color, "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 2
    assert (ESCAPE in done.stdout) is coloured
    assert ESCAPE not in run("validate", str(tmp_path)).stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0
    assert "_ML_SUITE_COMPLETE" in done.stdout


def test_completion_knows_commands_without_importing_them() -> None:
    done = run(env={"_ML_SUITE_COMPLETE": "bash_complete", "COMP_WORDS": "ml-suite s", "COMP_CWORD": "1"})
    assert done.stdout.split() == ["plain,status", "plain,study", "plain,services", "plain,schema"]
