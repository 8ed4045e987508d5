"""Read a requirements file that lists every package with its version, and better with its hashes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from ml_suite.errors import ConfigError

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)\s*(\[[^\]]*\])?\s*===?\s*(?P<version>[A-Za-z0-9][A-Za-z0-9.+!_-]*)"
    r"\s*(;\s*(?P<marker>[^#]+?))?\s*"
)
_HASH = re.compile(r"\s--hash[= ](\S+)")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_INDEX = re.compile(r"(-i|-f|--index-url|--extra-index-url|--find-links)[= ]\s*(\S+)")


@dataclass(frozen=True)
class Pin:
    """One package in one version."""

    name: str
    """Lower case, with hyphens."""
    version: str
    hashes: tuple[str, ...] = ()
    """``sha256:...``, sorted: one for each file of that version that may be taken."""
    marker: str | None = None
    """Where it is needed, as in PEP 508; None: everywhere."""

    @property
    def line(self) -> str:
        """As a requirements file has it, without the marker."""
        return " ".join([f"{self.name}=={self.version}", *(f"--hash={one}" for one in self.hashes)])


@dataclass(frozen=True)
class Lock:
    """All packages of an environment."""

    pins: tuple[Pin, ...]
    """Sorted."""
    options: tuple[str, ...] = ()
    """Where pip looks, in the file's order."""

    @property
    def hashed(self) -> bool:
        """What is downloaded is known beforehand."""
        return bool(self.pins) and all(pin.hashes for pin in self.pins)

    @property
    def canonical(self) -> str:
        """The same text for files that mean the same: without comments, sorted."""
        # without hashes a version may be another build elsewhere
        where = [] if self.hashed else [" ".join(self.options)]
        return "\n".join([*(f"{pin.line} ; {pin.marker or ''}" for pin in self.pins), *where])


def parse(text: str, name: str) -> Lock:
    """Read the text of a requirements file.

    Parameters
    ----------
    name
        Of the file, for messages.

    Raises
    ------
    ConfigError
        If a line names something else than a package with its version, or a place to look for packages.

    >>> parse("Six==1.17.0  # why", "x").pins
    (Pin(name='six', version='1.17.0', hashes=(), marker=None),)
    """
    pins: dict[tuple[str, str | None], Pin] = {}
    options = []
    for number, line in _lines(text):
        where = f"{name}, line {number}"
        if line.startswith("-"):
            options += _option(line, where)
            continue
        pin = _pin(line, where)
        if pins.setdefault((pin.name, pin.marker), pin) != pin:
            raise ConfigError(f"{where}: {pin.name} is listed twice, in two versions", "Keep one of them.")
    lock = Lock(tuple(sorted(pins.values(), key=lambda p: (p.name, p.marker or ""))), tuple(options))
    if not lock.pins:
        raise ConfigError(f"{name} lists no package", f"Write one with: {_HOW}")
    bare = [pin.name for pin in lock.pins if not pin.hashes]
    if bare and len(bare) < len(lock.pins):
        raise ConfigError(
            f"{name}: some packages have hashes, and {', '.join(bare[:3])} {'has' if len(bare) == 1 else 'have'} not",
            f"Write hashes for all or none: {_HOW}",
        )
    return lock


_HOW = "uv pip compile --generate-hashes, or pip freeze --all"


def _lines(text: str) -> list[tuple[int, str]]:
    """Lines with their number: continued ones joined, comments and empty ones left out."""
    found: list[tuple[int, str]] = []
    joined, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", raw).rstrip()
        start = start or number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        whole = (joined + line).strip()
        if whole:
            found.append((start, whole))
        joined, start = "", 0
    if joined.strip():
        found.append((start, joined.strip()))
    return found


def _pin(line: str, where: str) -> Pin:
    hashes = _HASH.findall(f" {line}")
    match = _PIN.fullmatch(_HASH.sub("", line).strip())
    if match is None:
        raise ConfigError(
            f"{where}: {line.split()[0]} is not a package with its version",
            f"Write NAME==VERSION for every package: {_HOW}",
        )
    if wrong := [one for one in hashes if not _SHA256.fullmatch(one)]:
        raise ConfigError(
            f"{where}: {wrong[0][:40]} is not a sha256", "Write --hash=sha256:... of 64 digits."
        )
    name = re.sub(r"[-_.]+", "-", match["name"]).lower()
    marker = " ".join(match["marker"].split()) if match["marker"] else None
    return Pin(name, match["version"], tuple(sorted(set(hashes))), marker)


def _option(line: str, where: str) -> list[str]:
    match = _INDEX.fullmatch(line)
    if match is None:
        raise ConfigError(
            f"{where}: {line.split()[0].split('=')[0]} has no meaning in a list of packages",
            "Only --index-url, --extra-index-url and --find-links may stand there.",
        )
    option, value = match[1], match[2]
    parts = urlsplit(value)
    if parts.username or parts.password:
        raise ConfigError(
            f"{where}: the address holds a user or password, and this file is kept in git and on hosts",
            "Put it into ~/.netrc or pip's configuration of this machine.",
        )
    if not parts.scheme and not value.startswith("/"):
        raise ConfigError(f"{where}: {value} is a relative path", "Write an absolute path or an address.")
    return [{"-i": "--index-url", "-f": "--find-links"}.get(option, option), value]
