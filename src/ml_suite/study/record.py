"""The record of a study: what its trials did, append-only.

One JSONL file per job, one line per finished trial, on disk before the next trial starts. After ``kill -9`` a torn last
line is dropped, and its trial runs again. Files are merged by (step, trial, replicate), so neither the number of jobs
nor their order is seen in the result table.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ml_suite.errors import StudyError
from ml_suite.study.contract import TrialResult, TrialState

Key = tuple[int, int, int]
"""Step, trial and replicate."""

_TAIL = 1 << 16
"""Bytes that are read at once to find the last line end."""

_sync = getattr(os, "fdatasync", os.fsync)
# data and size are enough to read a line again; that spares a write of the inode's times for each


class Record:
    """A file that one job appends to; what a killed job left half written is cut off when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            self._size = _whole(self._file)
            os.ftruncate(self._file, self._size)
        except OSError as error:
            raise _unwritten(path, error) from error

    def add(self, results: Sequence[TrialResult]) -> None:
        """Append lines and wait until they are on disk.

        Raises
        ------
        StudyError
            If they cannot be written, such as on a full disk; nothing of them is left in the file then.
        """
        lines = "".join(result.model_dump_json() + "\n" for result in results).encode()
        try:
            written = 0
            while written < len(lines):
                written += os.write(self._file, lines[written:])
            _sync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise _unwritten(self.path, error) from error
        self._size += len(lines)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def append(path: Path, result: TrialResult) -> None:
    """Add one line; see `Record`."""
    with Record(path) as record:
        record.add([result])


def read(path: Path) -> list[TrialResult]:
    """Finished trials of one file, in the order written.

    Raises
    ------
    StudyError
        If a line other than a torn last one cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    lines = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
    results = []
    for number, line in enumerate(lines, start=1):
        try:
            results.append(TrialResult.model_validate_json(line))
        except ValueError as error:
            raise StudyError(
                f"{path}:{number}: not a trial's result", "Remove that line; its trial will run again."
            ) from error
    return results


@dataclass(frozen=True)
class Merged:
    """Several files as one record."""

    results: list[TrialResult]
    """By step, trial and replicate, each once."""
    foreign: dict[str, int]
    """Lines of other studies that were left out, by study."""

    @property
    def left_out(self) -> str:
        """What was left out, for a person; empty if nothing was."""
        return "; ".join(f"{count} of study {study}" for study, count in sorted(self.foreign.items()))


def gather(paths: Iterable[Path], study: str | None = None) -> Merged:
    """Read several files as one record; a training that ran more than once counts once.

    Parameters
    ----------
    study
        Leave out results of other studies, and count them.
    """
    merged: dict[Key, TrialResult] = {}
    foreign: Counter[str] = Counter()
    for path in sorted(paths):
        own: dict[Key, TrialResult] = {}
        for result in read(path):
            if study is not None and result.study != study:
                foreign[result.study] += 1
                continue
            known = own.get(key(result))
            # lines of one file are in the order of time, whatever the clock said
            if known is None or _follows(result, known):
                own[key(result)] = result
        for name, result in own.items():
            known = merged.get(name)
            if known is None or order(result) >= order(known):
                merged[name] = result
    return Merged([merged[name] for name in sorted(merged)], dict(foreign))


def merge(paths: Iterable[Path], study: str | None = None) -> list[TrialResult]:
    """Results of several files; see `gather`."""
    return gather(paths, study).results


def key(result: TrialResult) -> Key:
    """What a training is known by."""
    return result.step, result.trial, result.replicate


def table(results: Sequence[TrialResult]) -> str:
    """Result table as CSV: what the seed determines, without times, hosts and run ids.

    It is the same, byte for byte, for any number of shards and whatever was killed on the way.
    """
    names = sorted({name for result in results for name in result.params})
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([*_COLUMNS, *names])
    for r in sorted(results, key=key):
        told = [r.state.value if name == "state" else getattr(r, name) for name in _COLUMNS]
        rows.writerow([_cell(x) for x in [*told, *(r.params.get(name) for name in names)]])
    return out.getvalue()


_COLUMNS = (
    "step",
    "trial",
    "replicate",
    "state",
    "value",
    "best",
    "epochs",
    "steps",
    "effective_lr",
    "global_batch",
    "parameters",
)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


_CUT, _FINAL = 2, 3


def order(result: TrialResult) -> tuple[int, float]:
    """Of two results of a training on two hosts the greater one counts.

    One with an outcome goes before one that was cut, that before a failure, and that before one that was stopped,
    whatever the clocks of the hosts say; of two of a kind the later one.
    """
    return _settled(result), result.ended.timestamp()


def _settled(result: TrialResult) -> int:
    return {TrialState.PREEMPTED: 0, TrialState.FAILED: 1, TrialState.PRUNED: _CUT}.get(result.state, _FINAL)


def _follows(result: TrialResult, known: TrialResult) -> bool:
    """Whether a later line of a file counts instead: a cut of step 2 may be made again, but stays until then."""
    before, after = _settled(known), _settled(result)
    return after > before or before < _CUT or before == after == _CUT


def _whole(file: int) -> int:
    """Bytes up to and including the last line end."""
    end = os.fstat(file).st_size
    while end:
        begin = max(0, end - _TAIL)
        found = os.pread(file, end - begin, begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0


def _unwritten(path: Path, error: OSError) -> StudyError:
    return StudyError(
        f"{path} cannot be written: {(error.strerror or str(error)).lower()}",
        "Make room, then run it again: it goes on from what is recorded.",
    )
