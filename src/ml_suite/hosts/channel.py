"""Run a command at a host, put and get small files: one round trip each over the open connection.

What can become of a command:

* it ran: `Done` with its exit code, whatever that is;
* `CredentialNeeded`, `HostUnreachable`, `HostBusy`: it was not sent, so it can be sent again;
* `OutcomeUnknown`: it was sent and its end is not known. Ask the host what became of it before sending it again.

Standard library only: this is imported for every job that ecFlow submits.
"""

from __future__ import annotations

import base64
import contextlib
import os
import random
import secrets
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import CredentialNeeded, HostBusy, HostError, HostUnreachable, OutcomeUnknown
from ml_suite.hosts import limits, mux, sshconfig
from ml_suite.hosts.reach import Reach

TIMEOUT = 60.0
PROBE = 10.0
"""Seconds in which a working connection answers."""


@dataclass(frozen=True)
class Done:
    """A command that ran to its end."""

    code: int
    out: str
    err: str
    noise: str = ""
    """What the login shell wrote before the command; it is not in OUT."""


@dataclass(frozen=True)
class _Raw:
    """What came back, and how ssh ended."""

    out: bytes
    err: bytes
    timed_out: bool = False


def run(
    way: Reach,
    what: Sequence[str] | str,
    stdin: bytes | str | None = None,
    timeout: float = TIMEOUT,
    connect: bool = True,
) -> Done:
    """Run a command at the host and wait for it.

    Parameters
    ----------
    what
        Argument list, which reaches the program as it is, or the text of a POSIX shell script.
    stdin
        Input; None: empty.
    timeout
        Seconds for the command, after the connection is open and a place is free.
    connect
        Open the connection when there is none and that needs no person.

    Raises
    ------
    CredentialNeeded
        Not sent: a person has to log in first.
    HostUnreachable
        Not sent: there is no connection.
    HostBusy
        Not sent: as many commands as the host allows are running.
    OutcomeUnknown
        Sent, and its end is not known.
    HostError
        If the endpoint runs no commands.
    """
    code, out, err, noise = _exchange(way, what, stdin, timeout, connect)
    return Done(
        code, out.decode(errors="replace"), err.decode(errors="replace"), noise.decode(errors="replace")
    )


_PUT = (
    't="$1.$$.tmp"; umask 077; { cat >"$t" && [ "$(wc -c <"$t")" -eq "$2" ] && chmod "$3" "$t" && mv -f "$t" "$1"; }'
    ' || { c=$?; rm -f "$t"; exit "$c"; }'
)


def put(
    way: Reach, content: bytes | str | Path, path: str, mode: int = 0o644, timeout: float = TIMEOUT
) -> None:
    """Write a small file at the host, whole or not at all.

    Parameters
    ----------
    content
        Bytes, text, or a file of this machine.

    Raises
    ------
    HostError
        If it cannot be written there; else as `run`. After `OutcomeUnknown` it is safe to put it again.
    """
    data = content.read_bytes() if isinstance(content, Path) else content
    data = data.encode() if isinstance(data, str) else data
    # a connection that breaks looks like the end of the file at the host, so the size travels too
    words = ["sh", "-c", _PUT, "put", path, str(len(data)), f"{mode:o}"]
    done = run(way, words, stdin=data, timeout=timeout)
    if done.code:
        raise HostError(
            f"{way.host}: {path} cannot be written: {_last(done.err)}", "Look at its folder and quota."
        )


def get(way: Reach, path: str, to: Path | None = None, timeout: float = TIMEOUT) -> bytes:
    """Read a small file of the host.

    Parameters
    ----------
    to
        File of this machine that becomes a copy, whole or not at all.

    Raises
    ------
    HostError
        If it cannot be read there; else as `run`.
    """
    code, out, err, _ = _exchange(way, ["cat", "--", path], None, timeout, True)
    if code:
        message = _last(err.decode(errors="replace"))
        raise HostError(f"{way.host}: {path} cannot be read: {message}", "Does it exist, and is it yours?")
    if to:
        atomic.write(to, out, mode=0o600)
    return out


def remote_text(what: Sequence[str] | str, mark: str) -> str:
    """One line for any login shell: MARK, the command, MARK with its exit code.

    >>> remote_text(["echo", "a"], "m")
    "sh -c 'echo m; echo a; c=$?; echo >&2; echo m $c >&2; exit $c'"
    """
    text = f"sh -c {shlex.quote(what)}" if isinstance(what, str) else shlex.join(what)
    if "\n" in text:
        # csh takes no line ends between quotes
        coded = base64.b64encode((what if isinstance(what, str) else text).encode()).decode()
        text = f'sh -c "$(echo {coded} | base64 -d)"'
    return "sh -c " + shlex.quote(f"echo {mark}; {text}; c=$?; echo >&2; echo {mark} $c >&2; exit $c")


