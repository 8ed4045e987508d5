"""Bring the whole twin up, look at it, end it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from ci.twin import accounting, accounts, auth, hosts, network, services, slurm, sshd
from ci.twin.hosts import Host
from ci.twin.plan import INTERNET, NODES, OPS, ROUTER, SITES, Site, nodes_of
from ci.twin.state import Folder, Settings

_WORKERS = 4
_T = TypeVar("_T")


def up(folder: Folder, settings: Settings) -> dict[str, float]:
    """Start what does not run, and wait until ssh, Slurm and (if asked for) the services work.

    Returns
    -------
    Seconds by phase, since the start.

    Raises
    ------
    MlSuiteError
        With the first thing that does not work.
    """
    begun = time.monotonic()
    seconds: dict[str, float] = {}

    def done(phase: str) -> None:
        seconds[phase] = round(time.monotonic() - begun, 2)

    if folder.first_process(ROUTER.name):
        settings = folder.settings.joined(settings)
    folder.save_settings(settings)
    auth.make_secrets(folder, sshd.doors())
    every = {node.name: Host(node, folder) for node in NODES}
    router = every[ROUTER.name]
    if not router.process:
        # the rest hangs on the router's cables and on the scratch folders it keeps
        _stop(every.values())
        folder.save_faults({})
        hosts.start(router)
        hosts.wait_ready(router)
    started = [host for host in every.values() if hosts.start(host)]
    for host in every.values():
        hosts.wait_ready(host)
    network.start_router(router)
    network.connect(list(every.values()), router)
    _forget_what_starts_again(folder)
    network.load_faults(folder.faults, router)
    done("hosts")
    _in_parallel(lambda host: _configure(host, settings), started)
    done("settings")
    jobs: list[Callable[[], None]] = [partial(_start_internet, every[INTERNET.name])]
    if settings.services:
        jobs.append(partial(services.up, every[OPS.name]))
    jobs += [partial(_start_site, site, every, settings) for site in SITES]
    _in_parallel(lambda job: job(), jobs)
    done("services")
    return seconds


def start_host(folder: Folder, host: Host) -> None:
    """Start one host again after a power cut, with what ran on it."""
    if not hosts.start(host):
        return
    hosts.wait_ready(host)
    router = Host(ROUTER, folder)
    network.connect([host], router)
    settings = folder.settings
    _configure(host, settings)
    every = {node.name: Host(node, folder) for node in NODES}
    if host.node.site:
        _start_site(host.node.site, every, settings)
    elif host.node == INTERNET:
        _start_internet(host)
    elif settings.services:
        services.up(host)


def down(folder: Folder, purge: bool = False) -> int:
    """End every host; with PURGE forget homes, keys and logs as well. Returns how many ran."""
    count = _stop(Host(node, folder) for node in reversed(NODES))
    folder.save_faults({})
    if purge:
        for name in ("hosts", "homes", "secrets"):
            shutil.rmtree(folder.root / name, ignore_errors=True)
        for name in ("settings.json", "faults.json"):
            (folder.root / name).unlink(missing_ok=True)
    return count


@dataclass(frozen=True)
class HostStatus:
    """What is said of a host."""

    name: str
    address: str
    pid: int | None
    programs: tuple[str, ...]
    memory_mb: float
    faults: tuple[str, ...]


@dataclass(frozen=True)
class SiteStatus:
    """What is said of a site."""

    name: str
    auth: str
    user: str
    login: str
    ssh_connections: int | None
    """New connections that came to its border since the twin started."""
    nodes: dict[str, str]
    """Slurm's states of its nodes; empty if the controller does not answer."""
    faults: tuple[str, ...]


def status(folder: Folder) -> tuple[list[HostStatus], list[SiteStatus]]:
    """Look at everything; nothing is changed."""
    faults = folder.faults
    running = {node.name: Host(node, folder) for node in NODES if Host(node, folder).process}
    programs = _programs({name: host.pid for name, host in running.items()})
    found = []
    for node in NODES:
        mine = programs.get(node.name, [])
        found.append(
            HostStatus(
                node.name,
                node.address,
                running[node.name].pid if node.name in running else None,
                tuple(sorted(name for name, _ in mine if name not in ("init", "sleep"))),
                round(sum(size for _, size in mine), 1),
                tuple(faults.get(node.name, [])),
            )
        )
    counted = network.connections(running[ROUTER.name]) if ROUTER.name in running else {}
    sites = []
    for site in SITES:
        login = nodes_of(site)[0]
        states = slurm.node_states(running[login.name]) if login.name in running else {}
        broken = tuple(faults.get(site.name, []))
        sites.append(
            SiteStatus(site.name, site.auth, site.user, login.name, counted.get(site.name), states, broken)
        )
    return found, sites


def _configure(host: Host, settings: Settings) -> None:
    node = host.node
    if node == ROUTER:
        return
    accounts.configure(host, settings)
    if node == OPS:
        sshd.configure_ops(host)
    if node.site:
        if node.role in ("login", "transfer"):
            sshd.configure(host, node.site)
        if node.role != "transfer":
            slurm.configure(host, node.site, settings.accounting)


def _start_site(site: Site, every: dict[str, Host], settings: Settings) -> None:
    there = [every[node.name] for node in nodes_of(site) if every[node.name].process]
    login = every[nodes_of(site)[0].name]
    compute = [host for host in there if host.node.role == "compute"]
    with_slurm = [host for host in there if host.node.role != "transfer"]
    for host in with_slurm:
        slurm.start_munge(host)
    for host in there:
        if host.node.role in ("login", "transfer"):
            sshd.start(host)
    for host in with_slurm:
        slurm.wait_munge(host)
    if not login.process:
        return
    if settings.accounting and accounting.start(login, site) and login.runs("slurmctld"):
        for host in with_slurm:
            slurm.configure(host, site, with_accounting=True)
        slurm.stop_controller(login)
    slurm.start(login, compute)
    slurm.wait_nodes(login, compute)


def _start_internet(host: Host) -> None:
    if not host.runs("http"):
        host.must("mkdir -p /srv/http; echo 'the outside' >/srv/http/index.html")
        host.start_daemon("http", "/usr/bin/python3 -m http.server 80 --directory /srv/http")


def _forget_what_starts_again(folder: Folder) -> None:
    gone = ("node", "sshd", "slurmd", "slurmctld")
    folder.save_faults({name: [k for k in kinds if k not in gone] for name, kinds in folder.faults.items()})


def _stop(those: Iterable[Host]) -> int:
    return sum(hosts.stop(host) for host in those)


def _in_parallel(work: Callable[[_T], None], items: list[_T]) -> None:
    with ThreadPoolExecutor(_WORKERS) as pool:
        list(pool.map(work, items))


def _programs(pids: dict[str, int]) -> dict[str, list[tuple[str, float]]]:
    """Names and proportional memory (MB) of the processes of each host."""
    spaces = {_space(pid): name for name, pid in pids.items()}
    found: dict[str, list[tuple[str, float]]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name = spaces.get(_space(int(entry.name)))
            if name:
                sizes = [
                    x.split()[1]
                    for x in (entry / "smaps_rollup").read_text().splitlines()
                    if x.startswith("Pss:")
                ]
                program = (entry / "comm").read_text().strip()
                found.setdefault(name, []).append((program, int(sizes[0]) / 1024 if sizes else 0.0))
        except OSError:
            continue
    return found


def _space(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/pid").readlink())
