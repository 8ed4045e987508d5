"""Break things on purpose, and mend them.

======  ======================================================================================
link    a site's line is out: "no route to host"; for one host: its cable is pulled
half    the border drops everything between HOST and other sites without a word
node    power off
disk    /scratch of HOST's site is full
cert    the user's certificate for HOST's site has expired
======  ======================================================================================
"""

from __future__ import annotations

from typing import Literal, get_args

from ci.twin import auth, hosts, network, root
from ci.twin.hosts import Host
from ci.twin.plan import ROUTER, SITES, find_node, find_site
from ci.twin.state import Folder

from ml_suite.errors import ConfigError

Kind = Literal["link", "half", "node", "disk", "cert"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_SITE_NAMES = {site.name for site in SITES}


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
    router = Host(ROUTER, folder)
    remembered = folder.faults
    kinds = sorted({*remembered.get(subject, []), kind})
    match kind:
        case "link" if subject not in _SITE_NAMES:
            network.set_cable(find_node(subject), router, plugged=False)
        case "link" | "half":
            network.load_faults({**remembered, subject: kinds}, router)
        case "node":
            hosts.stop(Host(find_node(subject), folder))
        case "disk":
            _resize(router, subject, full=True)
        case "cert":
            auth.certify(folder, find_site(subject), "-2h:-1m")
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
    router = Host(ROUTER, folder)
    mended: list[str] = []
    for subject in subjects:
        kinds = remembered.pop(subject)
        if "link" in kinds and subject not in _SITE_NAMES and Host(find_node(subject), folder).process:
            network.set_cable(find_node(subject), router, plugged=True)
        if "disk" in kinds:
            _resize(router, subject, full=False)
        if "cert" in kinds:
            auth.certify(folder, find_site(subject), "-1m:+12h")
        mended += kinds
    network.load_faults(remembered, router)
    folder.save_faults(remembered)
    return sorted(mended)


def _can(name: str, kind: Kind) -> bool:
    try:
        _subject(name, kind)
    except ConfigError:
        return False
    return True


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
    return find_node(name).name


def _resize(router: Host, site: str, full: bool) -> None:
    """Make a site's /scratch as large as what is in it, or as large as it was."""
    place = root.scratch_of(site)
    size = root.SCRATCH_SIZE
    if full:
        # at least one page, because 0 means without a limit
        size = str(max(4096, int(router.must(f"df --output=used -B1 {place} | tail -1"))))
    router.must(f"mount -o remount,size={size} {place}")