def _exchange(
    way: Reach, what: Sequence[str] | str, stdin: bytes | str | None, timeout: float, connect: bool
) -> tuple[int, bytes, bytes, bytes]:
    if not way.shell:
        raise HostError(f"{way.name} runs no commands", "Use the control endpoint.")
    data = stdin.encode() if isinstance(stdin, str) else stdin
    mark = "ml-suite-" + secrets.token_hex(6)
    words = ["sh", "-c"] if way.here else mux.command(way)
    words.append(remote_text(what, mark))
    deadline = time.monotonic() + timeout
    with limits.slot(way.file("slot"), max(timeout, TIMEOUT), way.sessions) as place:
        while True:
            if not way.here:
                _ensure(way, connect)
            raw = _spawn(words, data, timeout, place)
            if raw.timed_out:
                _end_if_dead(way)
                raise OutcomeUnknown(f"{way.host} did not answer in {timeout:.0f} s; {_MAYBE}", _check(way))
            if (found := _parsed(raw, mark.encode())) is not None:
                return found
            _raise_unless_repeatable(way, raw, deadline, connect)


_MAYBE = "the command may have run or not"


def _check(way: Reach) -> str:
    return f"Run: ml-suite hosts check {way.host}"


def _ensure(way: Reach, connect: bool) -> None:
    if mux.listening(way):
        return
    if not connect:
        raise HostUnreachable(f"{way.host}: no connection is open", mux.login_hint(way))
    mux.open_master(way)


def _raise_unless_repeatable(way: Reach, raw: _Raw, deadline: float, connect: bool) -> None:
    """Return after a little while if the command was not sent and can be; else say what became of it."""
    err = raw.err.decode(errors="replace")
    # "read from master failed" may come after the request was passed on
    sent = mux.NOT_SENT not in err or "read from master failed" in err
    if way.here or sent:
        said = _last(err.replace(mux.NOT_SENT, ""))
        raise OutcomeUnknown(
            f"the connection to {way.host} was lost: {said or 'no word'}; {_MAYBE}", _check(way)
        )
    if time.monotonic() > deadline:
        if "Session open refused" in err:
            raise HostBusy(f"{way.host} takes no more sessions on this connection", "Try again later.")
        raise HostUnreachable(f"{way.host}: the connection is not used: {_last(err)}", _check(way))
    time.sleep(random.uniform(0.1, 0.4))


def _end_if_dead(way: Reach) -> None:
    """After a silence: when not even `true` comes back, end the connection if that costs no person a login."""
    if way.here:
        return
    try:
        mux.refuse_unattended(way)
    except CredentialNeeded:
        return
    mark = "ml-suite-" + secrets.token_hex(6)
    raw = _spawn([*mux.command(way), remote_text(["true"], mark)], None, PROBE, None)
    if raw.timed_out:
        with contextlib.suppress(HostError):
            mux.close_master(way)


def _spawn(words: list[str], data: bytes | None, timeout: float, place: int | None) -> _Raw:
    # `timeout` keeps the place and ends ssh when we are killed: ssh itself closes descriptors it does not know
    guard = ["timeout", "--kill-after=5", f"{timeout + 5:.0f}", *words]
    child = subprocess.Popen(
        guard,
        stdin=subprocess.DEVNULL if data is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=sshconfig.environment(),
        pass_fds=() if place is None else (place,),
        start_new_session=True,
    )
    try:
        out, err = child.communicate(data, timeout)
    except subprocess.TimeoutExpired:
        return _Raw(b"", b"", timed_out=True)
    finally:
        end(child)
    return _Raw(out, err)


def end(child: subprocess.Popen[bytes]) -> None:
    """End what uses the open connection and still runs, with its process group; nothing if it has ended."""
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    # no reading to the end: the ssh that holds the connection has these pipes too
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe:
            with contextlib.suppress(OSError):
                pipe.close()
    child.wait()


def _parsed(raw: _Raw, mark: bytes) -> tuple[int, bytes, bytes, bytes] | None:
    """Exit code, output, messages, noise; None if the command's end did not come back."""
    err, found, end = raw.err.rpartition(b"\n" + mark + b" ")
    code, _, after = end.partition(b"\n")
    if not found or not code.isdigit():
        return None
    noise, found, out = raw.out.partition(mark + b"\n")
    return (int(code), out, err + after, noise) if found else None


def _last(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
