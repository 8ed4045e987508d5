"""Which objects of an upload were verified, so that the next run need not read them again.

A size proves nothing: a damaged object may have the right one. So each line says what the server said of the
object (size, ETag, time) at the moment its bytes were proved to be those of the manifest. An object is
believed only as long as a fresh listing still says exactly that, and the manifest still wants that checksum.
Anything else is read again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ml_suite.stores.manifest import Entry

if TYPE_CHECKING:
    from obstore import ObjectMeta


@dataclass(frozen=True)
class Seen:
    """What a server says of an object in a listing."""

    size: int
    etag: str | None
    modified: str

    @classmethod
    def of(cls, meta: ObjectMeta) -> Seen:
        """Take it from obstore's answer."""
        # listings carry milliseconds, answers to GET whole seconds
        return cls(meta["size"], meta["e_tag"], meta["last_modified"].strftime("%Y-%m-%dT%H:%M:%SZ"))


def path_for(store: Path, url: str, endpoint: str) -> Path:
    """Where the journal of an upload of STORE to URL lies: beside it, hidden."""
    name = hashlib.sha256(f"{endpoint} {url}".encode()).hexdigest()[:12]
    return store.with_name(f".{store.name}.upload-{name}.jsonl")


class Journal:
    """Append-only; a line torn by a kill is ignored. Use it as a context manager."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._verified = dict(_read(path))

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        torn = self._path.exists() and not self._path.read_bytes().endswith(b"\n")
        self._file = self._path.open("a")
        if torn:
            self._file.write("\n")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def believes(self, entry: Entry, remote: Mapping[str, Seen]) -> bool:
        """Say whether an object was verified and is unchanged since."""
        seen = remote.get(entry.key)
        return (
            seen is not None
            and seen.etag is not None
            and self._verified.get(entry.key) == (entry.sha256, seen)
        )

    def verified(self, entry: Entry, seen: Seen) -> None:
        """Note that an object's bytes are those of the entry."""
        line = json.dumps({"key": entry.key, "sha256": entry.sha256, **asdict(seen)})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()
            self._verified[entry.key] = (entry.sha256, seen)


def _read(path: Path) -> list[tuple[str, tuple[str, Seen]]]:
    found = []
    try:
        lines = path.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    for line in lines:
        try:
            x = json.loads(line)
            found.append((x["key"], (x["sha256"], Seen(x["size"], x["etag"], x["modified"]))))
        except (ValueError, KeyError, TypeError):
            continue
    return found
