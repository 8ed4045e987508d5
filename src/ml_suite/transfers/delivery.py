"""Make a dataset at a host be what its manifest says: find out what is missing, send that, prove it, name it.

Safe to repeat and to kill at any moment. A lost connection is opened again where that needs no person, and the
transfer goes on with the first portion that is not proved.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ml_suite.errors import DeliveryError, HostBusy, HostUnreachable, MlSuiteError, OutcomeUnknown
from ml_suite.home import home
from ml_suite.quantities import format_bytes
from ml_suite.stores.manifest import Manifest, ProgressCallback
from ml_suite.stores.streams import TransferSummary, alone
from ml_suite.transfers import shards
from ml_suite.transfers.carrier import Carrier
from ml_suite.transfers.place import Found, Place, Target
from ml_suite.transfers.shards import Size

CHECKED = Size(bytes=16 << 30, files=8192)
"""Of what is proved in one command where it lies."""
_PAUSES = (5.0, 15.0, 30.0, 60.0, 120.0)
"""Seconds before each new try after a lost connection, until something moves again."""
_ROUNDS = 3
_AGAIN = "Upload it again (the dataset's upload task finds and replaces it), then run this one again."


def deliver(
    target: Target,
    wanted: Manifest,
    carrier: Carrier,
    progress: ProgressCallback | None = None,
    *,
    full: bool = False,
    pauses: Iterable[float] = _PAUSES,
) -> TransferSummary:
    """Make the dataset at TARGET be what WANTED says.

    A dataset that is there already and right costs one round trip. One that is not loses its name until it is.

    Parameters
    ----------
    progress
        Called with bytes done and bytes in all, from this thread.
    full
        Read and prove every file that is there, whatever earlier runs proved.
    pauses
        Seconds before each new try after a lost connection.

    Raises
    ------
    DeliveryError
        If objects are missing or damaged, the disk there is full, or another transfer is at it.
    CredentialNeeded
        If a person has to log in first; what is there is kept.
    HostError
        If the host cannot be reached, or refuses.
    """
    shards.check_names(wanted)
    work = _Delivery(target, wanted, carrier, progress or (lambda done, total: None), full)
    with alone(lock_file(target)):
        return work.run(tuple(pauses))


def lock_file(target: Target) -> Path:
    """File of this machine whose lock keeps two transfers to the same target apart."""
    return home() / "transfers" / f"{target.way.host}.{target.name}.lock"


@dataclass
class _Delivery:
    target: Target
    wanted: Manifest
    carrier: Carrier
    progress: ProgressCallback
    full: bool
    sent: set[int] = field(default_factory=set)
    steps: int = 0
    """Portions that were proved: a connection that lets some through is worth another try."""
    damaged: set[str] = field(default_factory=set)
    forget: bool = False

    def run(self, pauses: tuple[float, ...]) -> TransferSummary:
        start, tries, steps = time.monotonic(), 0, 0
        self.forget = self.full
        while True:
            place = Place(self.target, self.wanted)
            try:
                extra = self._go(place)
                break
            except (HostUnreachable, OutcomeUnknown, HostBusy) as error:
                tries = 0 if self.steps > steps else tries
                steps = self.steps
                if tries >= len(pauses):
                    raise
                print(f"{error.message}; trying again in {pauses[tries]:.0f} s", flush=True)
                time.sleep(pauses[tries])
                tries += 1
            except BaseException:
                with contextlib.suppress(MlSuiteError):
                    place.leave()
                raise
        moved = sum(self.wanted.entries[number].size for number in self.sent)
        count = len(self.sent)
        seconds = time.monotonic() - start
        return TransferSummary(count, moved, len(self.wanted.entries) - count, seconds, extra)

    def _go(self, place: Place) -> tuple[str, ...]:
        for _ in range(_ROUNDS):
            found = place.begin(quick=not self.full, forget=self.forget)
            self.forget = False
            if found.right:
                self.progress(self.wanted.bytes, self.wanted.bytes)
                return ()
            extra = self._mend(place, found)
            # sizes alone are compared at the end, so everything has to be proved before
            if extra is not None and place.finish(bool(extra)):
                self.progress(self.wanted.bytes, self.wanted.bytes)
                return extra
        raise DeliveryError(
            f"{self.target}: files there are not what was sent, again and again",
            "Does something else write there, or is its disk faulty? Find out, and run it again.",
        )

    def _mend(self, place: Place, found: Found) -> tuple[str, ...] | None:
        """Prove what is there and send the rest.

        Returns
        -------
        Names that are left there although nobody wants them; None if not everything arrived as it was sent.
        """
        proved = set(found.proved)
        if found.stored and found.known and not self.full:
            # complete once, and names or sizes differ now: the files of the right size were proved then
            proved |= found.unproved
        else:
            proved |= self._check(place, found.unproved)
        self.full = False
        todo = [n for n in range(len(self.wanted.entries)) if n not in proved]
        if found.stored and not todo:
            return found.extra
        self._require_room(found.free, todo)
        if found.stored:
            place.note([shards.of(self.wanted, proved)] if proved else [])
        place.open(found.extra)
        return () if self._send(place, todo, self._bytes(proved)) else None

    def _check(self, place: Place, numbers: Iterable[int]) -> set[int]:
        good: set[int] = set()
        for shard in shards.cut(self.wanted, numbers, CHECKED):
            bad = set(place.check(shard))
            right = [n for n in shard.numbers if self.wanted.entries[n].key not in bad]
            good.update(right)
            self.steps += 1
        return good

    def _send(self, place: Place, todo: list[int], done: int) -> bool:
        arrived = True
        portions = shards.cut(self.wanted, self._undamaged(todo), self.carrier.size)
        total, gone = self.wanted.bytes, done

        def moved(size: int) -> None:
            nonlocal gone
            gone += size
            self.progress(min(gone, total), total)

        self.progress(done, total)
        for carried in self.carrier.carry(place, portions, moved):
            self.damaged.update(carried.damaged)
            if carried.bad:
                arrived = False
            else:
                self.sent.update(carried.shard.numbers)
                self.steps += 1
        if self.damaged:
            some = sorted(self.damaged)
            names = ", ".join(some[:3]) + (", …" if len(some) > 3 else "")
            raise DeliveryError(
                f"{len(some)} objects are missing or damaged in the object store: {names}", _AGAIN
            )
        return arrived

    def _undamaged(self, numbers: Iterable[int]) -> list[int]:
        return [n for n in numbers if self.wanted.entries[n].key not in self.damaged]

    def _bytes(self, numbers: Iterable[int]) -> int:
        return sum(self.wanted.entries[n].size for n in numbers)

    def _require_room(self, free: int, todo: list[int]) -> None:
        needed = self._bytes(todo)
        if needed > free:
            raise DeliveryError(
                f"{self.target} needs {format_bytes(needed)} and the disk has {format_bytes(free)}: it is full",
                "Make room there and run the task again: what is there and right is kept.",
            )
