"""The courier of a host: real sshd, real rsync, a real tracking server and a real object store."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from ml_suite.hosts import mux, reach
from ml_suite.jobs import behind, collect, deliver, outbox
from ml_suite.jobs.behind import Behind, SuiteBehind
from ml_suite.jobs.mirror import courier
from ml_suite.jobs.outbox import Deliveries
from ml_suite.stores.connections import Catalogue, Connections
from ml_suite.study.contract import Selection, StudyPlan
from tests.hosts.sshd_fixture import Sshd
from tests.jobs.remote_rig import Remote, make_remote
from tests.jobs.study_rig import Rig
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


class Operation:
    """This machine with deployed suites, and another host."""

    def __init__(self, folder: Path, connections: Connections) -> None:
        self.home = folder / "ml"
        self._connections = connections

    def deploy(self, rig: Rig) -> None:
        """Leave what deploy leaves."""
        resolved = rig.job.resolved
        self._connections.save(resolved.connections)
        path = self.home / "suites" / resolved.deployment.suite / "resolved.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(resolved.model_dump_json())

    def carry(self) -> str:
        """One minute of the courier."""
        return courier("bighost", self.home)

    def told(self, suite: str = "rig") -> SuiteBehind:
        found = behind.read(self.home, "bighost")
        assert found is not None
        return found.suites[suite]


@pytest.fixture
def operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path, s3: RunningSeaweedFS, mlflow: RunningMlflow
) -> Operation:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    catalogue = Catalogue(url="http://127.0.0.1:1", token=SecretStr("t"))
    return Operation(tmp_path, Connections(s3=s3.connection, mlflow=mlflow.connection, catalogue=catalogue))


@pytest.fixture
def pair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd, operation: Operation
) -> tuple[Rig, Remote]:
    """A planned and deployed study."""
    rig, [far] = make_remote(tmp_path, monkeypatch, sshd.way)
    operation.deploy(rig)
    rig.study("plan")
    return rig, far


def runs(mlflow: RunningMlflow, rig: Rig) -> dict[str, Any]:
    """Return the study's runs by our id; each is there once."""
    from mlflow import MlflowClient

    client = MlflowClient(mlflow.connection.url)
    plan = StudyPlan.load(rig.job.tree.plan)
    experiment = client.get_experiment_by_name(plan.suite)
    found = client.search_runs([experiment.experiment_id], f"tags.`ml_suite.study` = '{plan.study}'")
    ids = [run.data.tags["ml_suite.id"] for run in found]
    assert len(ids) == len(set(ids)), "a run is there twice"
    return dict(zip(ids, found, strict=True))


def test_what_a_host_left_is_delivered_minute_by_minute(
    pair: tuple[Rig, Remote], operation: Operation, mlflow: RunningMlflow
) -> None:
    rig, far = pair
    assert operation.carry().startswith("up to date; last contact ")
    far.shard(0)
    there = far.contents()
    assert operation.carry().startswith("up to date; last contact ")
    study = StudyPlan.load(rig.job.tree.plan).study
    assert set(runs(mlflow, rig)) == {study, *(f"{study}/1/{t}" for t in (0, 2, 4))}
    assert {run.data.tags["ml_suite.host"] for key, run in runs(mlflow, rig).items() if key != study} == {
        "bighost"
    }
    assert far.contents() == there
    receipts = {path: path.stat().st_mtime_ns for path in far.mirror.rglob("receipts/*.json")}
    assert len(receipts) == 3
    operation.carry()
    assert {path: path.stat().st_mtime_ns for path in far.mirror.rglob("receipts/*.json")} == receipts


