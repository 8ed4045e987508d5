"""Who a host is and who its users are: names, password file, homes, login environment."""

from __future__ import annotations

import os
from pathlib import Path

from ci.twin.hosts import Host
from ci.twin.plan import NODES
from ci.twin.state import Settings

_SYSTEM_USERS = ("root", "daemon", "bin", "sys", "mail", "nobody", "sshd", "munge", "slurm", "mysql")


def configure(host: Host, settings: Settings) -> None:
    """Write /etc of a host. No name service but files: a foreign name fails at once, as it should."""
    user, uid = host.node.account
    scratch = f"/scratch/{user}" if host.node.site else ""
    host.put("/etc/hostname", host.node.name + "\n")
    host.put("/etc/hosts", hosts_file())
    host.put(
        "/etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\n"
    )
    host.put("/etc/resolv.conf", "")
    lines = Path("/etc/passwd").read_text().splitlines()
    base = [line for line in lines if line.split(":")[0] in _SYSTEM_USERS]
    host.put("/etc/passwd", "\n".join([*base, f"{user}:x:{uid}:{uid}:{user}:/home/{user}:/bin/bash", ""]))
    host.put("/etc/group", Path("/etc/group").read_text() + f"{user}:x:{uid}:\n")
    names = [line.split(":")[0] for line in base]
    host.put("/etc/shadow", "".join(f"{name}:*:19000:0:99999:7:::\n" for name in [*names, user]), 0o640)
    host.put("/etc/profile", profile(host, settings, scratch))
    host.put("/etc/environment", f"SCRATCH={scratch}\n" if scratch else "")
    for path, mode in ((f"/home/{user}", 0o700), (f"/home/{user}/.ssh", 0o700), (scratch, 0o755)):
        if path:
            _own_folder(host, path, mode, uid)


def _own_folder(host: Host, path: str, mode: int, uid: int) -> None:
    place = Path(f"/proc/{host.pid}/root{path}")
    place.mkdir(parents=True, exist_ok=True)
    place.chmod(mode)
    os.chown(place, uid, uid)


def hosts_file() -> str:
    """Every host under its name here and the names that the world knows. Pure."""
    lines = ["127.0.0.1 localhost"]
    lines += [f"{node.address} {' '.join((node.name, *node.names))}" for node in NODES]
    return "\n".join(lines) + "\n"


def profile(host: Host, settings: Settings, scratch: str) -> str:
    """/etc/profile: on sites the scratch folder, on ops the suite's commands. Pure."""
    lines = ["export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"]
    if scratch:
        lines.append(f"export SCRATCH={scratch}")
    if host.node.role == "ops" and settings.checkout:
        lines.append(f"export PATH={Path(settings.python).parent}:$PATH")
        lines.append(f"export PYTHONPATH={settings.checkout}/src ML_SUITE_HOME=$HOME/ml-suite")
    return "\n".join(lines) + "\n"
