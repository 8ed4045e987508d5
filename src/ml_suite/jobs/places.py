"""Where the trials of a suite ran, seen from one host: its own tree and, beside the ecFlow server, those of others.

What a job on another host leaves is mirrored below ``WORK/mirror/HOST`` with the same relative layout. The paths that
it wrote down are that host's; they are translated when they are read, and files are never changed.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath, PurePosixPath

from ml_suite.config.resolved import Resolved
from ml_suite.layout import ONCE, WorkTree
from ml_suite.study import record
from ml_suite.study.contract import Checkpoint, TrialResult

ELSEWHERE = "elsewhere"
"""Folder of a mirror that stands for what lies outside of a host's work folder; nothing is ever in it."""


@dataclass(frozen=True)
class Place:
    """One host's tree as this host sees it."""

    host: str
    tree: WorkTree
    work: PurePosixPath | None = None
    """Work folder at that host, of which the tree is a mirror; None: the tree is this host's own."""

    @property
    def mirrored(self) -> bool:
        """The files come from another machine."""
        return self.work is not None

    def relative(self, path: PurePosixPath) -> PurePosixPath | None:
        """Path below the host's work folder; None if it lies elsewhere.

        A path that reaches the work folder by another name (a link) is known by the suite's folder in it.
        """
        clean = _clean(path)
        if self.work is not None and clean.is_relative_to(self.work):
            return clean.relative_to(self.work)
        parts, inside = clean.parts, ("suites", self.tree.suite)
        starts = [i for i in range(len(parts) - 1) if parts[i : i + 2] == inside]
        return PurePosixPath(*parts[starts[-1] :]) if starts else None

    def here(self, path: Path) -> Path:
        """Where a file of the host is on this machine, now or once it is fetched."""
        if not self.mirrored:
            return path
        below = self.relative(PurePosixPath(path))
        return self.tree.work / (below or PurePosixPath(ELSEWHERE, *_clean(path).parts[1:]))

    def result(self, result: TrialResult) -> TrialResult:
        """The result with paths of this machine."""
        if not self.mirrored:
            return result
        return result.model_copy(
            update={"checkpoint": self._moved(result.checkpoint), "resume": self._moved(result.resume)}
        )

    def record(self, step: int, study: str | None = None) -> list[TrialResult]:
        """Merged record of one step at this host, with paths as written there."""
        return record.merge(self.tree.shard(step, "any").parent.glob("*.jsonl"), study)

    def _moved(self, weights: Checkpoint | None) -> Checkpoint | None:
        return weights.model_copy(update={"path": self.here(weights.path)}) if weights else None


@dataclass(frozen=True)
class Found:
    """A trial's result and where it ran."""

    place: Place
    result: TrialResult
    """With paths of this machine."""


def _clean(path: PurePath) -> PurePosixPath:
    """Without ``..``: what a host wrote down leads nowhere but into its mirror."""
    return PurePosixPath(posixpath.normpath(path))


def places(resolved: Resolved, host: str, cycle: str = ONCE) -> list[Place]:
    """HOST's own tree and, if it is the one beside the ecFlow server, the mirrors of the other machines."""
    own = Place(host, WorkTree.of(resolved, host, cycle))
    others = resolved.remote if host == resolved.ops else []
    return [own, *(mirror(resolved, other, cycle) for other in others)]


def mirror(resolved: Resolved, host: str, cycle: str = ONCE) -> Place:
    """Another machine's tree as mirrored beside the ecFlow server."""
    work = PurePosixPath(resolved.hosts[host].work)
    return Place(host, WorkTree.mirror(resolved, host, cycle), work)


def found(where: Iterable[Place], step: int, study: str | None = None) -> list[Found]:
    """Trainings of one step at all places; one that ran at several counts once, as in one record."""
    return _together((place, place.record(step, study)) for place in where)


def piloted(where: Iterable[Place], part: str, study: str | None = None) -> list[TrialResult]:
    """Trainings of a part of the pilot, wherever it ran."""
    records = ((place, record.merge([place.tree.pilot_record(part)], study)) for place in where)
    return [one.result for one in _together(records)]


def _together(records: Iterable[tuple[Place, list[TrialResult]]]) -> list[Found]:
    merged: dict[record.Key, Found] = {}
    for place, results in records:
        for result in results:
            key = record.key(result)
            known = merged.get(key)
            if known is None or record.order(result) >= record.order(known.result):
                merged[key] = Found(place, place.result(result))
    return [merged[key] for key in sorted(merged)]
