"""Portions of a dataset, and the journal at the host that says which are proved.

Files are named by their number in the manifest, so a line of the journal stays short. A line counts only with the
checksum of what it names, so a journal of other content, or a torn line, proves nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ml_suite.errors import DeliveryError
from ml_suite.stores.manifest import Entry, Manifest

_LINE = re.compile(r"\+ (?P<spans>\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*) (?P<digest>[0-9a-f]{16}) \.")
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Size:
    """Where a portion ends: at this many bytes or files, whichever comes first."""

    bytes: int
    files: int


@dataclass(frozen=True)
class Shard:
    """Some files of a manifest."""

    numbers: tuple[int, ...]
    """Places in the manifest, rising."""
    entries: tuple[Entry, ...]

    @property
    def bytes(self) -> int:
        """Bytes of all its files."""
        return sum(entry.size for entry in self.entries)

    @property
    def checksums(self) -> str:
        """Input of ``sha256sum -c``."""
        return "".join(f"{entry.sha256}  ./{entry.key}\n" for entry in self.entries)

    @property
    def digest(self) -> str:
        """Short checksum of names and content."""
        return hashlib.sha256(self.checksums.encode()).hexdigest()[:16]

    @property
    def line(self) -> str:
        """The journal's line that says that these files are there and proved."""
        return f"+ {write_spans(self.numbers)} {self.digest} ."


def of(manifest: Manifest, numbers: Iterable[int]) -> Shard:
    """The files with these numbers."""
    ordered = tuple(sorted(numbers))
    return Shard(ordered, tuple(manifest.entries[number] for number in ordered))


def cut(manifest: Manifest, numbers: Iterable[int], size: Size) -> list[Shard]:
    """Cut into portions; a file that is larger than a portion is one of its own."""
    portions: list[list[int]] = []
    held = 0
    for number in sorted(numbers):
        more = manifest.entries[number].size
        if not portions or held + more > size.bytes or len(portions[-1]) >= size.files:
            portions.append([])
            held = 0
        portions[-1].append(number)
        held += more
    return [of(manifest, portion) for portion in portions]


def proved(journal: Iterable[str], manifest: Manifest) -> set[int]:
    """Numbers of the files that the journal's lines prove."""
    found: set[int] = set()
    for line in journal:
        match = _LINE.fullmatch(line)
        numbers = read_spans(match["spans"], len(manifest.entries)) if match else None
        if match and numbers and of(manifest, numbers).digest == match["digest"]:
            found.update(numbers)
    return found


def write_spans(numbers: Sequence[int]) -> str:
    """Rising numbers as spans.

    >>> write_spans([0, 1, 2, 5, 7, 8])
    '0-2,5,7-8'
    """
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][-1] + 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ",".join("-".join(map(str, span)) for span in spans)


def read_spans(text: str, count: int) -> list[int] | None:
    """Numbers below COUNT; None if one is not.

    >>> read_spans("0-2,5", 6)
    [0, 1, 2, 5]
    >>> read_spans("0-2,5", 5) is None
    True
    """
    found: list[int] = []
    for span in text.split(","):
        first, _, last = span.partition("-")
        if int(last or first) >= count:
            return None
        found += range(int(first), int(last or first) + 1)
    return found


def listing(manifest: Manifest) -> str:
    """What `list` of the scripts prints about a right store; only its checksum travels."""
    lines = sorted(f"{entry.size} ./{entry.key}\n".encode() for entry in manifest.entries)
    return hashlib.sha256(b"".join(lines)).hexdigest()


def check_names(manifest: Manifest) -> None:
    """Refuse names that the programs at the host read as more than one.

    Raises
    ------
    DeliveryError
        Naming the first.
    """
    for entry in manifest.entries:
        if _UNSPEAKABLE.search(entry.key):
            raise DeliveryError(
                f"the name {entry.key!r} holds a control character and cannot be sent to a host",
                "Build the dataset again without it.",
            )
