"""Bring files of a host to this machine with rsync over the open connection. Standard library only.

Nothing at the host is changed. A file appears here whole, by rename, with the time that it has there; what is here
already is not sent again, and what was interrupted goes on with the next call.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ml_suite.errors import HostBusy, HostError, HostUnreachable, MlSuiteError
from ml_suite.hosts import channel, limits, mux, sshconfig
from ml_suite.hosts.reach import Reach

TIMEOUT = 300.0
_SILENCE = 60
"""Seconds without a byte after which the connection is taken for dead."""
_ATTEMPTS = 5
_OLD = 86400.0
"""Seconds after which a temporary file belongs to nobody."""

LARGEST = 256 << 20
"""Bytes of a file that `tree` brings; larger ones stay where they are."""

PARTIAL = ".rsync-partial"
TEMPORARY = ".incoming"

_WORKED = (0, 24)
"""Exit codes: done; done, but for files that vanished meanwhile."""


@dataclass(frozen=True)
class Fetched:
    """What came."""

    names: tuple[str, ...] = ()
    """Files that were new or had changed, relative to the folder at the host."""
    bytes: int = 0
    """Their sizes."""


class NoRsync(HostError):
    """The endpoint has no rsync."""


def tree(
    way: Reach, root: PurePath, top: str, to: Path, rules: Sequence[str], timeout: float = TIMEOUT
) -> Fetched:
    """Bring what RULES choose of the folder ROOT/TOP to TO/TOP.

    Parameters
    ----------
    root
        Absolute folder at the host.
    rules
        Filter rules of rsync, in order, anchored at ROOT: ``+ /TOP/a/``.

    Raises
    ------
    CredentialNeeded
        If a person has to log in first.
    HostUnreachable
        If there is no connection, or it was lost; call again.
    HostBusy
        If as many commands as the host allows are running.
    HostError
        If rsync is missing, or a file cannot be read there or written here.
    """
    options = ["-rRz", f"--max-size={LARGEST}", *(f"--filter={rule}" for rule in rules)]
    return _fetch(way, options, f"{root}/./{top}", to, None, timeout)


def files(way: Reach, root: PurePath, names: Iterable[str], to: Path, timeout: float = TIMEOUT) -> Fetched:
    """Bring files by their names below ROOT to TO; those that are not there are passed over.

    What is interrupted goes on where it was. Raises like `tree`.
    """
    options = ["--files-from=-", "--from0", "--no-implied-dirs", f"--partial-dir={PARTIAL}"]
    given = b"".join(os.fsencode(name) + b"\0" for name in names)
    return _fetch(way, options, f"{root}/", to, given, timeout) if given else Fetched()


def _fetch(
    way: Reach, options: list[str], source: str, to: Path, given: bytes | None, timeout: float
) -> Fetched:
    incoming = to / TEMPORARY
    incoming.mkdir(parents=True, exist_ok=True)
    _tidy(incoming)
    words = [
        *("rsync", "--times", "--secluded-args", f"--timeout={_SILENCE}", "--ignore-missing-args"),
        # a file of the same size may be written again within a second
        *("--modify-window=-1", "--no-human-readable", "--out-format=%i %l %n", f"--temp-dir={incoming}"),
        *options,
        *([] if way.here else ["-e", _shell(way)]),
        *("--", source if way.here else f"{way.host}:{source}", f"{to}/"),
    ]
    with limits.slot(way.file("slot"), channel.TIMEOUT, way.sessions) as place:
        for attempt in range(_ATTEMPTS):
            if not way.here and not mux.listening(way):
                mux.open_master(way)
            code, out, err = _run(words, given, timeout, place)
            if code in _WORKED or _nothing_there(code, err, source):
                return _fetched(out)
            if mux.NOT_SENT not in err:
                break
            time.sleep(random.uniform(0.1, 0.4) * (attempt + 1))
    # without the place: what looks after a silent connection needs one itself
    if code in (30, 124, 137):
        _end_if_dead(way)
    raise explain(way, code, err)


def _shell(way: Reach) -> str:
    """The open connection as rsync wants it: one text, which it takes apart at blanks outside of quotes."""
    *words, _ = mux.command(way)
    return " ".join(
        '"' + word.replace('"', '""') + '"' if re.search(r"[\s'\"]", word) else word for word in words
    )


def _run(words: list[str], given: bytes | None, timeout: float, place: int) -> tuple[int, str, str]:
    # `timeout` keeps the place and ends rsync when we are killed
    child = subprocess.Popen(
        ["timeout", "--kill-after=5", f"{timeout:.0f}", *words],
        stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=sshconfig.environment(),
        pass_fds=(place,),
        start_new_session=True,
    )
    try:
        out, err = child.communicate(given, timeout + 10)
    except subprocess.TimeoutExpired:
        # its pipes may still be held by the ssh of the connection
        return 124, "", ""
    finally:
        channel.end(child)
    return child.returncode, out.decode(errors="replace"), err.decode(errors="replace")


def _fetched(out: str) -> Fetched:
    rows = [line.split(" ", 2) for line in out.splitlines() if line.startswith(">f")]
    return Fetched(tuple(row[2] for row in rows), sum(int(row[1]) for row in rows))


def _nothing_there(code: int, err: str, source: str) -> bool:
    """Nothing has run at the host yet, so there is no work folder."""
    root = source.partition("/./")[0].rstrip("/")
    return code == 23 and f'change_dir "{root}" failed: No such file' in err


def explain(way: Reach, code: int, err: str) -> MlSuiteError:
    """Turn rsync's exit code and words into what a person can do about it.

    >>> type(explain(Reach("big"), 127, "sh: rsync: not found")).__name__
    'NoRsync'
    >>> type(explain(Reach("big"), 30, "rsync error: timeout in data send/receive")).__name__
    'HostUnreachable'
    """
    told = [line.strip() for line in err.splitlines() if line.strip() and "rsync error:" not in line]
    said = told[0] if told else err.strip()
    check = f"Run: ml-suite hosts check {way.host}"
    if re.search(r"rsync: (command )?not found|rsync: No such file|only copies files", err) or code == 127:
        return NoRsync(f"{way.name}: there is no rsync: {said}", f"Install it there. {check}")
    if mux.NOT_SENT in err:
        if "Session open refused" in err:
            return HostBusy(f"{way.host} takes no more sessions on this connection", "Try again later.")
        return HostUnreachable(f"{way.host}: the connection is not used: {said}", check)
    if code in (124, 137):
        return HostUnreachable(
            f"{way.host} did not send everything in time", f"It goes on next time. {check}"
        )
    if code in (10, 12, 20, 30, 35, 255):
        return HostUnreachable(f"the connection to {way.host} was lost: {said or 'no word'}", check)
    if "is your shell clean" in err:
        return HostError(
            f"{way.host} writes something before rsync can speak", "See what its login files print."
        )
    return HostError(
        f"files of {way.host} cannot be fetched: {said or f'rsync ended with {code}'}",
        "Look at the file, the quota and the free space that it names.",
    )


def _end_if_dead(way: Reach) -> None:
    """After a silence: see whether anything comes back, which ends a connection that leads nowhere."""
    if way.here or not way.shell:
        return
    with contextlib.suppress(MlSuiteError):
        channel.run(way, ["true"], timeout=channel.PROBE, connect=False)


def _tidy(folder: Path) -> None:
    """Remove what an rsync that was killed left half received."""
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - path.stat(follow_symlinks=False).st_mtime > _OLD:
                path.unlink()
