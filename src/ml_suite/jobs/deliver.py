"""Task deliver: the courier. It takes what lies in the outboxes to MLflow and the object store.

Parcels go in order, each leaves a receipt, and a parcel with a receipt is not sent again; killed at any point, the
courier goes on when it runs again and makes nothing twice. Two couriers take turns. Beside the ecFlow server the
outboxes are this host's and the mirrored ones of the others; what refers to something that has not come yet waits.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
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
from ml_suite.jobs.places import Place, places
from ml_suite.layout import WorkTree
from ml_suite.stores.connections import Connections, Mlflow
from ml_suite.stores.mlflow import Measurement, RunContent, Tracking
from ml_suite.study.contract import StudyPlan

_PATIENCE = 600.0
"""Seconds to wait for another courier."""


class AnotherCourier(DeliveryError):
    """Somebody else delivers what this one would have."""


@dataclass(frozen=True)
class Carried:
    """What a courier did."""

    delivered: int
    """Parcels with a receipt, new ones and old ones."""
    left: tuple[Path, ...]
    """Parcels that wait."""
    problems: tuple[DeliveryError, ...]
    """What a service or a file did not allow."""
    waits: tuple[str, ...]
    """What has to come from another host first."""

    def __str__(self) -> str:
        text = f"{self.delivered} parcels delivered"
        return f"{text}, {len(self.left)} waiting" if self.left else text


def run(job: Job, arguments: list[str]) -> None:
    """Deliver everything, then write deliveries.json.

    Raises
    ------
    DeliveryError
        If something could not be delivered; it stays in the outbox.
    """
    argparse.ArgumentParser(prog="deliver").parse_args(arguments)
    done = carry(job, tell=lambda text: callback.label("delivered", text))
    callback.label("delivered", str(done))
    print(done)
    for wait in done.waits:
        print(wait)
    if done.problems:
        first, left = done.problems[0], len(done.left)
        raise DeliveryError(f"{left} of {done.delivered + left} parcels wait: {first.message}", first.hint)


def carry(job: Job, patience: float = _PATIENCE, tell: Callable[[str], None] | None = None) -> Carried:
    """Deliver what can be delivered now.

    Parameters
    ----------
    patience
        Seconds to wait for another courier of the suite.
    tell
        Hears of every delivery.

    Raises
    ------
    AnotherCourier
        If one is at work for longer.
    """
    boxes = _boxes(job)
    job.tree.outbox.mkdir(parents=True, exist_ok=True)
    with _alone(job.tree.outbox, patience):
        courier = _Courier(job, boxes)
        left = courier.deliver(tell)
        receipts = outbox.receipts(*boxes)
        _write_deliveries(job.tree, courier.url, receipts)
    waits = tuple(dict.fromkeys(courier.waits))
    return Carried(len(receipts), tuple(left), tuple(courier.problems), waits)


def waiting(job: Job) -> list[Path]:
    """Parcels of all hosts that are known here and not delivered."""
    return outbox.waiting(*_boxes(job))


def deliveries_file(tree: WorkTree) -> Path:
    """Return the place of deliveries.json."""
    return tree.root / "deliveries.json"


def _boxes(job: Job) -> dict[Path, Place]:
    return {place.tree.outbox: place for place in places(job.resolved, job.host, job.cycle)}


class _Courier:
    """Carries the parcels of all outboxes of a suite."""

    def __init__(self, job: Job, boxes: dict[Path, Place]) -> None:
        self._connections: Connections = job.connections()
        self._mlflow = _server(job, self._connections)
        self._boxes = boxes
        self._tracking: Tracking | None = None
        self._experiments: dict[str, str] = {}
        self.url = self._mlflow.url.rstrip("/")
        self.problems: list[DeliveryError] = []
        self.waits: list[str] = []

    def deliver(self, tell: Callable[[str], None] | None) -> list[Path]:
        """Take all parcels that wait and return those that are left.

        A service that fails is not asked again, the other one still is.
        """
        left: list[Path] = []
        unwell: set[str] = set()
        waiting = outbox.waiting(*self._boxes)
        for number, path in enumerate(waiting, start=1):
            place = self._boxes[path.parent]
            left.append(path)
            try:
                parcel, digest = _open(path, place)
                if parcel.kind in unwell:
                    continue
                outbox.sign(path, self._carry(parcel, digest, place))
            except _Waits as wait:
                self.waits.append(str(wait))
                continue
            except _Lost as error:
                self.problems.append(
                    DeliveryError(str(error), "Run its task again; what it leaves is written anew.")
                )
                continue
            except DeliveryError as error:
                self.problems.append(error)
                unwell.add(parcel.kind)
                continue
            left.pop()
            if tell:
                tell(f"{number} of {len(waiting)}: {path.stem}")
        return left

    def _carry(self, parcel: outbox.Parcel, digest: str, place: Place) -> Receipt:
        if isinstance(parcel, RunParcel):
            return Receipt(parcel=digest, run=self._put_run(parcel))
        return Receipt(parcel=digest, checkpoint=self._put_checkpoint(parcel, place))

    def _put_run(self, parcel: RunParcel) -> DeliveredRun:
        of_trial = parcel.step is not None
        if of_trial and not outbox.announced(parcel.study, *self._boxes):
            raise _Waits(f"the study {parcel.study} itself was not delivered yet")
        if self._tracking is None:
            self._tracking = Tracking(self._mlflow)
        if parcel.experiment not in self._experiments:
            self._experiments[parcel.experiment] = self._tracking.experiment(parcel.experiment)
        experiment = self._experiments[parcel.experiment]
        parent = self._tracking.find(experiment, parcel.study) if of_trial else None
        run = self._tracking.put(experiment, _content(parcel), parent)
        return DeliveredRun(
            study=parcel.study,
            step=parcel.step,
            trial=parcel.trial,
            replicate=parcel.replicate,
            run_id=run,
            experiment_id=experiment,
            url=self._tracking.page(experiment, run),
        )

    def _put_checkpoint(self, parcel: CheckpointParcel, place: Place) -> DeliveredCheckpoint:
        from ml_suite.stores import s3

        weights = place.here(parcel.path)
        if wrong := _wrong(weights, parcel):
            if place.mirrored:
                raise _Waits(f"weights of trial {parcel.trial} have not come from {place.host} yet")
            raise _Lost(wrong)
        s3.put_file(weights, parcel.url, self._connections.s3)
        return DeliveredCheckpoint(**parcel.model_dump(exclude={"kind", "path"}))


class _Lost(Exception):
    """A parcel's own content is missing or wrong; the services are well."""


