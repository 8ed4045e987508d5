"""What the ways to a host have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ml_suite.transfers.place import Place
from ml_suite.transfers.shards import Shard, Size

Moved = Callable[[int], None]
"""Called with bytes that went on their way, from the thread that carries."""


@dataclass(frozen=True)
class Carried:
    """What became of a portion."""

    shard: Shard
    """What was sent and is proved at the host, but for the keys in BAD."""
    damaged: tuple[str, ...] = ()
    """Keys that are missing or damaged in the object store; they were left out."""
    bad: tuple[str, ...] = ()
    """Keys that did not arrive as they were sent; nothing of the portion is noted as proved then."""


class Carrier(Protocol):
    """One way from the object store to a host."""

    @property
    def size(self) -> Size:
        """Of a portion."""

    def carry(self, place: Place, portions: Iterable[Shard], moved: Moved) -> Iterator[Carried]:
        """Carry portions to a place that is open, one after the other.

        Raises
        ------
        DeliveryError
            If the object store does not answer, or the host's disk is full.
        HostError
            If the connection is lost: what is proved stays.
        """
