"""The catalogue's queue of tasks ``transfer-dataset``, worked off as the Anemoi worker does.

A task is owned by a patch that only succeeds while it is queued, shows that it is alive by a heartbeat, and is
deleted when it is done; the catalogue keeps the history. What cannot succeed by waiting becomes ``stopped`` with its
reason in the progress; everything else goes back to the queue.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ml_suite.errors import DeliveryError
from ml_suite.stores.catalogue_reader import Record
from ml_suite.transfers.wire import Operations, Wire, trace

ACTION = "transfer-dataset"
QUEUED, RUNNING, STOPPED = "queued", "running", "stopped"
SILENT = 900.0
"""Seconds without a heartbeat after which the owner of a task is taken for dead."""
HEARTBEAT = 60.0
_TELL_EVERY = 10.0
_ALIVE: Operations = [
    {"op": "test", "path": "/status", "value": RUNNING},
    {"op": "add", "path": "/status", "value": RUNNING},
]
_WORD = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Ticket:
    """One task of the queue."""

    uuid: str
    dataset: str
    source: str
    destination: str
    status: str
    updated: str = ""
    worker: Record = field(default_factory=dict)
    percentage: float | None = None

    @classmethod
    def read(cls, record: Record) -> Ticket | None:
        """Take it from the catalogue; None if a member is no plain word, as the Anemoi worker demands."""
        words = [record.get(name) for name in ("dataset", "source", "destination")]
        if record.get("action") != ACTION or not all(
            isinstance(word, str) and _WORD.fullmatch(word) for word in words
        ):
            return None
        worker, progress = record.get("worker"), record.get("progress")
        done = progress.get("percentage", progress.get("percent")) if isinstance(progress, dict) else None
        dataset, source, destination = map(str, words)
        return cls(
            str(record["uuid"]),
            dataset,
            source,
            destination,
            status=str(record.get("status")),
            updated=str(record.get("updated", "")),
            worker=worker if isinstance(worker, dict) else {},
            percentage=float(done) if isinstance(done, int | float) else None,
        )

    @property
    def ours(self) -> bool:
        """A process of this package on this machine has it."""
        version = str(self.worker.get("version", ""))
        return self.worker.get("host") == socket.gethostname() and version.startswith("ml-suite")

    def silent(self, now: datetime | None = None) -> bool:
        """No heartbeat came for so long that its owner is taken for dead."""
        try:
            updated = datetime.fromisoformat(self.updated)
        except ValueError:
            return True
        # the catalogue writes UTC without saying so
        updated = updated if updated.tzinfo else updated.replace(tzinfo=UTC)
        return ((now or datetime.now(UTC)) - updated).total_seconds() > SILENT

    def __str__(self) -> str:
        return f"{self.dataset} from {self.source} to {self.destination} (task {self.uuid})"


@dataclass(frozen=True)
class Queue:
    """The queue of one catalogue; every method raises `DeliveryError` when the catalogue fails."""

    wire: Wire
    beats: Wire
    """For heartbeats, which another thread sends: `wire.plain`."""

    def find(self, destination: str, **filters: str) -> list[Ticket]:
        """Tasks for a destination, the one that waits longest first."""
        records = self.wire.query("tasks", action=ACTION, destination=destination, **filters)
        # lists may be summaries
        whole = [self.wire.get("tasks", str(record["uuid"])) for record in records]
        found = [ticket for record in whole if record and (ticket := Ticket.read(record))]
        return sorted(found, key=lambda ticket: ticket.updated)

    def find_or_add(self, dataset: str, source: str, destination: str) -> Ticket:
        """The task for this transfer, a new one if there is none."""
        order = {RUNNING: 0, QUEUED: 1}
        found = self.find(destination, dataset=dataset, source=source)
        if found:
            return min(found, key=lambda ticket: order.get(ticket.status, 2))
        record = {"action": ACTION, "source": source, "destination": destination, "dataset": dataset}
        stored = self.wire.post("tasks", record)
        kept = self.read(str(stored.get("uuid")))
        if kept is None or (kept.dataset, kept.source, kept.destination) != (dataset, source, destination):
            raise DeliveryError(
                f"the catalogue took the task for {dataset} to {destination} but does not hold it"
            )
        return kept

    def read(self, uuid: str) -> Ticket | None:
        """A task as it is now; None when it is gone."""
        record = self.wire.get("tasks", uuid)
        return Ticket.read(record) if record else None

    def take(self, ticket: Ticket, alone: bool) -> bool:
        """Own a task; False if somebody else has it or it is gone.

        Parameters
        ----------
        alone
            No other process of this machine works on it: one that is said to is dead.
        """
        if ticket.status == RUNNING and not ((alone and ticket.ours) or ticket.silent()):
            return False
        worker = {**trace(), "timestamp": datetime.now(UTC).replace(tzinfo=None).isoformat()}
        operations: Operations = [{"op": "test", "path": "/status", "value": ticket.status}]
        if ticket.status == RUNNING:
            # of two who find the owner dead, one succeeds
            operations.append({"op": "test", "path": "/worker", "value": ticket.worker})
        operations += [
            {"op": "replace", "path": "/status", "value": RUNNING},
            {"op": "add", "path": "/worker", "value": worker},
        ]
        try:
            self.wire.patch("tasks", ticket.uuid, operations)
        except DeliveryError:
            # refused, or done and the answer lost: the entry knows
            now = self.read(ticket.uuid)
            if now is not None and now.status == ticket.status and now.worker == ticket.worker:
                raise
            return now is not None and now.worker == worker
        return True

    @contextlib.contextmanager
    def working(self, ticket: Ticket, files: int) -> Iterator[Beat]:
        """Show that an owned task is alive, and how far it is."""
        beat = Beat(self.beats, ticket, files)
        thread = threading.Thread(target=beat.run, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield beat
        finally:
            beat.over.set()
            thread.join(30)

    def done(self, ticket: Ticket) -> None:
        """Take a finished task out of the queue; one that is gone already is fine."""
        try:
            self.wire.delete("tasks", ticket.uuid)
        except DeliveryError:
            if self.wire.get("tasks", ticket.uuid) is not None:
                raise

    def release(self, ticket: Ticket) -> None:
        """Give an owned task back to the queue."""
        self._leave(ticket, QUEUED, {})

    def stop(self, ticket: Ticket, reason: str) -> None:
        """End an owned task that cannot succeed as things are."""
        self._leave(ticket, STOPPED, {"reason": reason[:300]})

    def _leave(self, ticket: Ticket, status: str, progress: dict[str, Any]) -> None:
        operations: Operations = [{"op": "test", "path": "/status", "value": RUNNING}]
        if progress:
            operations.append({"op": "add", "path": "/progress", "value": progress})
        operations += [
            {"op": "replace", "path": "/status", "value": status},
            {"op": "remove", "path": "/worker"},
        ]
        self.wire.patch("tasks", ticket.uuid, operations)


class Beat:
    """Tells the catalogue in the background; that it does not answer never disturbs a transfer."""

    def __init__(self, wire: Wire, ticket: Ticket, files: int) -> None:
        self._wire, self._ticket, self._files = wire, ticket, files
        self._at: tuple[int, int] | None = None
        self.over = threading.Event()

    def __call__(self, done: int, total: int) -> None:
        """Bytes done and bytes in all."""
        self._at = (done, total)

    def run(self) -> None:
        """Send until it is over."""
        told, beaten = None, 0.0
        while True:
            at = self._at
            with contextlib.suppress(DeliveryError):
                if at and at != told:
                    self._wire.patch("tasks", self._ticket.uuid, self._progress(*at))
                    told, beaten = at, 0.0
                elif beaten == 0.0 or beaten >= HEARTBEAT:
                    self._wire.patch("tasks", self._ticket.uuid, _ALIVE)
                    beaten = 0.0
            if self.over.wait(_TELL_EVERY):
                return
            beaten += _TELL_EVERY

    def _progress(self, done: int, total: int) -> Operations:
        value = {
            "number_of_files": self._files,
            "total_size": total,
            "total_transferred": done,
            "transfering": True,
            "timestamp": datetime.now(UTC).replace(tzinfo=None).isoformat(),
            "percentage": 100 * done / total if total else 0,
        }
        return [
            {"op": "test", "path": "/status", "value": RUNNING},
            {"op": "add", "path": "/progress", "value": value},
        ]
