"""Break things on purpose, and mend them.

=========  ===================================================================================
link       a site's line is out: "no route to host"; for one host: its cable is pulled
half       the border drops everything between HOST and other sites without a word
node       power off
disk       the shared file trees of HOST's site are full
cert       the user's certificate for HOST's site has expired
clock      HOST's clock is an hour ahead, for what starts from now on
sessions   HOST's sshd allows one session for each connection that is opened from now on
sshd       HOST's sshd is gone: connections are refused, open ones go on
slurmd     Slurm's daemon on a compute node is gone, the jobs there go on
slurmctld  a site's Slurm controller is stopped, the jobs go on
=========  ===================================================================================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from ci.twin import auth, clock, hosts, network, root, slurm, sshd
from ci.twin.hosts import Host
from ci.twin.plan import NODES, ROUTER, SITES, Node, Site, find_node, find_site, login_of
from ci.twin.state import Folder

from ml_suite.errors import ConfigError

Kind = Literal["link", "half", "node", "disk", "cert", "clock", "sessions", "sshd", "slurmd", "slurmctld"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SITE_NAMES = {site.name for site in SITES}
_HOUR = 3600


def cut(folder: Folder, name: str, kind: Kind) -> str:
    """Break something; returns what was done, for a person.

    Parameters
    ----------
    name
        A host, or a site.

    Raises
    ------
    ConfigError
        If there is no such host, or it cannot have this fault.
    """
    subject = _subject(name, kind)
    if subject == ROUTER.name:
        raise ConfigError("the router is the twin's own; it is not for breaking")
    remembered = folder.faults
    kinds = sorted({*remembered.get(subject, []), kind})
    _break(folder, subject, kind, {**remembered, subject: kinds})
    folder.save_faults({**remembered, subject: kinds})
    return f"{subject}: {kind}"


def heal(folder: Folder, name: str) -> list[str]:
    """Mend all that was cut at a name, except that a host which is off has to be started by the caller.

    Returns
    -------
    Kinds of faults that there were.
    """
    remembered = folder.faults
    subjects = [
        s for s in {name, *(_subject(name, kind) for kind in KINDS if _can(name, kind))} if s in remembered
    ]
    mended: list[str] = []
    for subject in subjects:
        kinds = remembered.pop(subject)
        for kind in kinds:
            _mend(folder, subject, kind)
        mended += kinds
    network.load_faults(remembered, Host(ROUTER, folder))
    folder.save_faults(remembered)
    return sorted(mended)


def _break(folder: Folder, subject: str, kind: Kind, faults: dict[str, list[str]]) -> None:
    router = Host(ROUTER, folder)
    match kind:
        case "link" | "half" if kind == "half" or subject in _SITE_NAMES:
            network.load_faults(faults, router)
        case "disk":
            _resize(router, subject, full=True)
        case "cert":
            auth.certify(folder, find_site(subject), "-2h:-1m")
        case _:
            _break_host(Host(find_node(subject), folder), kind)


def _break_host(host: Host, kind: Kind) -> None:
    match kind:
        case "link":
            network.set_cable(host.node, Host(ROUTER, host.folder), plugged=False)
        case "node":
            hosts.stop(host)
            if host.node.role == "compute" and (login := _login(host)).process:
                slurm.report_down(login, host.node.name)
        case "clock":
            clock.put_ahead(host, _HOUR)
        case "sessions":
            sshd.limit_sessions(host, _site(host.node), 1)
        case "sshd":
            sshd.stop(host)
        case "slurmctld":
            slurm.stop_controller(host)
        case _:
            host.stop_daemon(kind)


def _mend(folder: Folder, subject: str, kind: str) -> None:
    if subject in _SITE_NAMES:
        if kind == "disk":
            _resize(Host(ROUTER, folder), subject, full=False)
        elif kind == "cert":
            auth.certify(folder, find_site(subject), "-1m:+12h")
        return
    host = Host(find_node(subject), folder)
    if not host.process:
        # it starts with everything right
        return
    match kind:
        case "link":
            network.set_cable(host.node, Host(ROUTER, folder), plugged=True)
        case "clock":
            clock.put_right(host)
        case "sessions":
            sshd.limit_sessions(host, _site(host.node), sshd.SESSIONS)
        case "sshd":
            sshd.start(host)
        case "slurmd":
            slurm.start_node(host)
            if (login := _login(host)).runs("slurmctld"):
                slurm.wait_nodes(login, [host])
        case "slurmctld":
            slurm.start_controller(host)
            slurm.wait_nodes(host, [])


def _login(host: Host) -> Host:
    return Host(login_of(_site(host.node)), host.folder)


def _site(node: Node) -> Site:
    return find_site(node.name)


def _can(name: str, kind: Kind) -> bool:
    try:
        _subject(name, kind)
    except ConfigError:
        return False
    return True


_WHERE: dict[Kind, Callable[[Node], bool]] = {
    "sessions": lambda node: node.role in ("login", "transfer"),
    "sshd": lambda node: node.role in ("login", "transfer"),
    "slurmd": lambda node: node.role == "compute",
    "slurmctld": lambda node: node.role == "login",
}


def _subject(name: str, kind: Kind) -> str:
    """What a fault is remembered under: a site's name, or a host's."""
    if kind in ("disk", "cert"):
        site = find_site(name)
        if kind == "cert" and site.auth != "certificate":
            others = ", ".join(s.name for s in SITES if s.auth == "certificate")
            raise ConfigError(f"{site.name} takes no certificates", f"These do: {others}")
        return site.name
    if kind in ("link", "half") and name in _SITE_NAMES:
        return name
    node = find_node(name)
    if kind in _WHERE and not _WHERE[kind](node):
        others = ", ".join(other.name for other in NODES if _WHERE[kind](other))
        raise ConfigError(f"{name} has no {kind} to break", f"These have: {others}")
    return node.name


def _resize(router: Host, site: str, full: bool) -> None:
    """Make a site's shared trees as large as what is in them, or as large as they were."""
    place = root.disk_of(site)
    size = root.DISK_SIZE
    if full:
        # at least one page, because 0 means without a limit
        size = str(max(4096, int(router.must(f"df --output=used -B1 {place} | tail -1"))))
    router.must(f"mount -o remount,size={size} {place}")
