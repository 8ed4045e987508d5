"""The table of trials for other programs."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path

import pandas
import pyarrow
import pytest
from pyarrow import parquet

from ml_suite.study import exports
from ml_suite.study.contract import TrialResult, TrialState
from tests.study.results import plan, result

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def results() -> list[TrialResult]:
    return [
        result(
            1, None, reason='it broke, "badly"\nat once', params={"units": [8], "kind": None, "mixed": "a"}
        ),
        result(
            2,
            0.5,
            step=2,
            replicate=1,
            params={"units": list(range(11)), "lr": 1e-05, "kind": "x", "mixed": 1},
        ),
        result(
            0,
            0.25,
            params={"units": [], "lr": 1, "on": True, "kind": "x", "mixed": [2, 3]},
            metrics={"loss": 0.5},
            best=0.125,
            epochs=7,
            steps=70,
            parameters=1000,
            seconds=1.5,
            stopped_early=True,
            started=WHEN,
        ),
    ]


def test_columns_are_fields_then_hyperparameters_then_metrics() -> None:
    found = exports.columns(results())
    assert tuple(found)[: len(exports.FIELDS)] == exports.FIELDS
    lists = [f"params.units[{i}]" for i in range(11)]
    rest = [
        "params.kind",
        "params.lr",
        "params.mixed",
        "params.mixed[0]",
        "params.mixed[1]",
        "params.on",
        *lists,
    ]
    assert list(found)[len(exports.FIELDS) :] == [*rest, "metrics.loss"]
    assert found["trial"] == [0, 1, 2]
    assert found["state"] == ["complete", "failed", "complete"]
    assert found["params.units[10]"] == [None, None, 10]
    assert found["params.lr"] == [1, None, 1e-05]


def test_csv_says_everything_that_is_known(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "trials.csv"
    assert exports.write_csv(path, results()) == 3
    with path.open(newline="") as f:
        rows = list(csv.DictReader(f))
    assert [row["trial"] for row in rows] == ["0", "1", "2"]
    assert rows[0]["started"] == "2026-03-04T05:06:07+00:00"
    assert (rows[0]["stopped_early"], rows[0]["params.on"], rows[0]["params.lr"]) == ("true", "true", "1")
    assert rows[1]["reason"] == 'it broke, "badly"\nat once'
    assert (rows[1]["value"], rows[1]["params.kind"], rows[1]["params.units[0]"]) == ("", "", "8")
    assert rows[2]["params.lr"] == "1e-05"
    assert exports.write_csv(path, results()[::-1]) == 3
    assert path.read_bytes().count(b"\r\n") == 4


def test_parquet_has_types_and_says_what_study_it_is(tmp_path: Path) -> None:
    path = tmp_path / "trials.parquet"
    of = plan()
    assert exports.write_parquet(path, results(), of) == 3
    table = parquet.read_table(path)
    kinds = {name: table.schema.field(name).type for name in table.column_names}
    assert kinds["trial"] == kinds["epochs"] == kinds["params.units[0]"] == pyarrow.int64()
    assert kinds["value"] == kinds["params.lr"] == kinds["metrics.loss"] == pyarrow.float64()
    assert kinds["params.on"] == kinds["stopped_early"] == pyarrow.bool_()
    assert kinds["started"] == pyarrow.timestamp("us", tz="UTC")
    assert kinds["params.mixed"] == pyarrow.string()
    assert table.column("params.mixed").to_pylist() == [None, "a", "1"]
    assert table.column("started")[0].as_py() == WHEN
    told = json.loads(table.schema.metadata[b"ml_suite"])
    assert (told["study"], told["metric"], told["space"]) == (of.study, "m", of.space)
    frame = pandas.read_parquet(path)
    assert frame.loc[frame["state"] == "complete", "value"].tolist() == [0.25, 0.5]


@pytest.mark.parametrize("write", [exports.write_csv, exports.write_parquet])
def test_a_study_without_trials_is_a_table_without_rows(tmp_path: Path, write: object) -> None:
    path = tmp_path / "none"
    assert write(path, []) == 0  # type: ignore[operator]
    assert path.stat().st_size > 0


def test_tables_of_two_studies_can_be_read_as_one(tmp_path: Path) -> None:
    first = [result(0, None, state=TrialState.FAILED)]
    second = [result(0, 0.5, epochs=3, cpu_seconds=1.0)]
    exports.write_parquet(tmp_path / "a.parquet", first)
    exports.write_parquet(tmp_path / "b.parquet", second)
    both = parquet.read_table(tmp_path)
    assert sorted(both.column("value").to_pylist(), key=str) == [0.5, None]


def test_a_place_that_cannot_be_written_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        exports.write_csv(tmp_path / "file" / "trials.csv", results())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
