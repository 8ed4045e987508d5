"""A real sshd on loopback for the user of the tests, with keys, certificates of an own CA, and one-time codes."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import signal
import subprocess
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from ml_suite.hosts import mux, reach
from ml_suite.hosts.reach import Reach

SSHD = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "/usr/sbin/sshd"
NAME = "bighost"

_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
PidFile none
StrictModes no
LogLevel VERBOSE
PermitRootLogin yes
PasswordAuthentication no
MaxStartups 100
Subsystem sftp internal-sftp
AuthorizedKeysFile {folder}/authorized_keys
"""


@dataclass
class Sshd:
    """One server; `way` is how ml-suite reaches it."""

    folder: Path
    port: int
    way: Reach
    options: list[str] = field(default_factory=list)
    private: list[str] = field(default_factory=list)
    """Shell commands in its own mount namespace, before it starts; root only."""
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0

    def start(self) -> None:
        (self.folder / "sshd_config").write_text(
            _CONFIG.format(port=self.port, folder=self.folder) + "\n".join(self.options) + "\n"
        )
        self.starts += 1
        words = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        if os.getuid() == 0:
            # as root it wants a folder in /run, which is the machine's
            lines = [
                "mount -t tmpfs none /run",
                "mkdir -m 755 /run/sshd",
                *self.private,
                f"exec {' '.join(words)}",
            ]
            words = ["unshare", "-m", "sh", "-ec", "\n".join(lines)]
        with (self.folder / "sshd.log").open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        # not by connecting: connections are counted
        wait_for(lambda: self._log.count("Server listening") == self.starts, "sshd")

    def stop(self) -> None:
        """End it and the sessions that it started."""
        if self.process:
            for pid in [*self.sessions(), self.process.pid]:
                signal_process(pid, signal.SIGKILL)
            self.process.wait()

    @property
    def _log(self) -> str:
        return (self.folder / "sshd.log").read_text()

    @property
    def connections(self) -> int:
        """TCP connections so far."""
        return len(re.findall(r"^Connection from ", self._log, re.M))

    @property
    def sessions_opened(self) -> int:
        """Commands so far."""
        return len(re.findall(r"^Starting session: ", self._log, re.M))

    def sessions(self) -> list[int]:
        """Processes of sshd that serve connections: its descendants of the name sshd."""
        assert self.process
        return [pid for pid in descendants(self.process.pid) if command_name(pid) == "sshd"]

    def keys(self, text: str) -> None:
        (self.folder / "authorized_keys").write_text(text)

    def sign(self, start: str, end: str) -> None:
        """Give the user's key a certificate of the CA."""
        key = self.folder / "id.pub"
        keygen(
            "-q", "-s", self.folder / "ca", "-I", "me", "-n", getpass.getuser(), "-V", f"{start}:{end}", key
        )

    def want_certificates(self) -> None:
        """Take only certificates of the CA; starts again."""
        self.stop()
        self.options = ["AuthorizedKeysFile none", f"TrustedUserCAKeys {self.folder}/ca.pub"]
        self.way = replace(self.way, auth="certificate", lifetime=12 * 3600, renew="step ssh login EMAIL")
        self.start()

    def want_codes(self) -> None:
        """Take a key and then a code of `code`, each once; starts again. Root only: PAM is the machine's."""
        if os.getuid() != 0:
            pytest.skip("an sshd with PAM needs root; the twin has one too")
        self.stop()
        pam = self.folder / "pam.d"
        pam.mkdir()
        verify = self.folder / "verify"
        verify.write_text(
            f'#!/bin/sh\ncode=$(tr -d "\\000")\ngrep -qx "$code" {self.folder}/codes || exit 1\n'
            f'grep -vx "$code" {self.folder}/codes >{self.folder}/left\nmv {self.folder}/left {self.folder}/codes\n'
        )
        verify.chmod(0o700)
        (pam / "sshd").write_text(
            f"auth required pam_exec.so quiet expose_authtok {verify}\nauth required pam_permit.so\n"
            "account required pam_permit.so\nsession required pam_permit.so\n"
        )
        (pam / "other").write_text("auth required pam_deny.so\n")
        self.private = [f"mount --bind {pam} /etc/pam.d"]
        self.options = [
            "UsePAM yes",
            "KbdInteractiveAuthentication yes",
            "AuthenticationMethods publickey,keyboard-interactive:pam",
        ]
        self.way = replace(self.way, auth="totp", lifetime=8 * 3600)
        self.start()

    def codes(self, *codes: str) -> None:
        """What the person's telephone shows, each good for one login."""
        (self.folder / "codes").write_text("".join(f"{code}\n" for code in codes))

    def trust(self) -> None:
        """The user knows the server's host key."""
        key = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {key}")


def keygen(*words: object) -> None:
    subprocess.run(
        ["ssh-keygen", *map(str, words)], check=True, capture_output=True, stdin=subprocess.DEVNULL
    )


def descendants(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [found for child in map(int, children) for found in (child, *descendants(child))]


def command_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def signal_process(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def wait_for(condition: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} in {seconds} s"
        time.sleep(0.02)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the user with nothing in it, and one of ml-suite."""
    (tmp_path / "me" / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("ML_SUITE_HOME", str(tmp_path / "ml"))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    return tmp_path / "me"


@pytest.fixture
def sshd(tmp_path: Path, home: Path, free_port: int) -> Iterator[Sshd]:
    """A server that takes the user's key, started; the user's ssh configuration knows it as NAME."""
    if not Path(SSHD).exists():
        pytest.fail("sshd is missing; run: apt-get install openssh-server")
    folder = tmp_path / "sshd"
    folder.mkdir()
    for key in ("host_key", "id", "ca"):
        keygen("-q", "-t", "ed25519", "-N", "", "-C", key, "-f", folder / key)
    (home / ".ssh" / "config").write_text(
        textwrap.dedent(f"""\
            Host {NAME}
              HostName 127.0.0.1
              Port {free_port}
              IdentityFile {folder}/id
              IdentitiesOnly yes
              UserKnownHostsFile {folder}/known_hosts
              LocalForward 127.0.0.1:1 127.0.0.1:1
            """)
    )
    server = Sshd(folder, free_port, Reach(NAME, address="nowhere.invalid", auth="key", wait=0.3))
    server.keys((folder / "id.pub").read_text())
    server.trust()
    server.start()
    yield server
    for way in (server.way, replace(server.way, endpoint=reach.TRANSFER)):
        mux.close_master(way)
    server.stop()
