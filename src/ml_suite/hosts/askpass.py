"""What ssh asks a person (codes, passphrases, unknown host keys) comes to the process that started ssh.

ssh runs the program in SSH_ASKPASS with the question as its argument and reads the answer from it. Ours passes the
question through a socket in a private folder; so an answer is in no file, argument list, environment or log.
Standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

Ask = Callable[[str], str | None]
"""Gives the answer to a question of ssh; None: none."""

_CLIENT = (
    "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); f = s.makefile('rwb')\n"
)
_CLIENT += "f.write(sys.argv[2].encode('utf-8', 'replace')); f.flush(); s.shutdown(socket.SHUT_WR)\n"
_CLIENT += "a = f.read(); sys.stdout.buffer.write(a[1:]); sys.exit(a[:1] != b'+')"


class Questions:
    """Where the questions of one ssh arrive."""

    def __init__(self, listener: socket.socket, program: Path) -> None:
        self._listener = listener
        self.environment = {"SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force"}

    def answer(self, ssh: subprocess.Popen[bytes], ask: Ask, patience: float) -> None:
        """Answer until SSH ends.

        Raises
        ------
        TimeoutError
            If it has not ended after PATIENCE seconds.
        """
        deadline = time.monotonic() + patience
        while ssh.poll() is None:
            if time.monotonic() > deadline:
                raise TimeoutError
            if select.select([self._listener], [], [], 0.02)[0]:
                self._one(ask)

    def _one(self, ask: Ask) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(10)
            question = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
            answer = ask(question)
            with contextlib.suppress(OSError):
                connection.sendall(b"-" if answer is None else b"+" + answer.encode() + b"\n")


@contextlib.contextmanager
def questions(beside: Path) -> Iterator[Questions]:
    """Listen for the questions of one ssh, in a folder of its own in BESIDE, whose name is short."""
    with (
        tempfile.TemporaryDirectory(prefix="a", dir=beside) as folder,
        socket.socket(socket.AF_UNIX) as listener,
    ):
        address, program = Path(folder) / "s", Path(folder) / "ask"
        listener.bind(str(address))
        listener.listen()
        words = [sys.executable, "-I", "-S", "-c", _CLIENT, str(address)]
        descriptor = os.open(program, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
        with os.fdopen(descriptor, "w") as f:
            f.write(f'#!/bin/sh\nexec {shlex.join(words)} "$1"\n')
        yield Questions(listener, program)
