"""The record of a study: what its trials did, append-only.

One JSONL file per job, one line per finished trial, on disk before the next trial starts. After ``kill -9`` a torn last
line is dropped, and its trial runs again. Files are merged by (step, trial), so neither the number of jobs nor their
order is seen in the result table.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ml_suite.errors import StudyError
from ml_suite.study.contract import TrialResult, TrialState


def append(path: Path, result: TrialResult) -> None:
    """Add a line and wait until it is on disk; what a killed job left half written is cut off first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = (result.model_dump_json() + "\n").encode()
    with path.open("a+b") as f:
        f.truncate(_whole(path))
        f.write(line)
        f.flush()
        os.fsync(f.fileno())


def read(path: Path) -> list[TrialResult]:
    """Finished trials of one file, in the order written.

    Raises
    ------
    StudyError
        If a line other than a torn last one cannot be read.
    """
    if not path.exists():
        return []
    lines = path.read_bytes()[: _whole(path)].splitlines()
    results = []
    for number, line in enumerate(lines, start=1):
        try:
            results.append(TrialResult.model_validate_json(line))
        except ValueError as error:
            raise StudyError(
                f"{path}:{number}: not a trial's result", "Remove that line; its trial will run again."
            ) from error
    return results


def merge(paths: Iterable[Path], study: str | None = None) -> list[TrialResult]:
    """Trials of several files by (step, trial); a trial that ran again after it was preempted counts once.

    Parameters
    ----------
    study
        Leave out trials of other studies.
    """
    merged: dict[tuple[int, int], TrialResult] = {}
    for path in sorted(paths):
        for result in read(path):
            if study is not None and result.study != study:
                continue
            known = merged.get((result.step, result.trial))
            if known is None or order(result) >= order(known):
                merged[result.step, result.trial] = result
    return [merged[key] for key in sorted(merged)]


def table(results: Sequence[TrialResult]) -> str:
    """Result table as CSV: what the seed determines, without times, hosts and run ids.

    It is the same, byte for byte, for any number of shards and whatever was killed on the way.
    """
    names = sorted({name for result in results for name in result.params})
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(
        ["step", "trial", "state", "value", "best", "effective_lr", "global_batch", "parameters", *names]
    )
    for r in sorted(results, key=lambda r: (r.step, r.trial)):
        fixed = [
            r.step,
            r.trial,
            r.state.value,
            r.value,
            r.best,
            r.effective_lr,
            r.global_batch,
            r.parameters,
        ]
        rows.writerow([_cell(x) for x in [*fixed, *(r.params.get(name) for name in names)]])
    return out.getvalue()


def _cell(value: Any) -> str:
    return "" if value is None else repr(value) if isinstance(value, float) else str(value)


def order(result: TrialResult) -> tuple[bool, float]:
    """Of two results of a trial the greater one counts: one that was not preempted, then the later one."""
    return result.state is not TrialState.PREEMPTED, result.ended.timestamp()


def _whole(path: Path) -> int:
    """Bytes up to and including the last line end."""
    return path.read_bytes().rfind(b"\n") + 1 if path.exists() else 0
