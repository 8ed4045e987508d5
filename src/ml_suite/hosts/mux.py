"""One open SSH connection per endpoint, held by an ssh of its own that outlives every command.

OpenSSH does the work, with a configuration that we write: our settings first, then the user's ``~/.ssh/config``,
so that names, keys and jump hosts of the user hold. Commands go through the open connection and never make one;
`open_master` is the only place that does. Standard library only: this is imported for every job that ecFlow submits.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import CredentialNeeded, HostError, HostUnreachable
from ml_suite.hosts import askpass, certificate, limits, reach, sshconfig
from ml_suite.hosts.jobfile import alive, start_time
from ml_suite.hosts.reach import Reach

NOT_SENT = "ml-suite: no open connection"
"""What a command says instead of connecting by itself."""

UNATTENDED = 45.0
ATTENDED = 150.0
"""Seconds for opening a connection without and with a person."""

# OpenSSH binds a temporary name that is 17 bytes longer; the address of a socket holds 108 with its end
_LONGEST_SOCKET = 90


@dataclass(frozen=True)
class Master:
    """The ssh that holds a connection."""

    pid: int
    started: int
    """Clock ticks since boot, so that another process with the same pid is never taken for it."""
    opened: float
    """Seconds since 1970."""


def socket_path(way: Reach) -> Path:
    """Where the connection is reached: short enough for a socket, of this machine only, in a private folder.

    Raises
    ------
    HostError
        If the fallback in /tmp belongs to somebody else.
    """
    # a home folder that several machines share holds a socket for each of them
    what = f"{reach.folder()} {socket.gethostname()} {way.name}"
    name = hashlib.sha256(what.encode()).hexdigest()[:12]
    path = reach.folder() / "mux" / name
    return path if len(os.fsencode(path)) <= _LONGEST_SOCKET else _private() / name


def _private() -> Path:
    folder = Path(f"/tmp/ml-suite-{os.getuid()}")
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise HostError(
            f"{folder} is not a private folder of yours", f"Remove it, or run: chmod 700 {folder}"
        )
    return folder


def command(way: Reach) -> list[str]:
    """Argument list of an ssh that uses the open connection or fails; append what to run.

    Also for ``rsync -e`` and for streams: take a `limits.slot` around it, and mind that it has no timeout.
    """
    return [
        *("ssh", "-F", "none", "-S", str(socket_path(way)).replace("%", "%%"), "-T", "-a", "-x"),
        *("-o", "ControlMaster=no", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "EscapeChar=none"),
        # without this, a command that finds no open connection would make one of its own
        *("-o", f"ProxyCommand=sh -c 'echo {NOT_SENT} >&2; exit 1'"),
        way.host,
    ]


def listening(way: Reach) -> bool:
    """Some ssh holds the connection; whether it still leads anywhere only a command can tell."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(1)
        try:
            s.connect(str(socket_path(way)))
        except OSError:
            return False
    return True


def open_master(way: Reach, ask: askpass.Ask | None = None) -> None:
    """Open the connection unless it is open.

    Parameters
    ----------
    ask
        Answers the questions of ssh; None: nobody is there, so codes and unknown host keys are out of question.

    Raises
    ------
    CredentialNeeded
        If a person has to log in or renew something.
    HostUnreachable
        If the host does not answer, or did not lately and the pause is not over.
    HostError
        If its key is unknown or has changed.
    """
    if listening(way):
        return
    patience = ATTENDED if ask else UNATTENDED
    with limits.exclusive(way.file("opening"), patience + 10):
        if listening(way):
            return
        if ask is None:
            refuse_unattended(way)
        _keep_distance(way, attended=ask is not None)
        _open(way, ask, patience)


def refuse_unattended(way: Reach) -> None:
    """Spare the host an attempt that cannot succeed.

    Raises
    ------
    CredentialNeeded
        If it wants a code, or a certificate that has ended.
    """
    if way.auth == "totp":
        raise CredentialNeeded(f"{way.host} wants a one-time code", login_hint(way))
    if way.auth != "certificate":
        return
    found = sshconfig.certificate_of(way)
    if found is None or not found.valid(datetime.now(UTC)):
        what = (
            "has no certificate"
            if found is None
            else f"the certificate in {found.place} ended {_when(found)}"
        )
        raise CredentialNeeded(f"{way.host}: {what}", renewal_hint(way))


def login_hint(way: Reach) -> str:
    """The one command to type."""
    return f"Run: ml-suite hosts login {way.host}"


def renewal_hint(way: Reach) -> str:
    """How to renew a certificate."""
    return f"Run: {way.renew}" if way.renew else "Renew the certificate as the site documents it."


def _when(found: certificate.Certificate) -> str:
    return f"{found.end.astimezone():%Y-%m-%d %H:%M}" if found.end else "never"


