"""A host whose clock is wrong: a library that the loader puts into every program which starts there.

Namespaces cannot shift the time of day. Programs that run already, among them the daemons, and those that are linked
statically keep the right time, and so do the times of files.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from ci.twin.hosts import PATIENCE, Host

from ml_suite.errors import MlSuiteError

_SOURCE = Path(__file__).with_name("clock.c")
_LIBRARY = "/var/lib/twin-clock.so"
_PRELOAD = "/etc/ld.so.preload"


def put_ahead(host: Host, seconds: int) -> None:
    """Put the clock of a host ahead, for what starts from now on.

    Raises
    ------
    MlSuiteError
        If there is no C compiler.
    """
    built = host.folder.host(host.node.name) / "clock.so"
    options = ["-shared", "-fPIC", "-O2", f"-DAHEAD={seconds}", "-o", str(built), str(_SOURCE), "-ldl"]
    done = subprocess.run(["gcc", *options], capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise MlSuiteError(f"the clock cannot be built: {done.stderr.strip()[-400:]}")
    host.put(_LIBRARY, built.read_bytes(), 0o755)
    host.put(_PRELOAD, f"{_LIBRARY}\n")


def put_right(host: Host) -> None:
    """Give a host the right time again, for what starts from now on."""
    host.must(f"rm -f {_PRELOAD}")
