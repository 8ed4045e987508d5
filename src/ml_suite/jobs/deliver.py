"""Task deliver: the courier. It takes what lies in the outbox to MLflow and the object store.

Parcels go in order, each leaves a receipt, and a parcel with a receipt is not sent again; killed at any point, the
courier goes on when it runs again and makes nothing twice. Two couriers take turns.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ml_suite.errors import DeliveryError
from ml_suite.jobs import callback, outbox
from ml_suite.jobs.context import Job
from ml_suite.jobs.outbox import (
    CheckpointParcel,
    DeliveredCheckpoint,
    DeliveredRun,
    Deliveries,
    Receipt,
    RunParcel,
)
from ml_suite.layout import WorkTree
from ml_suite.stores.connections import Connections, Mlflow
from ml_suite.stores.mlflow import Measurement, RunContent, Tracking
from ml_suite.study.contract import StudyPlan

_PATIENCE = 600.0
"""Seconds to wait for another courier."""


def run(job: Job, arguments: list[str]) -> None:
    """Deliver everything, then write deliveries.json.

    Raises
    ------
    DeliveryError
        If something could not be delivered; it stays in the outbox.
    """
    argparse.ArgumentParser(prog="deliver").parse_args(arguments)
    folder = job.tree.outbox
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        courier = _Courier(job, folder)
        problems = courier.deliver()
        _write_deliveries(job.tree, courier.url)
    signed, left = len(outbox.receipts(folder)), len(outbox.waiting(folder))
    text = f"{signed} parcels delivered, {left} waiting" if left else f"{signed} parcels delivered"
    callback.label("delivered", text)
    print(text)
    if problems:
        first = problems[0]
        raise DeliveryError(f"{left} of {signed + left} parcels wait: {first.message}", first.hint)


def deliveries_file(tree: WorkTree) -> Path:
    """Return the place of deliveries.json."""
    return tree.root / "deliveries.json"


class _Courier:
    """Carries the parcels of one outbox."""

    def __init__(self, job: Job, folder: Path) -> None:
        self._connections: Connections = job.connections()
        self._mlflow = _server(job, self._connections)
        self._folder = folder
        self._tracking: Tracking | None = None
        self._experiments: dict[str, str] = {}
        self.url = self._mlflow.url.rstrip("/")

    def deliver(self) -> list[DeliveryError]:
        """Take all parcels that wait; a service that fails is not asked again, the other one still is."""
        problems: list[DeliveryError] = []
        unwell: set[str] = set()
        waiting = outbox.waiting(self._folder)
        for number, path in enumerate(waiting, start=1):
            parcel = outbox.load(path)
            if parcel.kind in unwell:
                continue
            digest = outbox.digest(path)
            try:
                receipt = self._carry(parcel, digest)
            except DeliveryError as error:
                problems.append(error)
                unwell.add(parcel.kind)
                continue
            except _Lost as error:
                problems.append(
                    DeliveryError(str(error), "Run its task again; its weights are written anew.")
                )
                continue
            outbox.sign(path, receipt)
            callback.label("delivered", f"{number} of {len(waiting)}: {path.stem}")
        return problems

    def _carry(self, parcel: outbox.Parcel, digest: str) -> Receipt:
        if isinstance(parcel, RunParcel):
            return Receipt(parcel=digest, run=self._put_run(parcel))
        return Receipt(parcel=digest, checkpoint=self._put_checkpoint(parcel))

    def _put_run(self, parcel: RunParcel) -> DeliveredRun:
        if self._tracking is None:
            self._tracking = Tracking(self._mlflow)
        if parcel.experiment not in self._experiments:
            self._experiments[parcel.experiment] = self._tracking.experiment(parcel.experiment)
        experiment = self._experiments[parcel.experiment]
        parent = None if parcel.step is None else self._tracking.find(experiment, parcel.study)
        run = self._tracking.put(experiment, _content(parcel), parent)
        return DeliveredRun(
            study=parcel.study,
            step=parcel.step,
            trial=parcel.trial,
            run_id=run,
            experiment_id=experiment,
            url=self._tracking.page(experiment, run),
        )

    def _put_checkpoint(self, parcel: CheckpointParcel) -> DeliveredCheckpoint:
        from ml_suite.stores import s3

        if not parcel.path.is_file():
            raise _Lost(f"the checkpoint {parcel.path} of trial {parcel.trial} is gone")
        with parcel.path.open("rb") as f:
            found = hashlib.file_digest(f, "sha256").hexdigest()
        if found != parcel.sha256:
            name = f"{parcel.path} of trial {parcel.trial}"
            raise _Lost(f"the checkpoint {name} is not the one that was trained")
        s3.put_file(parcel.path, parcel.url, self._connections.s3)
        return DeliveredCheckpoint(**parcel.model_dump(exclude={"kind", "path"}))


class _Lost(Exception):
    """A parcel's own content is missing or wrong; the services are well."""


def _content(parcel: RunParcel) -> RunContent:
    return RunContent(
        id=parcel.id,
        name=parcel.name,
        status=parcel.status,
        started=parcel.started,
        ended=parcel.ended,
        params=parcel.params,
        tags=parcel.tags,
        metrics=[Measurement(p.key, p.value, p.time, p.step) for p in parcel.metrics],
    )


def _server(job: Job, connections: Connections) -> Mlflow:
    """Return the tracking server; a token goes only to the server that it was written down for."""
    chosen = job.deployment.outputs.mlflow
    if chosen == "embedded" or chosen.rstrip("/") == connections.mlflow.url.rstrip("/"):
        return connections.mlflow
    return Mlflow(url=chosen)


def _write_deliveries(tree: WorkTree, url: str) -> None:
    """Say where the results of this cycle's study are, as far as they are delivered."""
    if not tree.plan.exists():
        return
    plan = StudyPlan.load(tree.plan)
    receipts = outbox.receipts(tree.outbox)
    runs = [r.run for r in receipts if r.run and r.run.study == plan.study]
    weights = [r.checkpoint for r in receipts if r.checkpoint and r.checkpoint.study == plan.study]
    Deliveries(
        study=plan.study,
        tracking_uri=url,
        experiment=plan.suite,
        parent=next((r for r in runs if r.step is None), None),
        runs=[r for r in runs if r.step is not None],
        checkpoints=weights,
    ).save(deliveries_file(tree))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one courier at a time work on an outbox; a killed one holds nothing."""
    with (folder / ".lock").open("w") as lock:
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise DeliveryError(f"another courier has held {folder} for {_PATIENCE:g} s") from None
                time.sleep(0.2)
        yield
