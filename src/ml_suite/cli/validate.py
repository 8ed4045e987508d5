"""``ml-suite validate``: everything that can be checked without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ml_suite.cli.options import DeploymentFile, coloured, json_option, next_step, print_json

if TYPE_CHECKING:
    from ml_suite.config.deployment import Deployment
    from ml_suite.config.findings import Finding


@click.command(
    epilog="""\b
Examples:
  ml-suite validate suites/demo --show-defaults
  ml-suite validate suites/aerosol/study.yaml"""
)
@click.argument("file", type=DeploymentFile(or_study=True))
@json_option
@click.option("--show-defaults", is_flag=True, help="Print the file with everything that it leaves out.")
def command(file: Path, as_json: bool, show_defaults: bool) -> int:
    """Check the deployment or study FILE, or FILE/deployment.yaml, FILE/study.yaml, without a network.

    Every error comes at once, as FILE:LINE:COLUMN with what to write instead. The search space is compared with the
    composed training configuration when the training environment is installed on this machine.
    """
    from ml_suite.cli import say
    from ml_suite.config.checks import check
    from ml_suite.config.findings import FileError, Severity, report
    from ml_suite.config.locate import near
    from ml_suite.config.source import is_study, load, parse
    from ml_suite.study import feasibility

    name = near(file)
    deployment, findings = None, []
    try:
        source = load(file, name)
        if is_study(source.data):
            from ml_suite.cli.study_validate import validate

            return validate(file, None, as_json, show_defaults)
        deployment = parse(source)
        findings = [*check(deployment, source, file), *feasibility.check(deployment.hpo, source)]
    except FileError as error:
        findings = list(error.findings)
    valid = not any(finding.severity is Severity.ERROR for finding in findings)
    if as_json:
        suite = deployment.suite if deployment else None
        print_json(found_json(name, {"suite": suite}, findings, valid))
        return 0 if valid else 2
    if findings:
        say(coloured(report(name, findings)))
    if not valid or deployment is None:
        return 2
    if show_defaults:
        click.echo(as_yaml(deployment.model_dump(mode="json", exclude_none=True)), nl=False)
        return 0
    click.echo(f"{name} is valid: {summary(deployment)}")
    next_step("ml-suite plan", name)
    return 0


def summary(deployment: Deployment) -> str:
    """Return what a deployment does, in one line."""
    from ml_suite.study.planning import most_kept

    hpo = deployment.hpo
    words = ["one training"]
    if hpo is not None:
        kept = hpo.keep_count or f"up to {most_kept(hpo)}"
        words = [f"{hpo.step1.trials} trials", f"{kept} retrained"]
    count = len(deployment.hosts)
    return ", ".join([*words, f"{count} host{'s' if count > 1 else ''}"])


def found_json(name: str, what: dict[str, Any], findings: Sequence[Finding], valid: bool) -> dict[str, Any]:
    """Return what was found in a file, for a program; WHAT says which file it is."""
    return {
        "file": name,
        "valid": valid,
        **what,
        "findings": [
            {
                "severity": finding.severity,
                "file": finding.place.file if finding.place else None,
                "line": finding.place.line if finding.place else None,
                "column": finding.place.column if finding.place else None,
                "key": finding.key or None,
                "message": finding.message,
                "hint": finding.hint,
            }
            for finding in findings
        ],
    }


def as_yaml(data: dict[str, Any]) -> str:
    """Write plain data as a person writes a file."""
    from io import StringIO

    from ruamel.yaml import YAML

    yaml, text = YAML(), StringIO()
    yaml.default_flow_style = False
    yaml.dump(data, text)
    return text.getvalue()
