"""Prepare another machine from beside the ecFlow server: ship, install, and run the check there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ml_suite.config.resolved import HostPaths
from ml_suite.errors import HostError
from ml_suite.hosts import jobhost, reach, ship
from ml_suite.hosts.jobhost import JobHost
from ml_suite.jobs import callback
from ml_suite.jobs.context import Job
from ml_suite.jobs.setup import HostEnvironment
from ml_suite.software import place
from ml_suite.software.patience import Line
from ml_suite.software.prepare import Prepared, prepare

_NO_PYTHON, _OLD_PYTHON = 79, 80
_LONGEST = 900.0
"""Seconds for the check: imports take long on file systems that many share."""

_CHECK = """\
[ -x "$ML_SUITE_PYTHON" ] || exit 79
"$ML_SUITE_PYTHON" -c 'import sys; sys.exit(80 if sys.version_info < (3, 11) else 0)' >&2 || exit
"$ML_SUITE_PYTHON" -m ml_suite.jobs setup >&2 || exit
cat "$REPORT"
"""


@dataclass(frozen=True)
class _There:
    """One machine and what the suite has on it."""

    job: Job
    host: str
    facts: JobHost
    line: Line

    @property
    def paths(self) -> HostPaths:
        return self.job.resolved.hosts[self.host]


def run(job: Job, host: str) -> None:
    """Ship, install, check, and record what was found.

    Raises
    ------
    HostError
        If the host cannot be made ready.
    MlSuiteError
        As `channel.run`, when patience is at its end.
    """
    suite = jobhost.load(job.resolved.files / "hosts.json")
    # whatever the environment of the job says: connections are where deploy keeps them
    os.environ["ML_SUITE_HOME"] = str(suite.home)

    def say(text: str) -> None:
        callback.label("software", text)
        print(text, flush=True)

    there = _There(job, host, suite.host(host), Line(reach.known(host), say))
    ship_tree(there.line, there.facts.library_here, None, there.facts.library)
    ship_tree(there.line, there.facts.files_here, there.facts.files_names, there.facts.files)
    prepared = prepare(
        there.line,
        job.deployment.hosts[host].software,
        _file(there),
        there.paths.environment,
        suite.home,
    )
    found = _recorded(there, prepared)
    found.save(job.tree.root / f"environment-{host}.json")
    callback.label("software", found.words)
    for note in found.notes:
        print(f"note: {note}")
    print(f"{host}: {found.words}, {'made now' if prepared.fresh else 'was there'}")


def ship_tree(line: Line, here: Path, names: tuple[str, ...] | None, there: Path) -> None:
    """Make sure that a tree is at the host, every file as it was sent."""

    def shipped() -> bool:
        return ship.tree(line.way, here, names, there)

    if line.patiently(shipped) or line.patiently(lambda: ship.whole(line.way, there)):
        return
    line.say(f"{there} is sent again: a file of it has changed")
    line.run(["rm", "-f", str(there / ship.MANIFEST)])
    line.patiently(shipped)


def _file(there: _There) -> Path | None:
    """What the environment is made from: as deployed, where that is a copy."""
    deployed = there.job.resolved.files / place.deployed_name(there.host)
    return deployed if deployed.exists() else there.paths.software


def _recorded(there: _There, prepared: Prepared) -> HostEnvironment:
    """Run the check at the host, with its Python, and return what it found."""
    tree = there.job.tree.root.relative_to(there.job.tree.work)
    python = there.paths.environment / "bin" / "python"
    settings = {
        "ML_SUITE_PYTHON": python,
        "ML_SUITE_RESOLVED": there.facts.files / "resolved.json",
        "ML_SUITE_HOST": there.host,
        "ML_SUITE_CYCLE": there.job.cycle,
        "PYTHONPATH": there.facts.library,
        "PYTHONDONTWRITEBYTECODE": "1",
        "REPORT": there.paths.work / tree / f"environment-{there.host}.json",
    }
    words = ["env", *(f"{name}={value}" for name, value in settings.items()), "sh", "-c", _CHECK]
    done = there.line.run(words, timeout=_LONGEST)
    if done.code:
        raise HostError(*_reason(there, done.code, done.err))
    found = HostEnvironment.model_validate_json(done.out)
    made = there.job.deployment.hosts[there.host].software
    installed = there.paths.environment.name if made else None
    return found.model_copy(update={"installed": installed, "notes": prepared.notes})


def _reason(there: _There, code: int, err: str) -> tuple[str, str]:
    """What is wrong, and what to do about it."""
    environment = there.paths.environment
    other = "Name another: hosts.NAME.environment; or let setup make one: hosts.NAME.software."
    if code == _NO_PYTHON:
        return f"{there.host}: there is no environment {environment}", other
    if code == _OLD_PYTHON:
        return f"{there.host}: the Python of {environment} is older than 3.11", other
    rows = [row.strip() for row in err.splitlines() if row.strip()] or ["no word"]
    if missing := next((row for row in rows if row.startswith("ModuleNotFoundError")), None):
        return (
            f"{there.host}: the environment {environment} has no {missing.split()[-1].strip(chr(39))}, which jobs need",
            "Add it to the requirements file, the image or the environment.",
        )
    told = next((i for i, row in enumerate(rows) if row.startswith("error: ")), len(rows) - 1)
    hint = rows[told + 1] if told + 1 < len(rows) else "Look at the job's output."
    return f"{there.host}: {rows[told].removeprefix('error: ')}", hint
