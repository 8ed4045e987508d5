"""``ml-suite deploy``: plan, ask, apply."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ml_suite.cli.options import deployment_argument, next_step, shown
from ml_suite.cli.plan import overrule_option, prepare, server_option, show

if TYPE_CHECKING:
    from ml_suite.config.resolved import Resolved
    from ml_suite.server.deploy import Prepared


@click.command(
    epilog="""\b
Examples:
  ml-suite deploy suites/demo/deployment.yaml
  ml-suite deploy suites/demo -y --suspended"""
)
@deployment_argument
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--suspended", is_flag=True, help="Leave the suite suspended, for an operator to resume.")
@click.option("--dry-run", is_flag=True, help="Stop after the plan.")
@click.option("--rerun", is_flag=True, help="Queue a finished suite again; refused while it runs.")
@server_option
@overrule_option
def command(
    file: Path, yes: bool, suspended: bool, dry_run: bool, rerun: bool, server: str | None, overrule: bool
) -> None:
    """Plan the deployment FILE, ask, and apply only what changed.

    Running jobs go on, finished tasks stay finished, and what an operator set on the server stays. Scripts are
    committed to a git work tree, one commit a deploy.
    """
    from ml_suite.errors import MlSuiteError

    try:
        _deploy(file, yes, suspended, dry_run, rerun, server, overrule)
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise MlSuiteError(
            f"{where}{error.strerror or error}",
            "Make room, or deploy to another folder with ML_SUITE_HOME or server.files; then deploy again.",
        ) from error


def _deploy(
    file: Path, yes: bool, suspended: bool, dry_run: bool, rerun: bool, server: str | None, overrule: bool
) -> None:
    from ml_suite.server.apply import refuse

    prepared, resolved = prepare(file, server, overrule, install=not dry_run)
    show(prepared)
    refuse(prepared.plan)
    _ready(prepared, rerun)
    if dry_run:
        next_step("ml-suite deploy", shown(file))
        return
    if not prepared.empty or rerun:
        _credentials(resolved)
        if not yes:
            _ask(prepared, rerun)
    _watch(prepared, resolved, file)
    if not prepared.empty or suspended:
        _apply(prepared, resolved, suspended)
    if rerun and not prepared.plan.new:
        _queue_again(prepared)
    next_step("ml-suite status", prepared.places.suite, "--watch")


def _ready(prepared: Prepared, rerun: bool) -> None:
    """Say early what would fail late."""
    from ml_suite.cli import say
    from ml_suite.server.rerun import must_be_over

    running = prepared.server.fetch(prepared.plan.suite)
    if rerun and running is not None:
        must_be_over(running)
    address = prepared.server.address
    if not address.here:
        say(
            f"note: the server on {address.host} must see {prepared.places.home}; set server.files if it does not"
        )


def _credentials(resolved: Resolved) -> None:
    """Every job reads them, so a suite without them fails at its first task."""
    from ml_suite.stores.connections import Connections

    Connections.load(resolved.connections)


def _ask(prepared: Prepared, rerun: bool) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("deploy asks before it changes the server, and there is no terminal; add -y")
    question = f"Apply to {prepared.server.address}?" if not prepared.empty else "Run the whole suite again?"
    if rerun and not prepared.empty:
        question = f"Apply to {prepared.server.address} and run the whole suite again?"
    click.confirm(question, abort=True)


def _watch(prepared: Prepared, resolved: Resolved, file: Path) -> None:
    """Let the server watch over the other machines before anything waits for them."""
    from ml_suite.home import home
    from ml_suite.hosts import reach
    from ml_suite.hosts.host import load
    from ml_suite.watch import deploy

    uses, beside = resolved.deployment.hosts, file.absolute().parent
    ways = [reach.of(name, load(name, beside), uses[name].user) for name in resolved.remote]
    done = deploy.deploy(prepared.server, home(), prepared.plan.suite, deploy.watched(resolved), ways)
    if done and resolved.remote:
        click.echo(f"  watched by /{done.applied.plan.suite}: {', '.join(resolved.remote)}")


def _apply(prepared: Prepared, resolved: Resolved, suspended: bool) -> None:
    from ml_suite.server.deploy import carry_out

    home = prepared.places.home
    # jobs' outputs may name data; the generated jobs hold the passwords of tasks
    (home / "jobs").mkdir(mode=0o700, parents=True, exist_ok=True)
    facts = {"Deployment": resolved.source.path}
    if resolved.source.commit:
        facts["Source-Commit"] = resolved.source.commit + (" (with changes)" if resolved.source.dirty else "")
    done = carry_out(prepared, facts, suspended)
    made, files = done.applied.plan, done.file_changes
    counts = f"added {made.count('+')}, changed {made.count('~')}, removed {made.count('-')}"
    click.echo(f"  {counts}; {made.kept - made.count('~')} nodes untouched")
    click.echo(
        f"  files: {files.written} written, {len(files.removed)} removed, {files.unchanged} unchanged"
        f"   commit {done.commit[:7]} in {prepared.places.tree}"
    )
    if done.applied.repeated:
        click.echo(
            f"  {len(done.applied.repeated)} messages of jobs came in during the replace and were repeated"
        )
    if done.applied.backup:
        click.echo(f"  state before: {done.applied.backup}")
    if suspended:
        click.echo(f"  the suite is suspended; resume it: ecflow_client --resume=/{made.suite}")
        if "ECF_HOST" not in os.environ:
            click.echo(f"  for ecflow_client: {prepared.server.address.exports}")


def _queue_again(prepared: Prepared) -> None:
    from ml_suite.server.rerun import rerun

    running = prepared.server.fetch(prepared.plan.suite)
    if running is not None:
        click.echo(f"  queued again: {', '.join(rerun(prepared.server, running))}")
