"""Bring what trials left on another host to its mirror beside the ecFlow server, and deliver it.

Parcels and records come every minute (`courier`), the small files of trials and the weights when they are asked for
(`pull`). Nothing at the host is changed or removed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from ml_suite.config.resolved import Resolved
from ml_suite.errors import ConfigError, MlSuiteError
from ml_suite.hosts import fetch, reach
from ml_suite.hosts.fetch import Fetched
from ml_suite.jobs import behind, deliver
from ml_suite.jobs.behind import Behind, SuiteBehind
from ml_suite.jobs.context import Job
from ml_suite.jobs.places import Place, mirror
from ml_suite.study.contract import Checkpoint, StudyPlan, TrialState

_NEWS_SECONDS = 50.0
_TRIALS_SECONDS = 900.0
_SLOWEST = 1 << 20
"""Bytes a second below which weights are taken to be stuck."""

_STUDY = (
    "plan.json",
    "selection.json",
    "step[012]/",
    "step[012]/*.jsonl",
    "pilot/",
    "pilot/decision.json",
    "pilot/*%-*/",
    "pilot/*%-*/record.jsonl",
)
_TRIAL = ("trial.json", "result.json", "metrics.jsonl", "log.txt")


@dataclass(frozen=True)
class Mirrored:
    """What came of a pull."""

    files: int
    bytes: int
    waiting: tuple[PurePosixPath, ...] = ()
    """Weights that results at the host name and that are not here, relative to the host's work folder."""


def pull(resolved: Resolved, host: str, cycle: str, weights: bool) -> Mirrored:
    """Bring parcels, records and the small files of trials of one suite; nothing that is here comes again.

    Parameters
    ----------
    weights
        Bring the weights of candidates and single trainings too.

    Raises
    ------
    CredentialNeeded
        If a person has to log in first.
    HostUnreachable
        If there is no connection, or it was lost; call again.
    HostError
        If rsync is missing there, or files cannot be read there or written here.
    """
    place = mirror(resolved, host, cycle)
    got = [_tree(place, rules({place.tree.suite: cycle}, trials=True), _TRIALS_SECONDS)]
    if weights and (named := weights_of(place)):
        got.append(_weights(place, named))
    missing = [path for path, file in weights_of(place).items() if not _is_here(place, path, file)]
    return Mirrored(sum(len(g.names) for g in got), sum(g.bytes for g in got), tuple(missing))


def rules(suites: Mapping[str, str], trials: bool) -> list[str]:
    """Filter rules of rsync for the folder ``suites``: cycles by suite, a cycle may be a pattern."""
    chosen = ["+ /suites/"]
    for suite, cycle in suites.items():
        study = f"/suites/{suite}/{cycle}/study"
        wanted = [f"/suites/{suite}/", f"/suites/{suite}/outbox/", f"/suites/{suite}/outbox/*.json"]
        wanted += [f"/suites/{suite}/{cycle}/", f"/suites/{suite}/{cycle}/environment-*.json", f"{study}/"]
        wanted += [f"{study}/{name}" for name in _STUDY]
        if trials:
            for folder in (f"{study}/step[012]/trials", f"{study}/pilot/*%-*/trials"):
                wanted += [f"{folder}/", f"{folder}/[0-9]*/", *(f"{folder}/[0-9]*/{name}" for name in _TRIAL)]
        chosen += [f"+ {name}" for name in wanted]
    return [*chosen, "- *"]


def weights_of(place: Place) -> dict[PurePosixPath, Checkpoint]:
    """Weights worth keeping that the mirrored record names, by their paths below the host's work folder."""
    try:
        study = StudyPlan.load(place.tree.plan).study
    except (OSError, ValueError):
        return {}
    results = [r for step in (0, 2) for r in place.record(step, study) if r.state is TrialState.COMPLETE]
    files = [r.checkpoint for r in results if r.checkpoint]
    located = {place.relative(PurePosixPath(file.path)): file for file in files}
    return {path: file for path, file in located.items() if path}


def _tree(place: Place, chosen: list[str], seconds: float) -> Fetched:
    assert place.work is not None
    return fetch.tree(reach.known(place.host), place.work, "suites", place.tree.work, chosen, seconds)


def _weights(place: Place, named: Mapping[PurePosixPath, Checkpoint]) -> Fetched:
    """Over the endpoint for files where there is one; some sites end processes that copy much on the other."""
    assert place.work is not None
    control, transfer = (reach.known(place.host, end) for end in (reach.CONTROL, reach.TRANSFER))
    seconds = _TRIALS_SECONDS + sum(file.size for file in named.values()) / _SLOWEST
    names = [str(path) for path in named]
    if transfer.address != control.address:
        try:
            return fetch.files(transfer, place.work, names, place.tree.work, seconds)
        except fetch.NoRsync:
            pass
    return fetch.files(control, place.work, names, place.tree.work, seconds)


def _is_here(place: Place, path: PurePosixPath, file: Checkpoint) -> bool:
    here = place.tree.work / path
    return here.is_file() and here.stat().st_size == file.size


def courier(host: str, home: Path) -> str:
    """Bring the news of a host for all suites that use it, and deliver what can be delivered.

    A host that does not answer and a service that is down are told in the line, never an error: what waits, waits.

    Parameters
    ----------
    home
        ML_SUITE_HOME of this machine.

    Returns
    -------
    One line: ``3 parcels, oldest 12 min; last contact 08:31``.
    """
    os.environ["ML_SUITE_HOME"] = str(home)
    suites = using(host, home)
    before = behind.read(home, host)
    contact, problem, hint = before.contact if before else None, "", None
    try:
        if suites:
            _news(host, suites)
            contact = datetime.now(UTC)
    except MlSuiteError as error:
        problem, hint = error.message, error.hint
    seen = Behind(
        host=host,
        checked=datetime.now(UTC),
        contact=contact,
        problem=problem,
        hint=hint,
        suites={r.deployment.suite: _delivered(r, host) for r in suites},
    )
    seen.save(behind.path(home, host))
    return seen.words(datetime.now(UTC))


def using(host: str, home: Path) -> list[Resolved]:
    """Deployed suites with jobs at the host; one that another version deployed waits for its next deploy."""
    found = []
    for path in sorted(home.glob("suites/*/resolved.json")):
        try:
            resolved = Resolved.load(path)
        except ConfigError:
            continue
        if host in resolved.remote:
            found.append(resolved)
    return found


def _news(host: str, suites: Iterable[Resolved]) -> None:
    """Bring parcels and records, in one session for all suites that share a work folder."""
    together: dict[tuple[PurePosixPath | None, Path], list[Place]] = {}
    for resolved in suites:
        place = mirror(resolved, host)
        together.setdefault((place.work, place.tree.work), []).append(place)
    for places in together.values():
        _tree(places[0], rules({p.tree.suite: "*" for p in places}, trials=False), _NEWS_SECONDS)


def _delivered(resolved: Resolved, host: str) -> SuiteBehind:
    job = Job(resolved, resolved.ops)
    problem = ""
    try:
        done = deliver.carry(job, patience=0.0)
        left, problem = list(done.left), done.problems[0].message if done.problems else ""
    except MlSuiteError as error:
        # another courier of the suite may be at work: it takes these parcels too
        problem = "" if isinstance(error, deliver.AnotherCourier) else error.message
        left = deliver.waiting(job)
    mirrored = mirror(resolved, host).tree.outbox
    times = [path.stat().st_mtime for path in left if path.parent == mirrored and path.exists()]
    oldest = datetime.fromtimestamp(min(times), UTC) if times else None
    return SuiteBehind(parcels=len(times), oldest=oldest, problem=problem)
