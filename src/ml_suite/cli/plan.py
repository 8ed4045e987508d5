"""``ml-suite plan``: what a deploy would change on the server."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ml_suite.cli.options import deployment_argument, json_option, next_step, print_json, shown

if TYPE_CHECKING:
    from ml_suite.config.deployment import Deployment
    from ml_suite.config.resolved import Resolved
    from ml_suite.server.address import Address
    from ml_suite.server.deploy import Prepared
    from ml_suite.server.show import Line
    from ml_suite.suite.worth import Worth

CHANGES = 3
_COLOURS = {"+": "green", "~": "yellow", "-": "red", "=": "cyan", "!": "red"}

server_option = click.option(
    "--server",
    metavar="HOST:PORT",
    help="The ecFlow server; default: ECF_HOST and ECF_PORT, then the deployment's, then the embedded one.",
)
overrule_option = click.option(
    "--overrule", is_flag=True, help="Take the deployment's value where an operator set another."
)


@click.command(
    epilog="""\b
Examples:
  ml-suite plan suites/demo/deployment.yaml
  ml-suite plan suites/demo --json --detailed-exitcode
\b
Exit codes: 0, or with --detailed-exitcode 3 when something would change; 1 when deploy would refuse."""
)
@deployment_argument
@json_option
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 3 when something would change.")
@server_option
@overrule_option
def command(file: Path, as_json: bool, detailed_exitcode: bool, server: str | None, overrule: bool) -> int:
    """Show what deploying FILE would change on the server, and what state that would cost.

    Nothing is changed, here or there.
    """
    from ml_suite.suite.worth import left, worth

    prepared, resolved = prepare(file, server, overrule)
    search = worth(resolved.deployment)
    if as_json:
        print_json({**as_data(prepared), "search": _search(search)})
    else:
        show(prepared)
        if words := search.words if search else left(resolved.deployment):
            click.echo(words)
        if prepared.plan.refusals:
            click.echo("Deploy would refuse this.")
        elif not prepared.empty:
            next_step("ml-suite deploy", shown(file))
        else:
            next_step("ml-suite status", prepared.places.suite)
    if prepared.plan.refusals:
        return 1
    return CHANGES if detailed_exitcode and not prepared.empty else 0


def prepare(
    file: Path, server: str | None, overrule: bool, install: bool = False
) -> tuple[Prepared, Resolved]:
    """Validate the deployment, build its suite and compare it with what runs.

    Parameters
    ----------
    install
        Put the code of the jobs in place, beside that of earlier versions.

    Raises
    ------
    ConfigError
        If the deployment is not valid.
    ServerUnreachable
        If there is no server to compare with.
    """
    from ml_suite.config.locate import shipped
    from ml_suite.config.resolve import resolve
    from ml_suite.home import home
    from ml_suite.hosts.host import load
    from ml_suite.library import install_library, library_folder
    from ml_suite.server.client import connect
    from ml_suite.server.deploy import Places
    from ml_suite.server.deploy import prepare as compare
    from ml_suite.services.addresses import Places as Services
    from ml_suite.suite.build import FACTS, build
    from ml_suite.suite.facts import Here, facts
    from ml_suite.suite.nodes import Places as SuitePlaces

    deployment = validated(file)
    address = server_of(deployment, server)
    # tell early that nobody answers, before anything is built
    reached = connect(address)
    root = folder(deployment)
    tree = Places(root, deployment.suite).tree
    resolved = resolve(deployment, file, tree, Services(home()).connections)
    library = install_library(root) if install else library_folder(root)
    places = SuitePlaces(tree / "scripts", root / "jobs", library, Path(sys.executable), address.host)
    files = deployed_files(file, resolved)
    machines = {name: load(name, file.absolute().parent) for name in deployment.hosts}
    jobs = facts(resolved, machines, files, Here(home(), library, address.host))
    built = build(resolved, places, shipped() / "suites" / "scripts", jobs)
    files |= {f"scripts/{name}": text for name, text in built.files.items()}
    files[FACTS] = jobs.text
    return compare(reached, root, built.defs, deployment.suite, files, overrule), resolved


def validated(file: Path) -> Deployment:
    """Read the deployment; warnings go to stderr.

    Raises
    ------
    ConfigError
        With everything that is wrong.
    """
    from ml_suite.cli import say
    from ml_suite.cli.options import coloured
    from ml_suite.config.checks import check
    from ml_suite.config.findings import FileError, Severity, report
    from ml_suite.config.locate import near
    from ml_suite.config.source import load, parse
    from ml_suite.study import feasibility

    name = near(file)
    source = load(file, name)
    deployment = parse(source)
    findings = [*check(deployment, source, file), *feasibility.check(deployment.hpo, source)]
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise FileError(name, findings)
    if findings:
        say(coloured(report(name, findings)))
    return deployment


def server_of(deployment: Deployment | None, flag: str | None) -> Address:
    """Address of the server of a deployment."""
    from ml_suite.home import home
    from ml_suite.server.address import find

    named = deployment.server if deployment else None
    return find(home(), flag, (named.host, named.port) if named else None)


def folder(deployment: Deployment) -> Path:
    """Folder that deployed files and job outputs go to, as the server sees it."""
    from ml_suite.home import home

    if deployment.server and deployment.server.files:
        return Path(deployment.server.files).expanduser().absolute()
    return home()


def deployed_files(file: Path, resolved: Resolved) -> dict[str, str]:
    """Contents, by path below the suite's work tree, of what jobs read on their host."""
    from ml_suite.config.resolve import needed
    from ml_suite.software.place import deployed_name

    deployment, beside = resolved.deployment, file.absolute().parent
    recipe = needed(deployment.dataset.recipe, beside, "dataset.recipe")
    files = {"resolved.json": resolved.model_dump_json(indent=1) + "\n"}
    files[str(resolved.recipe_file.relative_to(resolved.files))] = recipe.read_text()
    if resolved.config_file is not None and deployment.training.config:
        config = needed(deployment.training.config, beside, "training.config")
        files[str(resolved.config_file.relative_to(resolved.files))] = config.read_text()
    for name in deployment.training.files:
        path = needed(name, beside, "training.files")
        files[str(resolved.training_folder.relative_to(resolved.files) / path.name)] = path.read_text()
    for name, use in deployment.hosts.items():
        if use.software and use.software.wheelhouse:
            path = needed(use.software.wheelhouse, beside, f"hosts.{name}.software.wheelhouse")
            files[deployed_name(name)] = path.read_text()
    return files


