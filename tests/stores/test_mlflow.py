"""The MLflow client against a real tracking server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from ml_suite.errors import DeliveryError
from ml_suite.stores.connections import Mlflow
from ml_suite.stores.mlflow import Measurement, RunContent, Tracking
from tests.stores.mlflow_server import RunningMlflow

WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMlflow]:
    running = RunningMlflow(tmp_path_factory.mktemp("mlflow"))
    running.start()
    yield running
    running.kill()


def content(run: str, **changes: Any) -> RunContent:
    fields: dict[str, Any] = {
        "id": run,
        "name": "a run",
        "status": "FINISHED",
        "started": WHEN,
        "ended": WHEN,
        "params": {"training.optimization.lr": "0.01", **{f"p{i}": str(i) for i in range(150)}},
        "tags": {"suite": "s"},
        "metrics": [Measurement("val/loss", 1 / (i + 1), 1_000 + i, i) for i in range(1500)],
    }
    return RunContent(**{**fields, **changes})


def client(server: RunningMlflow) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(server.connection.url)


def test_a_run_arrives_whole_and_repeating_adds_nothing(server: RunningMlflow) -> None:
    tracking = Tracking(server.connection)
    experiment = tracking.experiment("whole")
    parent = tracking.put(experiment, content("study", status="RUNNING", ended=None, metrics=[]))
    ids = {tracking.put(experiment, content("study/1/0"), parent) for _ in range(2)}
    assert len(ids) == 1
    run = client(server).get_run(ids.pop())
    assert run.info.status == "FINISHED"
    assert run.info.start_time == run.info.end_time == int(WHEN.timestamp() * 1000)
    assert run.data.params["training.optimization.lr"] == "0.01"
    assert len(run.data.params) == 151
    assert run.data.tags["mlflow.parentRunId"] == parent
    history = client(server).get_metric_history(run.info.run_id, "val/loss")
    assert sorted((m.step, m.value) for m in history) == [(i, 1 / (i + 1)) for i in range(1500)]
    assert len(client(server).search_runs([experiment])) == 2
    assert client(server).get_run(parent).info.status == "RUNNING"


def test_a_run_that_changed_is_brought_up_to_date(server: RunningMlflow) -> None:
    tracking = Tracking(server.connection)
    experiment = tracking.experiment("changed")
    first = tracking.put(experiment, content("x", status="RUNNING", ended=None, metrics=[]))
    more = [Measurement("value", 0.5, 1, 0)]
    assert tracking.put(experiment, content("x", tags={"suite": "t"}, metrics=more)) == first
    run = client(server).get_run(first)
    assert run.data.tags["suite"] == "t"
    assert run.data.metrics == {"value": 0.5}
    assert run.info.status == "FINISHED"


def test_couriers_of_several_hosts_agree_on_one_run(server: RunningMlflow) -> None:
    experiment = Tracking(server.connection).experiment("race")
    small = content("study", params={}, metrics=[])
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda _: Tracking(server.connection).put(experiment, small), range(4)))
    assert len(set(ids)) == 1
    assert [run.info.run_id for run in client(server).search_runs([experiment])] == ids[:1]


def test_an_experiment_is_found_again(server: RunningMlflow) -> None:
    tracking = Tracking(server.connection)
    assert tracking.experiment("again") == tracking.experiment("again")
    client(server).delete_experiment(tracking.experiment("again"))
    with pytest.raises(DeliveryError, match="is deleted on"):
        tracking.experiment("again")


def test_a_server_that_is_down_is_said_to_be(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(DeliveryError, match=f"MLflow at http://127.0.0.1:{free_port} does not answer"):
        Tracking(Mlflow(url=f"http://127.0.0.1:{free_port}")).experiment("x")
