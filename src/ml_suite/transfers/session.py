"""A script at a host that reads a stream: written piece by piece, with an eye on whether it moves."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import subprocess
import threading
import time
from typing import IO

from ml_suite.errors import HostBusy, HostUnreachable, OutcomeUnknown
from ml_suite.hosts import channel, limits, mux, sshconfig
from ml_suite.hosts.reach import Reach

STALLED = 120.0
"""Seconds without a byte taken after which a connection is broken."""
ANSWER = 900.0
"""Seconds for what the host does after the last byte: it reads a portion back and puts it on its disks."""
_LONGEST = 6 * 3600
"""Seconds after which `timeout` ends an ssh whatever happens, also when this process is gone."""
_KEPT = 1 << 20


class Session:
    """One command at a host with a stream as its input; use it as a context manager, or `abandon` it.

    It goes through the open connection like every command and takes one of the host's places.
    """

    def __init__(self, way: Reach, script: str) -> None:
        self.way = way
        self.sent = 0
        """Bytes taken by the connection."""
        self._mark = "ml-suite-" + secrets.token_hex(6)
        self._stack = contextlib.ExitStack()
        place = self._stack.enter_context(limits.slot(way.file("slot"), channel.TIMEOUT, way.sessions))
        words = ["sh", "-c"] if way.here else mux.command(way)
        # as in `channel`: `timeout` keeps the place, because ssh closes descriptors that it does not know
        guard = ["timeout", "--kill-after=5", str(_LONGEST), *words, channel.remote_text(script, self._mark)]
        self._child = subprocess.Popen(
            guard,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=sshconfig.environment(),
            pass_fds=(place,),
            start_new_session=True,
        )
        assert self._child.stdin
        assert self._child.stdout
        assert self._child.stderr
        self._input = self._child.stdin.fileno()
        os.set_blocking(self._input, False)
        self._poll = select.poll()
        self._poll.register(self._input, select.POLLOUT)
        self._said = [_Reader(self._child.stdout), _Reader(self._child.stderr)]

    def write(self, data: bytes | memoryview) -> bool:
        """Send data; False if the host reads no more: its answer says why.

        Raises
        ------
        OutcomeUnknown
            If nothing was taken for `STALLED` seconds.
        """
        left = memoryview(data)
        while left:
            ready = self._poll.poll(STALLED * 1000)
            if not ready:
                raise self._lost(f"took nothing for {STALLED:.0f} s")
            try:
                count = os.write(self._input, left)
            except BlockingIOError:
                continue
            except BrokenPipeError:
                return False
            self.sent += count
            left = left[count:]
        return True

    def close(self) -> None:
        """End the input."""
        assert self._child.stdin
        with contextlib.suppress(OSError):
            self._child.stdin.close()

    def answer(self) -> tuple[int, str, str]:
        """Wait for the end; exit code, output and messages of the script.

        Raises
        ------
        HostUnreachable, HostBusy
            If it was never started.
        OutcomeUnknown
            If the connection was lost, or the host took too long.
        """
        self.close()
        deadline = time.monotonic() + ANSWER
        while self._child.poll() is None:
            if time.monotonic() > deadline:
                raise self._lost(f"gave no answer for {ANSWER:.0f} s")
            time.sleep(0.02)
        out, err = (reader.text() for reader in self._said)
        self._stack.close()
        err, found, end = err.rpartition(f"\n{self._mark} ")
        code, _, after = end.partition("\n")
        _, begun, out = out.partition(f"{self._mark}\n")
        if found and begun and code.isdigit():
            return int(code), out, err + after
        raise self._failed(end)

    def abandon(self) -> None:
        """End it, whatever it does."""
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        self.close()
        self._stack.close()

    def _failed(self, err: str) -> HostUnreachable | HostBusy | OutcomeUnknown:
        last = next((line.strip() for line in reversed(err.splitlines()) if line.strip()), "no word")
        if "Session open refused" in err:
            return HostBusy(f"{self.way.host} takes no more sessions on this connection", "Try again later.")
        if mux.NOT_SENT in err:
            return HostUnreachable(f"{self.way.host}: no connection is open", mux.login_hint(self.way))
        return OutcomeUnknown(f"the connection to {self.way.host} was lost in a transfer: {last}")

    def _lost(self, what: str) -> OutcomeUnknown:
        self.abandon()
        # finds out whether the connection leads anywhere, and ends it if not
        with contextlib.suppress(HostUnreachable, HostBusy, OutcomeUnknown):
            channel.run(self.way, ["true"], timeout=channel.PROBE, connect=False)
        return OutcomeUnknown(f"{self.way.host} {what} in a transfer")


class _Reader:
    """Keeps what a pipe says, up to a limit."""

    def __init__(self, pipe: IO[bytes]) -> None:
        self._pipe = pipe
        self._data = bytearray()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while block := os.read(self._pipe.fileno(), 1 << 16):
                if len(self._data) < _KEPT:
                    self._data += block

    def text(self) -> str:
        # the ssh that holds the connection may have the pipe a little longer
        self._thread.join(5)
        self._pipe.close()
        return self._data.decode(errors="replace")
