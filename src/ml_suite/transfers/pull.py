"""Let the host fetch by itself, by addresses that are good for an hour and for one object each.

The host never sees a key of the object store. The addresses travel on the standard input of one command and from
there through pipes into curl: no argument, no file and no message holds one.
"""

from __future__ import annotations

import base64
import gzip
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ml_suite.errors import DeliveryError
from ml_suite.hosts import channel
from ml_suite.stores.connections import S3
from ml_suite.stores.manifest import Entry
from ml_suite.stores.s3 import Location, open_bucket, read_back, told
from ml_suite.transfers import scripts, shards
from ml_suite.transfers.carrier import Carried, Moved
from ml_suite.transfers.place import Place, full
from ml_suite.transfers.shards import Shard, Size

if TYPE_CHECKING:
    from obstore.store import S3Store

SIZE = Size(bytes=256 << 20, files=2048)
"""Of a portion: what is fetched well within the life of an address."""
LIFE = timedelta(hours=1)
LANES = 8
"""Programs that fetch at once."""
_SLOWEST = 200_000
"""Bytes per second below which the command is given up."""


@dataclass(frozen=True)
class Pull:
    """From the store at WHERE by the host itself."""

    where: Location
    connection: S3
    """As this machine reaches the object store."""
    endpoint: str | None = None
    """Address of the object store as the host reaches it; None: the same."""
    size: Size = SIZE

    def carry(self, place: Place, portions: Iterable[Shard], moved: Moved) -> Iterator[Carried]:
        """Let the place fetch portions, one after the other."""
        seen = self.connection.model_copy(update={"endpoint": self.endpoint or self.connection.endpoint})
        signing = open_bucket(self.where.bucket, seen)
        own = open_bucket(self.where.bucket, self.connection)
        for shard in portions:
            bad, note = self._fetch(place, shard, signing)
            if bad and "(23)" in note:
                raise full(place.target, note)
            with told(f"read {self.where}", self.connection):
                if len(bad) == len(shard.entries) and self._sound(own, place.wanted.by_key[bad[0]]):
                    raise _unreachable(place, seen.endpoint, note)
                damaged = [key for key in bad if not self._sound(own, place.wanted.by_key[key])]
            moved(shard.bytes)
            kept = zip(shard.numbers, shard.entries, strict=True)
            whole = shards.of(place.wanted, (n for n, entry in kept if entry.key not in damaged))
            yield Carried(whole, tuple(damaged), tuple(key for key in bad if key not in damaged))

    def _fetch(self, place: Place, shard: Shard, store: S3Store) -> tuple[list[str], str]:
        script = place.text(scripts.PULL, id=secrets.token_hex(6), lanes=LANES)
        seconds = 120 + shard.bytes / _SLOWEST + len(shard.entries)
        done = channel.run(place.target.way, script, self._input(shard, store), timeout=min(seconds, 3000.0))
        word, rest, lines = place.answer(done.code, done.out, done.err)
        if word == "cannot":
            raise DeliveryError(
                f"{place.target.way.host} cannot fetch by itself: {rest}",
                "Write `transfer: stream` under the host.",
            )
        return place.bad(shard, word, rest, lines), rest.strip()

    def _input(self, shard: Shard, store: S3Store) -> bytes:
        folders = {f"./{entry.key}".rpartition("/")[0] + "/" for entry in shard.entries}
        made = [*sorted(folders), *(f"./{entry.key}" for entry in shard.entries if entry.size == 0)]
        parts = [shard.checksums, shard.line + "\n", "".join(f"{name}\0" for name in made)]
        wanted = [entry for entry in shard.entries if entry.size]
        parts += [self._requests(wanted[lane::LANES], store) for lane in range(LANES)]
        return b"".join(
            (base64.b64encode(gzip.compress(part.encode(), 6)) if part else b"") + b"\n" for part in parts
        )

    def _requests(self, entries: list[Entry], store: S3Store) -> str:
        """Instructions for one curl."""
        import obstore

        if not entries:
            return ""  # the shell starts none
        signed = obstore.sign(store, "GET", [f"{self.where.key}/{entry.key}" for entry in entries], LIFE)
        return "".join(
            f"url = {_quoted(address)}\noutput = {_quoted(f'./{entry.key}')}\n"
            for address, entry in zip(signed, entries, strict=True)
        )

    def _sound(self, store: S3Store, entry: Entry) -> bool:
        """Whether the object store still has what the manifest says."""
        try:
            return read_back(store, f"{self.where.key}/{entry.key}") == (entry.sha256, entry.size)
        except FileNotFoundError:
            return False


def _unreachable(place: Place, endpoint: str, note: str) -> DeliveryError:
    return DeliveryError(
        f"{place.target.way.host} cannot fetch from {endpoint}: {note}",
        "Write `transfer: stream` under the host, or under `object_store:` the address that it reaches.",
    )


def _quoted(text: str) -> str:
    """A value in curl's configuration."""
    return '"' + re.sub(r'([\\"])', r"\\\1", text) + '"'
