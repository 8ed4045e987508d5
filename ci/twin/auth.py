"""Ways in: keys, short-lived certificates from an authority, one-time codes. Secrets stay in the twin's folder."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import struct
import subprocess
import time
from pathlib import Path

from ci.twin.plan import OPS, SITES, Node, Site
from ci.twin.state import Folder

from ml_suite import atomic
from ml_suite.errors import ConfigError, CredentialNeeded, MlSuiteError

KEY = "id_ed25519"
AUTHORITY = "authority"
STEP = 30
"""Seconds that a code is shown."""


def make_secrets(folder: Folder, doors: list[Node]) -> None:
    """Make what is missing: the user's key, the authority, a key of each sshd, munge keys, seeds of codes."""
    for name in (KEY, AUTHORITY, *(_host_key_name(node) for node in doors)):
        if not (folder.secrets / name).exists():
            _keygen(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(folder.secrets / name)])
    for site in SITES:
        munge, seed = munge_key(folder, site), _seed(folder, site)
        if not munge.exists():
            atomic.write(munge, os.urandom(128), mode=0o600)
        if not seed.exists():
            text = base64.b32encode(os.urandom(20)).decode().rstrip("=")
            atomic.write(seed, text, mode=0o600)


def host_key(folder: Folder, node: Node) -> Path:
    """Private key of a host's sshd."""
    return folder.secrets / _host_key_name(node)


def _host_key_name(node: Node) -> str:
    return f"host-{node.name}"


def munge_key(folder: Folder, site: Site) -> Path:
    """The key that all hosts of a site share."""
    return folder.secrets / f"munge-{site.name}"


def _seed(folder: Folder, site: Site) -> Path:
    return folder.secrets / f"seed-{site.name}"


def seed(folder: Folder, site: Site) -> str:
    """What the site and the person's telephone share."""
    return _seed(folder, site).read_text()


def code(secret: str, moment: float) -> str:
    """Six digits for a moment (RFC 6238). Pure.

    Parameters
    ----------
    secret
        Base32 without padding.
    moment
        Seconds since 1970.
    """
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(moment // STEP)), hashlib.sha1).digest()
    start = digest[-1] & 15
    number = struct.unpack(">I", digest[start : start + 4])[0] & 0x7FFFFFFF
    return f"{number % 10**6:06d}"


def current_code(folder: Folder, site: Site, ahead: int = 0) -> str:
    """What the telephone shows now, or AHEAD codes later; sites bear with a clock that is one step ahead.

    Raises
    ------
    ConfigError
        If the site asks for no codes.
    """
    if site.auth == "key":
        raise ConfigError(f"{site.name} asks for no one-time code")
    return code(seed(folder, site), time.time() + ahead * STEP)


def certify(folder: Folder, site: Site, validity: str, otp: str | None = None) -> Path:
    """Sign the user's key, as the site's command for it would; returns the certificate in ops' home.

    Parameters
    ----------
    validity
        As ssh-keygen writes it, for example ``-1m:+12h``.
    otp
        A one-time code to check first; None: taken as given.

    Raises
    ------
    ConfigError
        If the site takes no certificates.
    CredentialNeeded
        If the code is wrong.
    """
    if site.auth != "certificate":
        others = ", ".join(s.name for s in SITES if s.auth == "certificate")
        raise ConfigError(f"{site.name} takes no certificates", f"These do: {others}")
    now = time.time()
    if otp is not None and otp not in [code(seed(folder, site), now + k * STEP) for k in (-1, 0)]:
        raise CredentialNeeded("wrong one-time code", f"Type: bash ci/twin.sh totp {site.name}")
    user, uid = OPS.account
    key = folder.home(OPS.group) / user / ".ssh" / f"{site.name}_{KEY}"
    if not key.exists():
        _keygen(["-q", "-t", "ed25519", "-N", "", "-C", f"{user}@{site.name}", "-f", str(key)])
    certificate = key.with_name(key.name + "-cert.pub")
    identity = ["-I", f"{site.user}@sso.{site.name}", "-n", site.user, "-z", str(int(now))]
    authority = str(folder.secrets / AUTHORITY)
    _keygen(["-q", "-s", authority, *identity, "-V", validity, str(key.with_name(key.name + ".pub"))])
    for path in (key, key.with_name(key.name + ".pub"), certificate):
        os.chown(path, uid, uid)
    return certificate


def show(certificate: Path) -> str:
    """What ssh-keygen says of a certificate."""
    return _keygen(["-L", "-f", str(certificate)])


def _keygen(arguments: list[str]) -> str:
    done = subprocess.run(
        ["ssh-keygen", *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise MlSuiteError(f"ssh-keygen: {done.stderr.strip()[-400:]}")
    return done.stdout