def test_weights_that_have_not_come_wait_and_are_delivered_by_the_task(
    pair: tuple[Rig, Remote], operation: Operation, mlflow: RunningMlflow, capsys: pytest.CaptureFixture[str]
) -> None:
    rig, far = pair
    far.shard(0)
    far.shard(1)
    collect.run(rig.job, ["--host", "bighost", "--step", "1", "--shards", "0,1"])
    rig.study("shortlist")
    far.retrain(1)
    far.retrain(2)
    assert operation.carry().startswith("2 parcels, oldest 0 min; last contact ")
    capsys.readouterr()
    deliver.run(rig.job, [])  # waiting for weights is no failure
    assert "2 waiting" in capsys.readouterr().out
    collect.run(rig.job, ["--host", "bighost", "--step", "2", "--ranks", "1,2"])
    rig.study("select")
    deliver.run(rig.job, [])
    told = Deliveries.load(deliver.deliveries_file(rig.job.tree))
    winner = Selection.load(rig.job.tree.selection)
    stored, run = told.checkpoint(winner.result), told.run(winner.result)
    assert stored is not None
    assert run is not None
    assert winner.result.checkpoint is not None
    assert stored.sha256 == winner.result.checkpoint.sha256
    assert (len(told.runs), len(told.checkpoints), len(runs(mlflow, rig))) == (8, 2, 9)
    assert operation.carry().startswith("up to date; ")


def test_services_that_are_down_lose_nothing(
    pair: tuple[Rig, Remote], operation: Operation, mlflow: RunningMlflow, s3: RunningSeaweedFS
) -> None:
    rig, far = pair
    mlflow.kill()
    s3.kill()
    try:
        far.shard(0)
        line = operation.carry()
        assert line.startswith("3 parcels, oldest 0 min; last contact ")
        assert "does not answer" in line
        far.shard(1)
        assert operation.carry().startswith("6 parcels, ")
        rig.study("shortlist")
        far.retrain(1)
        collect.run(rig.job, ["--host", "bighost", "--step", "2", "--ranks", "1"])
        hour = datetime.now(UTC) + timedelta(hours=1)
        operation.carry()
        seen = behind.read(operation.home, "bighost")
        assert seen is not None
        assert seen.words(hour).startswith("8 parcels, oldest 60 min; ")
        assert operation.told().problem
    finally:
        mlflow.start()
        s3.start()
    assert operation.carry().startswith("up to date; ")
    assert len(runs(mlflow, rig)) == 1 + 6 + 1
    assert operation.told() == SuiteBehind(parcels=0)


def test_runs_wait_for_the_study_that_they_belong_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd, operation: Operation, mlflow: RunningMlflow
) -> None:
    rig, [far] = make_remote(tmp_path, monkeypatch, sshd.way, hpo=False, suite="single")
    program = tmp_path / "program.py"
    program.write_text(program.read_text().replace('"val": value', '"value": value'))
    operation.deploy(rig)
    far.train()
    [study] = far.job.tree.outbox.glob("*.0-study.json")
    study.rename(tmp_path / study.name)  # as if the job had not come so far yet
    assert operation.carry().startswith("2 parcels, ")
    (tmp_path / study.name).rename(study)
    collect.run(rig.job, ["--host", "bighost", "--step", "0"])
    assert operation.carry().startswith("up to date; ")
    found = runs(mlflow, rig)
    parent = found.pop(study.name.partition(".")[0])
    assert [run.data.tags["mlflow.parentRunId"] for run in found.values()] == [parent.info.run_id]
    (weights,) = Deliveries.load(deliver.deliveries_file(rig.job.tree)).checkpoints
    assert (weights.step, weights.trial, weights.replicate) == (0, 0, 0)


def test_of_a_trial_at_two_hosts_the_later_run_is_told(
    pair: tuple[Rig, Remote], operation: Operation, mlflow: RunningMlflow
) -> None:
    rig, far = pair
    far.shard(0)
    rig.study("shard", "--shard", "0")  # it moved while the host could not be reached
    operation.carry()
    trials = {key: run for key, run in runs(mlflow, rig).items() if key.count("/") == 2}
    assert {run.data.tags["ml_suite.host"] for run in trials.values()} == {"here"}
    assert operation.told().parcels == 0
    assert outbox.receipts(far.mirror / "suites/rig/outbox") == []


