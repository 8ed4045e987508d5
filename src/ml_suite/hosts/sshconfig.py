"""The ssh configuration of an endpoint: our settings, then the user's, then the host file's facts.

OpenSSH takes the first value it meets: what keeps a connection safe and unattended comes before the user's own
configuration, and what the user says of names, keys and jump hosts comes before the host file. Standard library only.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ml_suite import atomic
from ml_suite.hosts import certificate, limits, reach
from ml_suite.hosts.reach import Reach

_SETTINGS = """\
# Written by ml-suite for {name}; changes are overwritten.
LogLevel ERROR
ServerAliveInterval 15
ServerAliveCountMax 3
ConnectTimeout 15
ConnectionAttempts 1
NumberOfPasswordPrompts 1
ControlPersist no
ClearAllForwardings yes
ForwardAgent no
ForwardX11 no
PermitLocalCommand no
RemoteCommand none
RequestTTY no
EscapeChar none
UpdateHostKeys no
"""


def environment() -> dict[str, str]:
    """Variables of every ssh: nobody is asked, and the user's shell has no say in the ProxyCommand."""
    hidden = ("SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "DISPLAY")
    return {**{k: v for k, v in os.environ.items() if k not in hidden}, "SHELL": "/bin/sh", "LC_ALL": "C"}


def certificate_of(way: Reach) -> certificate.Certificate | None:
    """The certificate with which OpenSSH would log in, the one that lasts longest."""
    answer = _ssh_g(["-F", str(write(way)), destination(way)])
    words = [line.split(" ", 1) for line in answer.splitlines() if " " in line]
    named = {
        key: [value for name, value in words if name == key] for key in ("certificatefile", "identityfile")
    }
    files = named["certificatefile"] + [f"{path}-cert.pub" for path in named["identityfile"]]
    agent = next((value for key, value in words if key == "identityagent"), "SSH_AUTH_SOCK")
    agent = os.environ.get("SSH_AUTH_SOCK", "none") if agent == "SSH_AUTH_SOCK" else agent
    return certificate.best([Path(path).expanduser() for path in files], None if agent == "none" else agent)


def write(way: Reach) -> Path:
    """Write the ssh configuration of an endpoint, 0600."""
    path = way.file("conf")
    text = _SETTINGS.format(name=way.name)
    # a file that anybody can write, such as /dev/null, cannot be included
    text += f'Include "{own}"\n' if (own := _user_config()).is_file() else ""
    text += f"\nHost {_alias(way)} {_pinned(way)}\n  HostName {_pinned(way)}\n"
    text += f"  User {way.user}\n" if way.user else ""
    text += "\nMatch all\nInclude /etc/ssh/ssh_config\n"
    if not path.exists() or path.read_text() != text:
        atomic.write(path, text, mode=0o600)
    return path


def _pinned(way: Reach) -> str:
    """One machine behind the address: another one after a failure, the first again after a success."""
    if not way.nodes:
        return way.address or way.host
    return way.nodes[limits.read(way.file("attempts.json")).failures % len(way.nodes)]


def destination(way: Reach) -> str:
    """What to call the host: its name if the user's configuration knows it, else its address."""
    name, unknown = _alias(way), "ml-suite-unknown"
    asked = [_ssh_g(["-F", str(_user_config()), word]).replace(word, "") for word in (name, unknown)]
    return name if asked[0] != asked[1] else _pinned(way)


def _alias(way: Reach) -> str:
    """Name under which the user's configuration may know the endpoint."""
    return way.host if way.endpoint == reach.CONTROL else f"{way.host}-{way.endpoint}"


def _user_config() -> Path:
    path = Path.home() / ".ssh" / "config"
    return path if path.exists() else Path(os.devnull)


def _ssh_g(words: list[str]) -> str:
    done = subprocess.run(
        ["ssh", "-G", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=10,
        env=environment(),
        check=False,
    )
    return done.stdout
