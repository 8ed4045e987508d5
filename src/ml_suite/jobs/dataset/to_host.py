"""Carry datasets to other machines, each as a task of the catalogue's queue.

The suite's own transfer finds or adds its task there; tasks that others add, with ``anemoi-registry tasks --new``, are
worked off by `carry_out`. A task is owned by one process at a time, whoever added it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ml_suite import atomic
from ml_suite.datasets.entry import MEMBER
from ml_suite.errors import (
    CredentialNeeded,
    DatasetError,
    DeliveryError,
    HostBusy,
    HostUnreachable,
    MlSuiteError,
    OutcomeUnknown,
)
from ml_suite.home import home
from ml_suite.hosts import reach
from ml_suite.jobs import callback
from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.moving import Moving
from ml_suite.jobs.dataset.upload import PLATFORM
from ml_suite.layout import WorkTree
from ml_suite.stores.connections import S3, Connections
from ml_suite.stores.manifest import SUFFIX, Manifest, ProgressCallback, parse
from ml_suite.stores.s3 import Location, open_bucket, told
from ml_suite.stores.streams import TransferSummary, alone
from ml_suite.transfers.carrier import Carrier
from ml_suite.transfers.delivery import deliver
from ml_suite.transfers.place import Locked, Target
from ml_suite.transfers.pull import Pull
from ml_suite.transfers.queue import QUEUED, RUNNING, Queue, Ticket
from ml_suite.transfers.stream import Stream
from ml_suite.transfers.wire import Wire, open_wire, plain

WAITING = (CredentialNeeded, HostUnreachable, HostBusy, OutcomeUnknown, Locked)
"""What passes by waiting: the task goes back to the queue."""
_LOOK_EVERY = 10.0


def run(job: Job, host: str, full: bool = False) -> None:
    """Carry the deployment's dataset to HOST by way of the queue; waits while somebody else carries it.

    Raises
    ------
    DatasetError
        If the dataset is not registered, or has no copy in the object store.
    DeliveryError
        If objects are missing or damaged, the disk there is full, or a service fails.
    CredentialNeeded, HostError
        If the host cannot be reached: what is there is kept, and the task waits in the queue.
    """
    work = Work.of(job, host)
    name = job.deployment.dataset_name
    moving = Moving()

    def say(text: str) -> None:
        print(text, flush=True)
        callback.label("moved", text)

    with _turn(work.lock(name), say):
        while not work.queue.take(ticket := work.queue.find_or_add(name, PLATFORM, host), alone=True):
            percent = f", {ticket.percentage:.0f}%" if ticket.percentage is not None else ""
            say(f"{ticket.worker.get('host', 'somebody')} carries it already{percent}")
            time.sleep(_LOOK_EVERY)
        done = work.carry(ticket, moving, full)
    extra = f"; not of the dataset, left there: {', '.join(done.extra[:3])}" if done.extra else ""
    moving.finish(f"{done}{extra}")


def carry_out(job: Job, host: str) -> list[str]:
    """Work off the tasks that wait for HOST, each unless it is in somebody's hands; returns a line for each.

    Raises
    ------
    DeliveryError
        If the catalogue does not answer.
    """
    work = Work.of(job, host)
    lines = []
    for ticket in work.queue.find(host):
        if ticket.status not in (QUEUED, RUNNING):
            continue
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(alone(work.lock(ticket.dataset)))
            except DeliveryError:
                continue  # a process of this machine is at it
            try:
                if not work.queue.take(ticket, alone=True):
                    continue
                lines.append(f"{ticket}: {work.carry(ticket, lambda done, total: None)}")
            except MlSuiteError as error:
                lines.append(f"{ticket}: {error.message}")
    return lines


@dataclass(frozen=True)
class Work:
    """What transfers to one host need."""

    job: Job
    host: str
    connections: Connections
    wire: Wire
    queue: Queue

    @classmethod
    def of(cls, job: Job, host: str) -> Work:
        """Find the services, and the connections where deploy keeps them."""
        job.use_home()
        connections = job.connections()
        wire = open_wire(connections)
        return cls(job, host, connections, wire, Queue(wire, plain(connections)))

    @property
    def tree(self) -> WorkTree:
        """Folders at the host."""
        return WorkTree.of(self.job.resolved, self.host)

    def lock(self, name: str) -> Path:
        """File of this machine that a process holds which carries a dataset to the host."""
        return home() / "transfers" / f"{self.host}.{name}.task"

    def carry(self, ticket: Ticket, progress: ProgressCallback, full: bool = False) -> TransferSummary:
        """Do an owned task and end it, whatever comes of it."""
        try:
            url, content = self._source(ticket)
            wanted = _manifest(Location.parse(url), content, self.connections.s3)
            with self.queue.working(ticket, len(wanted.entries)) as beat:

                def both(done: int, total: int) -> None:
                    progress(done, total)
                    beat(done, total)

                done = self._deliver(ticket.dataset, Location.parse(url), wanted, both, full)
            self._arrived(ticket.dataset, wanted)
        except WAITING:
            self._end(self.queue.release, ticket)
            raise
        except MlSuiteError as error:
            reason = error.message
            self._end(lambda owned: self.queue.stop(owned, reason), ticket)
            raise
        except BaseException:
            self._end(self.queue.release, ticket)
            raise
        self.queue.done(ticket)
        return done

    def _end(self, end: Callable[[Ticket], None], ticket: Ticket) -> None:
        # the first error is the one to tell; a task left as it is gets free when its heartbeat is missed
        with contextlib.suppress(DeliveryError):
            end(ticket)

    def _source(self, ticket: Ticket) -> tuple[str, str | None]:
        record = self.wire.get("datasets", ticket.dataset)
        if record is None:
            raise DatasetError(
                f"{ticket.dataset} is not registered", "Run the dataset's task register first."
            )
        path = str(record.get("locations", {}).get(ticket.source, {}).get("path", ""))
        if not path.startswith("s3://"):
            where = f"is at {path}" if path else "is not"
            raise DatasetError(
                f"{ticket.dataset} {where} on {ticket.source}: datasets go to hosts from an object store",
                "Run the dataset's task upload first.",
            )
        known = record.get("metadata", {}).get(MEMBER) or {}
        return path, known.get("manifest")

    def _deliver(
        self, name: str, where: Location, wanted: Manifest, progress: ProgressCallback, full: bool
    ) -> TransferSummary:
        path = PurePosixPath(self.tree.dataset(name))
        target = Target(reach.known(self.host), path.parent, path.name)
        use = self.job.deployment.hosts[self.host]
        s3 = self.connections.s3
        carrier: Carrier = (
            Stream(where, s3) if use.transfer == "stream" else Pull(where, s3, use.object_store)
        )
        try:
            return deliver(target, wanted, carrier, progress, full=full)
        except DeliveryError as error:
            if not isinstance(error, Locked):
                self._mark(name).unlink(missing_ok=True)
            raise

    def _arrived(self, name: str, wanted: Manifest) -> None:
        path = str(self.tree.dataset(name))
        operation = {"op": "add", "path": f"/locations/{self.host}", "value": {"path": path}}
        self.wire.patch("datasets", name, [operation])
        record = self.wire.get("datasets", name) or {}
        kept = record.get("locations", {}).get(self.host, {}).get("path")
        if kept != path:
            raise DeliveryError(f"the catalogue took the location of {name} on {self.host} but says {kept}")
        atomic.write(self._mark(name), f"{wanted.content_id}\n")

    def _mark(self, name: str) -> Path:
        """File beside the server that says that the dataset is there: jobs are sent where their data is."""
        tree = WorkTree.mirror(self.job.resolved, self.host)
        return tree.dataset(name).with_name(f"{name}.arrived")


@contextlib.contextmanager
def _turn(path: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other process of this machine carries the same."""
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(alone(path))
                break
            except DeliveryError:
                say("another task carries it already")
                time.sleep(_LOOK_EVERY)
        yield


def _manifest(where: Location, content: str | None, s3: S3) -> Manifest:
    """The manifest beside a store, which must be the one with this checksum if one is registered."""
    with told(f"manifest of {where}", s3):
        text = bytes(open_bucket(where.bucket, s3).get(where.key + SUFFIX).bytes()).decode()
    found = parse(text, f"{where}{SUFFIX}")
    if content and found.content_id != content:
        raise DeliveryError(
            f"{where} holds content {found.content_id[:12]}, registered is {content[:12]}",
            "Run the dataset's upload task.",
        )
    return found