def test_two_suites_at_one_host_take_one_session(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sshd: Sshd, operation: Operation, mlflow: RunningMlflow
) -> None:
    rig, [far] = make_remote(tmp_path, monkeypatch, sshd.way)
    hosts = rig.job.resolved.hosts
    other, [_] = make_remote(tmp_path / "other", monkeypatch, sshd.way, suite="second")
    shared = other.job.resolved.model_copy(update={"hosts": hosts})
    other = replace(other, job=replace(other.job, resolved=shared))
    for one in (rig, other):
        monkeypatch.setenv("HOW", str(one.folder / "how.json"))
        operation.deploy(one)
        one.study("plan")
        Remote(one, "bighost", far.work).shard(0)
    operation.carry()
    before = sshd.sessions_opened
    line = operation.carry()
    assert sshd.sessions_opened == before + 1
    assert sshd.connections == 1
    assert line.startswith("up to date; ")
    assert len(runs(mlflow, rig)) == len(runs(mlflow, other)) == 4
    assert (operation.told(), operation.told("second")) == (SuiteBehind(parcels=0), SuiteBehind(parcels=0))


def test_a_host_that_needs_a_login_is_told_in_the_line(
    pair: tuple[Rig, Remote], operation: Operation, sshd: Sshd
) -> None:
    _, far = pair
    far.shard(0)
    operation.carry()
    mux.close_master(sshd.way)
    reach.save((replace(sshd.way, auth="totp"),) * 2)
    line = operation.carry()
    assert "last contact" in line
    assert "one-time code" in line
    found = json.loads(behind.path(operation.home, "bighost").read_text())
    assert found["hint"] == "Run: ml-suite hosts login bighost"
    assert found["contact"] < found["checked"]


def test_a_copy_that_a_crash_emptied_is_fetched_again(
    pair: tuple[Rig, Remote], operation: Operation, mlflow: RunningMlflow
) -> None:
    rig, far = pair
    far.shard(0)
    far.pull()
    parcel = sorted((far.mirror / "suites/rig/outbox").glob("*.json"))[0]
    times = parcel.stat()
    parcel.write_bytes(b"\0" * times.st_size)
    os.utime(parcel, ns=(times.st_atime_ns, times.st_mtime_ns))
    operation.carry()
    assert operation.carry().startswith("up to date; ")
    assert len(runs(mlflow, rig)) == 4


def test_damaged_suites_do_not_stop_the_others(pair: tuple[Rig, Remote], operation: Operation) -> None:
    (operation.home / "suites" / "old").mkdir()
    (operation.home / "suites" / "old" / "resolved.json").write_text('{"from": "another version"}')
    assert operation.carry().startswith("up to date; ")


NOW = datetime(2026, 11, 26, 8, 40, tzinfo=UTC)


@pytest.mark.parametrize(
    ("parcels", "contact", "checked", "words"),
    [
        (0, 1, 1, "up to date; last contact {08:39}"),
        (1, 1, 1, "1 parcel, oldest 12 min; last contact {08:39}"),
        (3, 9, 1, "3 parcels, oldest 12 min; last contact {08:31}"),
        (0, None, 1, "up to date; no contact yet"),
        (0, 30, 30, "up to date; last contact {08:10}; the courier has not run for 30 min"),
    ],
)
def test_words(parcels: int, contact: int | None, checked: int, words: str) -> None:
    def ago(minutes: int) -> datetime:
        return NOW - timedelta(minutes=minutes)

    suite = SuiteBehind(parcels=parcels, oldest=ago(12) if parcels else None)
    seen = Behind(
        host="big",
        checked=ago(checked),
        contact=None if contact is None else ago(contact),
        suites={"a": suite, "b": SuiteBehind(parcels=0)},
    )
    if contact is not None:
        words = words.replace(f"{{{ago(contact):%H:%M}}}", f"{ago(contact).astimezone():%H:%M}")
    assert seen.words(NOW) == words
    assert seen.words(NOW, "b").startswith("up to date; ")
