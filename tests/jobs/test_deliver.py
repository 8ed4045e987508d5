"""The courier against a real tracking server and a real object store."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ml_suite.errors import DeliveryError
from ml_suite.jobs import deliver, outbox
from ml_suite.jobs.outbox import Deliveries
from ml_suite.stores.connections import Catalogue, Connections
from ml_suite.stores.s3 import get_file
from ml_suite.study.contract import Selection, StudyPlan
from tests.jobs.study_rig import Rig, make
from tests.stores.conftest import RunningSeaweedFS
from tests.stores.mlflow_server import RunningMlflow


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSeaweedFS]:
    server = RunningSeaweedFS(tmp_path_factory.mktemp("s3"))
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMlflow]:
    server = RunningMlflow(tmp_path_factory.mktemp("mlflow"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: RunningSeaweedFS, mlflow: RunningMlflow) -> Rig:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    rig = make(tmp_path, monkeypatch)
    catalogue = Catalogue(url="http://127.0.0.1:1", token=SecretStr("t"))
    Connections(s3=s3.connection, mlflow=mlflow.connection, catalogue=catalogue).save(
        rig.job.resolved.connections
    )
    return rig


def whole_study(rig: Rig) -> StudyPlan:
    rig.behave(**{"1/1": "nan", "1/5": "crash"})
    rig.all_shards()
    rig.study("shortlist")
    for rank in (1, 2):
        rig.study("retrain", "--rank", str(rank))
    rig.study("select")
    return StudyPlan.load(rig.job.tree.plan)


def runs(mlflow: RunningMlflow, plan: StudyPlan) -> dict[str, Any]:
    """Return the study's runs by our id."""
    from mlflow import MlflowClient

    client = MlflowClient(mlflow.connection.url)
    experiment = client.get_experiment_by_name(plan.suite)
    found = client.search_runs([experiment.experiment_id], f"tags.`ml_suite.study` = '{plan.study}'")
    ids = [run.data.tags["ml_suite.id"] for run in found]
    assert len(ids) == len(set(ids)), "a run is there twice"
    return dict(zip(ids, found, strict=True))


def read_deliveries(rig: Rig) -> Deliveries:
    return Deliveries.load(deliver.deliveries_file(rig.job.tree))


def test_a_study_arrives_with_its_lineage(
    rig: Rig, mlflow: RunningMlflow, s3: RunningSeaweedFS, tmp_path: Path
) -> None:
    plan = whole_study(rig)
    deliver.run(rig.job, [])
    found = runs(mlflow, plan)
    assert len(found) == 1 + 6 + 2
    parent = found[plan.study]
    assert parent.info.status == "FINISHED"
    winner = Selection.load(rig.job.tree.selection)
    assert parent.data.tags["ml_suite.winner"] == f"{plan.study}/2/{winner.trial}"
    trials = {key: run for key, run in found.items() if key != plan.study}
    assert {run.data.tags["mlflow.parentRunId"] for run in trials.values()} == {parent.info.run_id}
    assert {key: run.info.status for key, run in trials.items() if run.info.status != "FINISHED"} == {
        f"{plan.study}/1/1": "FAILED",
        f"{plan.study}/1/5": "FAILED",
    }
    best = trials[f"{plan.study}/2/{winner.trial}"]
    assert best.data.metrics["value"] == winner.value
    assert best.data.params["x"] == str(winner.params["x"])
    weights = winner.result.checkpoint
    assert weights is not None
    assert best.data.tags["ml_suite.checkpoint_sha256"] == weights.sha256
    told = read_deliveries(rig)
    assert told.run(winner.result) is not None
    assert told.run(winner.result).run_id == best.info.run_id  # type: ignore[union-attr]
    assert told.parent is not None
    assert told.parent.run_id == parent.info.run_id
    assert len(told.checkpoints) == 2
    stored = told.checkpoint(winner.result)
    assert stored is not None
    assert stored.url == best.data.tags["ml_suite.checkpoint_url"]
    get_file(stored.url, tmp_path / "fetched", s3.connection)
    assert hashlib.sha256((tmp_path / "fetched").read_bytes()).hexdigest() == weights.sha256


def test_delivering_again_adds_nothing(rig: Rig, mlflow: RunningMlflow) -> None:
    plan = whole_study(rig)
    deliver.run(rig.job, [])
    first = {key: run.info.run_id for key, run in runs(mlflow, plan).items()}
    deliver.run(rig.job, [])
    for receipt in (rig.job.tree.outbox / "receipts").glob("*.json"):
        receipt.unlink()  # as if each delivery had been cut off before its receipt
    deliver.run(rig.job, [])
    again = runs(mlflow, plan)
    assert {key: run.info.run_id for key, run in again.items()} == first


def test_a_courier_killed_at_any_point_goes_on(rig: Rig, mlflow: RunningMlflow) -> None:
    plan = whole_study(rig)
    kills = 0
    for wanted in (1, 4, 7):
        courier = rig.start("deliver")
        until = time.monotonic() + 60
        while len(outbox.receipts(rig.job.tree.outbox)) < wanted and courier.poll() is None:
            assert time.monotonic() < until
            time.sleep(0.005)
        kills += courier.poll() is None
        courier.kill()
        courier.communicate()
    assert kills >= 2
    deliver.run(rig.job, [])
    assert len(runs(mlflow, plan)) == 9
    assert outbox.waiting(rig.job.tree.outbox) == []


def test_two_couriers_at_once_make_nothing_twice(rig: Rig, mlflow: RunningMlflow) -> None:
    plan = whole_study(rig)
    couriers = [rig.start("deliver") for _ in range(2)]
    told = [courier.communicate(timeout=100)[0] for courier in couriers]
    assert [courier.returncode for courier in couriers] == [0, 0], told
    assert len(runs(mlflow, plan)) == 9


def test_a_server_that_is_down_loses_nothing(
    rig: Rig, mlflow: RunningMlflow, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = whole_study(rig)
    mlflow.kill()
    try:
        with pytest.raises(DeliveryError, match=r"9 of 11 parcels wait: .* does not answer"):
            deliver.run(rig.job, [])
    finally:
        mlflow.start()
    assert len(read_deliveries(rig).checkpoints) == 2  # the object store was well
    deliver.run(rig.job, [])
    assert len(runs(mlflow, plan)) == 9
    assert "11 parcels delivered" in capsys.readouterr().out


def test_weights_that_changed_are_not_delivered(rig: Rig) -> None:
    whole_study(rig)
    winner = Selection.load(rig.job.tree.selection)
    assert winner.result.checkpoint is not None
    winner.result.checkpoint.path.write_bytes(b"other weights")
    with pytest.raises(DeliveryError, match="is not the one that was trained"):
        deliver.run(rig.job, [])
    assert len(read_deliveries(rig).checkpoints) == 1
    winner.result.checkpoint.path.unlink()
    with pytest.raises(DeliveryError, match="is gone"):
        deliver.run(rig.job, [])


def test_an_empty_outbox_is_delivered(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    deliver.run(rig.job, [])
    assert capsys.readouterr().out == "0 parcels delivered\n"
