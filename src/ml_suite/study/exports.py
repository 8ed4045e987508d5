"""Trials of a study as one table, for programs of others: CSV and Parquet.

The result table of a study (`ml_suite.study.record.table`) holds what its seed determines. This one has everything
that is known: times, hosts and all that the trainer reported. Hyperparameters are columns ``params.NAME``, the values
of a list ``params.NAME[0]``, and what the trainer reported ``metrics.NAME``.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_suite import atomic
from ml_suite.errors import StudyError
from ml_suite.study.contract import SearchPlan, TrialResult
from ml_suite.study.record import key

FIELDS = (
    "study",
    "step",
    "trial",
    "replicate",
    "state",
    "value",
    "best",
    "epochs",
    "steps",
    "stopped_early",
    "parameters",
    "seconds",
    "cpu_seconds",
    "inference_seconds",
    "effective_lr",
    "global_batch",
    "started",
    "ended",
    "host",
    "run_id",
    "reason",
)
"""Columns before the hyperparameters, each a field of `TrialResult`."""

Columns = dict[str, list[Any]]
"""Values by column, a row each trial."""


def columns(results: Sequence[TrialResult]) -> Columns:
    """Table of results by step, trial and replicate; what a trial does not have is None."""
    ordered = sorted(results, key=key)
    found: Columns = {name: [getattr(result, name) for result in ordered] for name in FIELDS}
    found["state"] = [result.state.value for result in ordered]
    rows = [_more(result) for result in ordered]
    for name in sorted({name for row in rows for name in row}, key=_natural):
        found[name] = [row.get(name) for row in rows]
    return found


def write_csv(path: Path, results: Sequence[TrialResult]) -> int:
    """Write the table as CSV (RFC 4180, UTF-8, times in ISO 8601); the number of its rows.

    Raises
    ------
    OSError
        As the file system says.
    """
    table = columns(results)
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\r\n")
    rows.writerow(table)
    for row in zip(*table.values(), strict=True):
        rows.writerow([_cell(value) for value in row])
    atomic.write(path, out.getvalue())
    return len(results)


def write_parquet(path: Path, results: Sequence[TrialResult], plan: SearchPlan | None = None) -> int:
    """Write the table as Parquet; the number of its rows.

    Parameters
    ----------
    plan
        Its study, metric, direction, seed and space go into the metadata of the file, as JSON under ``ml_suite``.

    Raises
    ------
    OSError
        As the file system says.
    StudyError
        If pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise StudyError(
            f"Parquet needs {error.name}, which is not installed on this machine",
            f"Run: {sys.executable} -m pip install 'ml-suite[study]'    Or write CSV.",
        ) from error
    table = pyarrow.table({name: _array(name, values) for name, values in columns(results).items()})
    if plan is not None:
        told = {"study", "suite", "metric", "direction", "seed", "space", "constraints", "sampling", "subset"}
        table = table.replace_schema_metadata({"ml_suite": plan.model_dump_json(include=told)})
    out = io.BytesIO()
    parquet.write_table(table, out, compression="zstd")
    atomic.write(path, out.getvalue())
    return len(results)


def _more(result: TrialResult) -> dict[str, Any]:
    """Columns that not every study has."""
    found: dict[str, Any] = {}
    for name, value in result.params.items():
        if isinstance(value, list):
            found |= {f"params.{name}[{i}]": each for i, each in enumerate(value)}
        else:
            found[f"params.{name}"] = value
    return found | {f"metrics.{name}": value for name, value in result.metrics.items()}


def _natural(name: str) -> tuple[bool, str, int]:
    """Hyperparameters first, and the tenth value of a list after the second."""
    start, bracket, index = name.rpartition("[")
    number = index.removesuffix("]")
    if bracket and number.isdigit():
        return not name.startswith("params."), start, int(number)
    return not name.startswith("params."), name, -1


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, list | dict) else str(value)


_KINDS = {
    "value": "float64",
    "best": "float64",
    "seconds": "float64",
    "cpu_seconds": "float64",
    "inference_seconds": "float64",
    "effective_lr": "float64",
    "started": "timestamp",
    "ended": "timestamp",
    "stopped_early": "bool",
    "study": "string",
    "state": "string",
    "host": "string",
    "run_id": "string",
    "reason": "string",
}


def _array(name: str, values: list[Any]) -> Any:
    """Column of one type, whatever values there are: files of two studies can be read as one."""
    import pyarrow

    if name in FIELDS:
        kind = _KINDS.get(name, "int64")
        exact = pyarrow.timestamp("us", tz="UTC") if kind == "timestamp" else pyarrow.type_for_alias(kind)
        return pyarrow.array(values, exact)
    there = [value for value in values if value is not None]
    if all(isinstance(value, bool) for value in there):
        return pyarrow.array(values, pyarrow.bool_())
    if all(isinstance(value, int) and not isinstance(value, bool) for value in there):
        return pyarrow.array(values, pyarrow.int64())
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in there):
        return pyarrow.array([None if v is None else float(v) for v in values], pyarrow.float64())
    told = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
    return pyarrow.array(told, pyarrow.string())
