"""Put the watch suite on a server, or bring it up to date; states stay and relays go on, as in every deploy."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.config.values import node_name
from ml_suite.errors import MlSuiteError
from ml_suite.hosts import reach
from ml_suite.watch import SUITE, registry
from ml_suite.watch.registry import Served, Watched

if TYPE_CHECKING:
    from ml_suite.config.resolved import Resolved
    from ml_suite.hosts.reach import Reach
    from ml_suite.server.client import Server
    from ml_suite.server.deploy import Deployed, Prepared


def watched(resolved: Resolved) -> list[Watched]:
    """Hosts of a deployment that have to be watched."""
    places = {name: resolved.hosts[name] for name in resolved.remote}
    return [Watched(name, (str(p.spool),) if p.spool else ()) for name, p in places.items()]


def deploy(
    server: Server,
    home: Path,
    suite: str,
    hosts: Sequence[Watched],
    ways: Iterable[tuple[Reach, Reach]],
    python: Path | None = None,
) -> Deployed | None:
    """Watch the hosts of one suite beside those of all others on this server; to be called before that suite's deploy.

    Parameters
    ----------
    home
        ML_SUITE_HOME.
    suite
        Node of the suite that uses the hosts; what it used before and does not any more is watched no longer, unless
        another suite does.
    ways
        `reach.of` of every host, with the deployment's user; kept for all programs that reach them.
    python
        Runs the tasks beside the server; this one.

    Returns
    -------
    None when nothing had to be changed.

    Raises
    ------
    MlSuiteError
        As `ml_suite.server.deploy.carry_out`, or if `registry.file` is damaged.
    """
    from ml_suite.library import install_library
    from ml_suite.server.deploy import carry_out

    for way in ways:
        reach.save(way)
    with registry.alone(home):
        servers = registry.read(home)
        identity = registry.identity(home, server.address)
        one = registry.served(home, server.address, servers.get(identity))
        one = one.with_suite(suite, hosts, server.suites())
        if not one.hosts and server.fetch(SUITE) is None:
            return None
        install_library(home)
        prepared = prepare(server, home, one, python)
        if gone := [c.path for c in prepared.plan.changes if c.sign == "-" and c.kind == "task"]:
            _retire(server, gone)
            prepared = prepare(server, home, one, python)
        registry.write(home, {**servers, identity: one})
        if prepared.empty:
            return None
        # jobs' outputs name hosts and files; the generated jobs hold the passwords of tasks
        (home / "jobs").mkdir(mode=0o700, parents=True, exist_ok=True)
        done = carry_out(prepared, {"Hosts": ", ".join(host.name for host in one.hosts)})
        added = {c.path for c in prepared.plan.changes if c.sign == "+"}
        for host in one.hosts:
            if f"/{SUITE}/{node_name(host.name)}" in added:
                _begin_closed(server, host.name)
        return done


def prepare(server: Server, home: Path, one: Served, python: Path | None = None) -> Prepared:
    """Compare the watch suite of a server with what runs; changes nothing."""
    from ml_suite.config.locate import shipped
    from ml_suite.library import library_folder
    from ml_suite.server import deploy
    from ml_suite.suite.nodes import Places
    from ml_suite.suite.watch import build_watch

    scripts = deploy.Places(home, SUITE).tree / "scripts"
    runner = python or Path(sys.executable)
    places = Places(scripts, home / "jobs", library_folder(home), runner, server.address.host)
    built = build_watch(one.hosts, places, home, shipped() / "suites" / "scripts")
    files = {f"scripts/{name}": text for name, text in built.files.items()}
    return deploy.prepare(server, home, built.defs, SUITE, files)


def _retire(server: Server, tasks: Iterable[str]) -> None:
    """Let tasks end that are wanted no more: a relay notices within seconds that its task is over."""
    for path in tasks:
        server.suspend(path)
        server.force(path, "complete")


def _begin_closed(server: Server, host: str) -> None:
    """Nothing is sent to a host before somebody looked whether it is open."""
    from ml_suite.watch.login import node_of

    node = node_of(server, host)
    if node is None or 'label state "not looked yet" #' in (node.stateful or ""):
        return
    server.alter(node.path, "limit_max", "open", "0")
    server.alter(node.path, "event", "closed", "set")
    client = server.child("", "", 1, "")
    # on a new suite it may look already
    with suppress(MlSuiteError):
        server.tell(lambda: client.run(f"{node.path}/login", False))