class _Waits(Exception):
    """A parcel refers to something that has not come from another host; nothing is wrong."""


def _open(path: Path, place: Place) -> tuple[outbox.Parcel, str]:
    try:
        return outbox.load(path), outbox.digest(path)
    except ValueError as error:
        if place.mirrored and not _is_json(path):
            # a copy that a crash of this machine left empty: the host still has it
            path.unlink()
            raise _Waits(f"{path.name} is fetched from {place.host} again") from error
        raise _Lost(f"{path} is damaged or was left by another version") from error


def _is_json(path: Path) -> bool:
    with contextlib.suppress(ValueError):
        json.loads(path.read_bytes())
        return True
    return False


def _wrong(weights: Path, parcel: CheckpointParcel) -> str:
    """What is wrong with the file that a parcel names; empty if nothing is."""
    name = f"the checkpoint {weights} of trial {parcel.trial}"
    if not weights.is_file():
        return f"{name} is gone"
    with weights.open("rb") as f:
        same = f.seek(0, 2) == parcel.size and f.seek(0) == 0
        same = same and hashlib.file_digest(f, "sha256").hexdigest() == parcel.sha256
    return "" if same else f"{name} is not the one that was trained"


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


def _write_deliveries(tree: WorkTree, url: str, receipts: Sequence[Receipt]) -> None:
    """Say where the results of this cycle's study are, as far as they are delivered."""
    if not tree.plan.exists():
        return
    plan = StudyPlan.load(tree.plan)
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
def _alone(folder: Path, patience: float) -> Iterator[None]:
    """Let one courier at a time work on an outbox; a killed one holds nothing."""
    with (folder / ".lock").open("w") as lock:
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise AnotherCourier(f"another courier has held {folder} for {patience:g} s") from None
                time.sleep(0.2)
        yield
