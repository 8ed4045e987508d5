"""``ml-suite hosts check``: what differs between a machine and its host file."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ml_suite.cli.options import json_option, next_step, print_json

if TYPE_CHECKING:
    from ml_suite.hosts.doctor import Finding

_COLOURS = {"ok": "green", "differs": "red", "unknown": "yellow", "login": "yellow"}


@click.command(
    epilog="""\b
Examples:
  ml-suite hosts check local
  ml-suite hosts check HOST --account PROJECT --json
\b
Exit codes: 0 nothing differs, 1 something does, 4 a person has to log in or renew a credential."""
)
@click.argument("host")
@click.option("--account", help="Who pays (default: that of your own host file).")
@click.option("--user", help="Your name there (default: the host file's, then that of ~/.ssh/config).")
@json_option
def check(host: str, account: str | None, user: str | None, as_json: bool) -> int:
    """Compare the machine HOST with its host file, and say how to mend what differs."""
    from pathlib import Path

    from ml_suite.hosts import doctor, reach
    from ml_suite.hosts.host import load

    facts = load(host, Path.cwd())
    ways = reach.of(host, facts, user)
    reach.save(ways)
    found = []
    for finding in doctor.check(doctor.Examined(facts, *ways, account=account, user=user)):
        found.append(finding)
        if not as_json:
            _show(finding)
    verdicts = {finding.verdict for finding in found}
    if as_json:
        print_json([asdict(finding) for finding in found])
    elif "login" in verdicts:
        next_step("ml-suite hosts login", host)
    elif "differs" not in verdicts:
        next_step("ml-suite hosts show", host)
    return 1 if "differs" in verdicts else 4 if "login" in verdicts else 0


def _show(finding: Finding) -> None:
    word = click.style(f"{finding.verdict:8}", fg=_COLOURS[finding.verdict])
    click.echo(f"{word}{finding.name:16}{finding.found}")
    if finding.fix and finding.verdict != "ok":
        click.echo(f"{'':24}{finding.fix}")