def _keep_distance(way: Reach, attended: bool) -> None:
    past = limits.read(way.file("attempts.json"))
    # a person who logs in has mended the cause; what the site bears in connections holds for both
    if not attended and (left := past.pause(time.time())):
        kind = {"CredentialNeeded": CredentialNeeded, "HostError": HostError}.get(past.kind, HostUnreachable)
        hint = past.hint or f"Run: ml-suite hosts check {way.host}"
        raise kind(f"{past.message} (next attempt in {left:.0f} s)", hint)
    left = past.spacing(time.time(), way.wait)
    if left > max(way.wait, 15.0):
        raise HostUnreachable(
            f"{way.host}: {limits.BURST} connections in {limits.WINDOW:.0f} s, no more for {left:.0f} s",
            "The site may close its door to what connects too often; wait.",
        )
    time.sleep(left)


def _open(way: Reach, ask: askpass.Ask | None, patience: float) -> None:
    record, log = way.file("attempts.json"), way.file("log")
    # before the attempt is counted: the number of failures chooses the machine
    words = _words(way, attended=ask is not None)
    begun = limits.read(record).begun(time.time(), way.wait)
    limits.keep(record, begun)
    path = socket_path(way)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.unlink(missing_ok=True)
    ended = _start(way, words, ask, log, patience)
    if ended and listening(way):
        limits.keep(record, begun.succeeded())
        _remember(way)
        return
    path.unlink(missing_ok=True)
    error = explain(way, log.read_text(errors="replace") if ended else "it did not answer in time")
    kind = type(error).__name__
    limits.keep(record, begun.failed(time.time(), way.wait, kind, error.message, error.hint))
    raise error


def _words(way: Reach, attended: bool) -> list[str]:
    return [
        *(
            "ssh",
            "-F",
            str(sshconfig.write(way)),
            "-S",
            str(socket_path(way)).replace("%", "%%"),
            "-M",
            "-N",
            "-f",
        ),
        *("-o", f"BatchMode={'no' if attended else 'yes'}"),
        *("-o", f"StrictHostKeyChecking={'ask' if attended else 'yes'}"),
        sshconfig.destination(way),
    ]


def _start(way: Reach, words: list[str], ask: askpass.Ask | None, log: Path, patience: float) -> bool:
    """Start ssh; it goes to the background once it is in. False if it took too long."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as output, askpass.questions(socket_path(way).parent) as questions:
        extra = questions.environment if ask else {}
        ssh = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**sshconfig.environment(), **extra},
            start_new_session=True,
        )
        try:
            if ask:
                questions.answer(ssh, ask, patience)
            else:
                ssh.wait(patience)
        except (TimeoutError, subprocess.TimeoutExpired):
            return False
        finally:
            if ssh.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(ssh.pid, signal.SIGKILL)
                ssh.wait()
    return True


def explain(way: Reach, log: str) -> HostError | CredentialNeeded:
    """Turn what ssh wrote into what a person can do about it.

    >>> type(explain(Reach("big"), "u@big: Permission denied (publickey)."))
    <class 'ml_suite.errors.CredentialNeeded'>
    """
    last = next(
        (line.strip() for line in reversed(log.splitlines()) if line.strip()),
        "it closed the connection without a word",
    )
    if "HOST IDENTIFICATION HAS CHANGED" in log:
        place = re.search(r"Offending .* key in (\S+):(\d+)", log)
        where = f"{place[1]}, line {place[2]}" if place else "known_hosts"
        return HostError(
            f"the host key of {way.host} has changed; nothing was sent",
            f"Compare it with what the site publishes; if it is right, delete {where}"
            f" and run: ml-suite hosts login {way.host}",
        )
    if "Host key verification failed" in log:
        hint = f"{login_hint(way)} shows its fingerprint: compare it with what the site publishes."
        return HostError(f"the host key of {way.host} is not known; nothing was sent", hint)
    if re.search(r"Permission denied|Too many authentication failures|authentication methods available", log):
        hint = renewal_hint(way) if way.auth == "certificate" else login_hint(way)
        return CredentialNeeded(f"{way.host} refused the login: {last}", hint)
    return HostUnreachable(f"{way.host} cannot be reached: {last}", f"Run: ml-suite hosts check {way.host}")


def _remember(way: Reach) -> None:
    answer = _control(way, "check")
    pid = re.search(r"pid=(\d+)", answer)
    if pid and (started := start_time(int(pid[1]))):
        made = Master(int(pid[1]), started, time.time())
        atomic.write(way.file("master.json"), json.dumps(asdict(made)), mode=0o600)


def master(way: Reach) -> Master | None:
    """The ssh that holds the connection, if it is alive."""
    try:
        found = Master(**json.loads(way.file("master.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if alive(found.pid, found.started) else None


def close_master(way: Reach) -> None:
    """End the connection, also one that leads nowhere any more."""
    found = master(way)
    _control(way, "exit")
    if found and alive(found.pid, found.started):
        with contextlib.suppress(ProcessLookupError):
            os.kill(found.pid, signal.SIGKILL)
    way.file("master.json").unlink(missing_ok=True)


def _control(way: Reach, word: str) -> str:
    ssh, *options, host = command(way)
    try:
        done = subprocess.run(
            [ssh, "-O", word, *options, host],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=5,
            env=sshconfig.environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout + done.stderr