def show(prepared: Prepared) -> None:
    """Print the plan for a person."""
    from ml_suite.server.show import lines, totals

    made, address = prepared.plan, prepared.server.address
    what = "new" if made.new else "running"
    click.echo(f"Suite {made.suite} on {address} ({what})")
    rows = lines(made, prepared.file_changes)
    if rows:
        click.echo()
    for row in rows:
        click.echo(_coloured(row))
    click.echo()
    click.echo(totals(made, prepared.file_changes))
    if not prepared.server.running():
        click.echo("The server does not submit jobs now. Start it again: ecflow_client --restart")


def _search(search: Worth | None) -> dict[str, float] | None:
    if search is None:
        return None
    return {"full_trainings": search.trainings, "share": search.share}


def _coloured(row: Line) -> str:
    return f"  {click.style(row.sign, fg=_COLOURS[row.sign], bold=True)} {row.text}"


def as_data(prepared: Prepared) -> dict[str, Any]:
    """Return the plan for a program; the keys are stable."""
    made = prepared.plan
    return {
        "suite": made.suite,
        "server": str(prepared.server.address),
        "new": made.new,
        "empty": prepared.empty,
        "changes": [asdict(c) for c in made.changes],
        "notes": [asdict(n) for n in made.notes],
        "refusals": [asdict(r) for r in made.refusals],
        "kept": made.kept,
        "files": asdict(prepared.file_changes),
        "folder": str(prepared.places.tree),
    }
