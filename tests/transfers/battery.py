"""The life of tasks in a real catalogue, on either wire: ``python -m tests.transfers.battery CONNECTIONS WIRE``."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from uuid import uuid4

from ml_suite.errors import DeliveryError
from ml_suite.stores.connections import Connections
from ml_suite.transfers import queue as queues
from ml_suite.transfers.queue import QUEUED, RUNNING, STOPPED, Queue
from ml_suite.transfers.wire import open_wire, plain


def main(connections: Connections, expected: str) -> None:
    wire, host = open_wire(connections), f"host-{uuid4().hex[:8]}"
    assert type(wire).__name__ == expected
    queue = Queue(wire, plain(connections))
    assert queue.find(host) == []

    ticket = queue.find_or_add("some-dataset", "ewc", host)
    assert (ticket.status, ticket.source, ticket.destination) == (QUEUED, "ewc", host)
    assert queue.find_or_add("some-dataset", "ewc", host).uuid == ticket.uuid
    other = queue.find_or_add("other-dataset", "ewc", host)
    assert [found.uuid for found in queue.find(host)] == [ticket.uuid, other.uuid]

    assert queue.take(ticket, alone=False)
    assert not queue.take(ticket, alone=False), "it was taken since it was read"
    held = queue.find_or_add("some-dataset", "ewc", host)
    assert (held.status, held.ours) == (RUNNING, True)
    assert not queue.take(held, alone=False), "its owner is alive"
    assert queue.take(held, alone=True), "its owner was this machine's, and is dead"

    queues._TELL_EVERY = 0.05
    with queue.working(held, files=7) as beat:
        beat(50, 200)
        time.sleep(0.6)
    progress = wire.get("tasks", ticket.uuid)["progress"]
    assert (progress["percentage"], progress["number_of_files"], progress["total_transferred"]) == (25, 7, 50)

    queue.release(held)
    assert queue.read(ticket.uuid).status == QUEUED
    assert "worker" not in wire.get("tasks", ticket.uuid)
    assert queue.take(queue.read(ticket.uuid), alone=False)
    queue.stop(queue.read(ticket.uuid), "the disk is full")
    stopped = wire.get("tasks", ticket.uuid)
    assert (stopped["status"], stopped["progress"]["reason"]) == (STOPPED, "the disk is full")
    again = queue.find_or_add("some-dataset", "ewc", host)
    assert (again.uuid, again.status) == (ticket.uuid, STOPPED)
    assert queue.take(again, alone=True)
    queue.done(again)
    queue.done(again)
    assert queue.read(ticket.uuid) is None
    assert not queue.take(other.__class__(**{**other.__dict__, "uuid": ticket.uuid}), alone=True), (
        "it is gone"
    )

    try:
        wire.patch("tasks", other.uuid, [{"op": "test", "path": "/status", "value": "nonsense"}])
        raise AssertionError("a failed test is an error")
    except DeliveryError:
        queue.done(other)
    print("everything held")


if __name__ == "__main__":
    main(Connections.load(Path(sys.argv[1])), sys.argv[2])
