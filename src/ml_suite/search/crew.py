"""Several jobs at once: one thread for each, which waits for its process; what they train is not its business."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ml_suite.search.work import Job, Part


class Hand(Protocol):
    """Does one job after the other; it lives in one thread."""

    def do(self, job: Job) -> Part | None:
        """Do a job; None if it was stopped before it ended.

        Raises
        ------
        StudyError
            If no job can be done.
        """

    def close(self) -> None:
        """End what is running."""


@dataclass(frozen=True)
class Done:
    """What comes back from a thread."""

    job: Job
    part: Part | None
    error: Exception | None = None


class Crew:
    """Threads that do jobs; see `crew`."""

    def __init__(self, size: int, make: Callable[[int], Hand], stop: threading.Event) -> None:
        self._size, self._stop = size, stop
        self._inbox: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._outbox: queue.SimpleQueue[Done] = queue.SimpleQueue()
        self._given = 0
        self._threads = [
            threading.Thread(target=self._live, args=(i, make), daemon=True) for i in range(size)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> int:
        """Jobs at hand."""
        return min(self._given, self._size)

    @property
    def room(self) -> int:
        """Jobs that can be given: one at hand for each thread, and one that waits, so that none is ever idle."""
        return 2 * self._size - self._given

    def give(self, job: Job) -> None:
        """Give a job to whoever is free first."""
        self._given += 1
        self._inbox.put(job)

    def wait(self, seconds: float) -> list[Done]:
        """Return what is done: at least one job, unless none ends in time."""
        try:
            done = [self._outbox.get(timeout=seconds)]
        except queue.Empty:
            return []
        while not self._outbox.empty():
            done.append(self._outbox.get())
        self._given -= len(done)
        return done

    def close(self) -> None:
        """Let the threads end and wait for them."""
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            thread.join()

    def _live(self, slot: int, make: Callable[[int], Hand]) -> None:
        hand: Hand | None = None
        try:
            while (job := self._inbox.get()) is not None:
                try:
                    if self._stop.is_set():
                        self._outbox.put(Done(job, None))
                        continue
                    # made here: a process may die with the thread that started it
                    hand = hand or make(slot)
                    self._outbox.put(Done(job, hand.do(job)))
                except Exception as error:  # told to the one who waits
                    self._outbox.put(Done(job, None, error))
        finally:
            if hand is not None:
                hand.close()


@contextmanager
def crew(size: int, make: Callable[[int], Hand], stop: threading.Event) -> Iterator[Crew]:
    """Threads as a context; at its end none is left, and what they were doing is stopped.

    Parameters
    ----------
    stop
        Set at the end, so that jobs at hand stop too.
    """
    made = Crew(size, make, stop)
    try:
        yield made
    finally:
        stop.set()
        made.close()
