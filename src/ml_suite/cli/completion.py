"""``ml-suite completion``: completion of commands, options and files in a shell."""

from __future__ import annotations

import click


@click.command(
    epilog="""\b
Examples:
  ml-suite completion bash > ~/.local/share/bash-completion/completions/ml-suite
  ml-suite completion fish > ~/.config/fish/completions/ml-suite.fish"""
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of SHELL."""
    from click.shell_completion import get_completion_class

    from ml_suite.cli import main

    completion = get_completion_class(shell)
    assert completion is not None
    click.echo(completion(main, {}, "ml-suite", "_ML_SUITE_COMPLETE").source())
