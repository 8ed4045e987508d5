"""Which hosts the watch suite of which server watches, and for which suites: ``HOME/watch/hosts.json``.

A suite that is deployed replaces its own part and no other's.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import MlSuiteError, ServerUnreachable
from ml_suite.server.address import Address, find
from ml_suite.services.addresses import client_environment

EMBEDDED = "the embedded server"
"""That of `ml-suite services`, whose port may change."""


@dataclass(frozen=True)
class Watched:
    """A host of a deployment that is another machine."""

    name: str
    """Of the host file."""
    spools: tuple[str, ...] = ()
    """Folders of that machine where jobs leave their child commands; none: jobs reach the server themselves."""


@dataclass(frozen=True)
class Served:
    """One ecFlow server and what was deployed to it."""

    host: str
    port: int
    embedded: bool = False
    passwd: str | None = None
    """File that ECF_PASSWD named when a suite was deployed; the embedded server's is known anyway."""
    suites: Mapping[str, tuple[Watched, ...]] = field(default_factory=dict)
    """Hosts by the node of the suite that uses them."""

    @property
    def hosts(self) -> list[Watched]:
        """Every host once with all its spools, in the order of their first deployment."""
        found: dict[str, dict[str, None]] = {}
        for hosts in self.suites.values():
            for host in hosts:
                found.setdefault(host.name, {}).update(dict.fromkeys(host.spools))
        return [Watched(name, tuple(spools)) for name, spools in found.items()]

    def with_suite(self, suite: str, hosts: Iterable[Watched], present: Iterable[str]) -> Served:
        """The same after a deploy of SUITE; suites that are no longer PRESENT on the server are forgotten."""
        kept = {name: there for name, there in self.suites.items() if name in {suite, *present}}
        kept[suite] = tuple(hosts)
        return replace(self, suites={name: there for name, there in kept.items() if there})


def file(home: Path) -> Path:
    """Where it is kept."""
    return home / "watch" / "hosts.json"


def read(home: Path) -> dict[str, Served]:
    """Servers by `identity`.

    Raises
    ------
    MlSuiteError
        If the file is damaged: a deploy from an empty one would drop the hosts of other suites.
    """
    try:
        data = json.loads(file(home).read_text())
        return {identity: _served(fields) for identity, fields in data.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise MlSuiteError(
            f"{file(home)} cannot be read: {error}",
            "Delete it, then deploy every suite again that uses other machines.",
        ) from error


def _served(fields: dict[str, object]) -> Served:
    suites = fields.pop("suites")
    assert isinstance(suites, dict)
    found = {
        suite: tuple(Watched(name, tuple(spools)) for name, spools in hosts.items())
        for suite, hosts in suites.items()
    }
    return Served(**fields, suites=found)  # type: ignore[arg-type]


def write(home: Path, servers: Mapping[str, Served]) -> None:
    """Keep it; only inside `alone`."""
    data = {
        identity: {
            "host": one.host,
            "port": one.port,
            "embedded": one.embedded,
            "passwd": one.passwd,
            "suites": {s: {h.name: list(h.spools) for h in hosts} for s, hosts in one.suites.items()},
        }
        for identity, one in servers.items()
    }
    text = json.dumps(data, indent=1) + "\n"
    path = file(home)
    if not path.exists() or path.read_text() != text:
        atomic.write(path, text, mode=0o600)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Hold everybody else off who deploys the watch suite from this home; they wait."""
    path = file(home).with_name("lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def identity(home: Path, address: Address) -> str:
    """One name for one server, however a shell calls it: the suites of two shells must not drop each other's hosts."""
    if _embedded(home, address):
        return EMBEDDED
    return f"localhost:{address.port}" if address.here else str(address)


def _embedded(home: Path, address: Address) -> bool:
    # a shell with the server's own ECF_PASSWD reaches the embedded server by an address of its own
    try:
        return address.here and address.port == int(client_environment(home)["ECF_PORT"])
    except ServerUnreachable:
        return False


def served(home: Path, address: Address, before: Served | None) -> Served:
    """Facts of a server now, with the suites of BEFORE."""
    embedded = _embedded(home, address)
    passwd = None if embedded else os.environ.get("ECF_PASSWD") or (before.passwd if before else None)
    return Served(address.host, address.port, embedded, passwd, before.suites if before else {})


def reached(home: Path, one: Served) -> Address:
    """How a program of this user calls a server.

    Raises
    ------
    ServerUnreachable
        If there is no embedded server any more.
    """
    if one.embedded:
        # it may have another port by now
        known = client_environment(home)
        return find(home, f"{known['ECF_HOST']}:{known['ECF_PORT']}")
    return _with_password(find(home, f"{one.host}:{one.port}"), one.passwd)


def mine(home: Path) -> Address:
    """The server whose job this process is, with the user's authority.

    Raises
    ------
    ServerUnreachable
        If the process is no job and there is no embedded server.
    """
    address = find(home)
    known = None
    with suppress(MlSuiteError):
        known = read(home).get(identity(home, address))
    return _with_password(address, known.passwd if known else None)


def _with_password(address: Address, passwd: str | None) -> Address:
    if address.environment or not passwd or "ECF_PASSWD" in os.environ:
        return address
    return replace(address, environment={"ECF_PASSWD": passwd})
