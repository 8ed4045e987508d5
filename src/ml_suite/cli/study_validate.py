"""``ml-suite study validate``: everything that `study run` checks before it trains anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ml_suite.cli.options import coloured, json_option, next_step, print_json, shown
from ml_suite.cli.study_run import file_argument, folder_option

if TYPE_CHECKING:
    from ml_suite.config.findings import Finding
    from ml_suite.search.freeze import Frozen


@click.command(
    epilog="""\b
Examples:
  ml-suite study validate suites/aerosol/study.yaml
  ml-suite study validate study.yaml --show-defaults"""
)
@file_argument
@folder_option
@json_option
@click.option("--show-defaults", is_flag=True, help="Print the file with everything that it leaves out.")
def command(file: Path, folder: Path | None, as_json: bool, show_defaults: bool) -> int:
    """Check the study FILE, its samples and its training environment; nothing is trained, made or written.

    Every error comes at once, as FILE:LINE:COLUMN with what to write instead.
    """
    return validate(file, folder, as_json, show_defaults)


def validate(file: Path, folder: Path | None, as_json: bool, show_defaults: bool) -> int:
    """Check a study file, say what is found, and return the exit code."""
    from ml_suite.cli import say
    from ml_suite.cli.validate import as_yaml, found_json
    from ml_suite.config import study_file
    from ml_suite.config.findings import Severity, report

    name = shown(file)
    frozen, findings = _examined(file, folder)
    valid = not any(finding.severity is Severity.ERROR for finding in findings)
    if as_json:
        print_json(found_json(name, {"study": frozen.file.study if frozen else None}, findings, valid))
        return 0 if valid else 2
    if findings:
        say(coloured(report(name, findings)))
    if not valid:
        return 2
    if show_defaults:
        click.echo(as_yaml(study_file.written(study_file.parse(file)[0])), nl=False)
        return 0
    click.echo(f"{name} is valid" + (f": {summary(frozen)}" if frozen else ""))
    next_step("ml-suite study run", name, *(["--folder", shown(folder)] if folder else []))
    return 0


def _examined(file: Path, folder: Path | None) -> tuple[Frozen | None, list[Finding]]:
    """Return the study, where it is known so far, and everything that was found."""
    from ml_suite.config.findings import FileError, Finding, Severity
    from ml_suite.errors import StudyError
    from ml_suite.search import decide, samples
    from ml_suite.search.freeze import freeze

    findings: list[Finding] = []
    frozen = None
    try:
        frozen = freeze(file, folder, doubt=findings.append, make=False)
        decide.require_same(frozen)
    except FileError as error:
        findings += [finding for finding in error.findings if finding not in findings]
    except samples.Unmade as error:
        hint = "`run` makes it first, and checks then what depends on it"
        findings.append(Finding(Severity.NOTE, error.message, hint=hint))
    except StudyError as error:
        findings.append(Finding(Severity.ERROR, error.message, hint=error.hint))
    return frozen, findings


def summary(frozen: Frozen) -> str:
    """Return what a study does, in one line."""
    from ml_suite.cli.study_words import several
    from ml_suite.search.freeze import described
    from ml_suite.study import record

    hpo, plan = frozen.file.hpo, frozen.plan
    shares = {"subset": hpo.step1.subset, "keep": hpo.step2.keep}
    auto = [name for name, share in shares.items() if share == "auto"]
    if auto:
        words = [f"{several(plan.trials, 'trial')}, and a pilot says which {' and which '.join(auto)}"]
    else:
        words = [described(plan)]
    choice = plan.choice
    words += [several(choice.controls, "control")] if choice.controls else []
    more = choice.again()
    words += [f"{more:,} with other seeds"] if more else []
    paths = [path for stage in ("step1", "step2") for path in frozen.folder.records(stage)]
    done = len(record.merge(paths, plan.study))
    words += [f"{done:,} are trained already"] if done else []
    return ", ".join(words)
