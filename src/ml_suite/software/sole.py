"""Runs at a host: let only one process make an environment. Standard library only.

A folder is the lock, because not every parallel file system has locks that hold between nodes. One whose owner is gone
is taken away: on the same node when its process is, on another when its time has not moved for a while.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shutil
import threading
from pathlib import Path
from typing import Any

BEAT = 10.0
DEAD = 120.0
"""Seconds without a beat after which an owner on another machine is gone."""


def beside(environment: Path, ending: str) -> Path:
    """Path of a file about an environment."""
    return environment.with_name(f".{environment.name}.{ending}")


def started(pid: int) -> int:
    """Clock ticks at which a process started; 0 if there is none that lives."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return 0 if state in "ZX" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return 0


class Lock:
    """A folder that only one can make, with its owner in it from the first moment on."""

    def __init__(self, environment: Path) -> None:
        self.path = beside(environment, "lock")
        self.step = ""
        self._ends = threading.Event()

    def owner(self) -> dict[str, Any] | None:
        """Who holds it and lives; None if nobody."""
        try:
            owner: dict[str, Any] = json.loads((self.path / "owner").read_text())
            beat = (self.path / "owner").stat().st_mtime
        except (OSError, ValueError):
            return None
        if owner["node"] == platform.node():
            return owner if started(owner["pid"]) == owner["started"] else None
        return owner if self._now() - beat < DEAD else None

    def _now(self) -> float:
        """Time of the file system, whose clock may be another than ours."""
        probe = self.path.with_name(f"{self.path.name}.now.{platform.node()}.{os.getpid()}")
        try:
            probe.write_bytes(b"")
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)

    def acquire(self) -> bool:
        """Take it; False if somebody who lives holds it."""
        mine = self.path.with_name(f"{self.path.name}.{platform.node()}.{os.getpid()}")
        shutil.rmtree(mine, ignore_errors=True)
        mine.mkdir(parents=True)
        me = {"node": platform.node(), "pid": os.getpid(), "started": started(os.getpid()), "step": ""}
        try:
            (mine / "owner").write_text(json.dumps(me))
            for _ in range(10):
                try:
                    mine.rename(self.path)
                    threading.Thread(target=self._beat, daemon=True).start()
                    return True
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
                if self.owner() is not None or not self._take_away():
                    return False
            return False
        finally:
            shutil.rmtree(mine, ignore_errors=True)

    def _take_away(self) -> bool:
        """Remove the lock of an owner who is gone."""
        gone = self.path.with_name(f"{self.path.name}.gone.{platform.node()}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(gone)
            taken = Lock.__new__(Lock)
            taken.path = gone
            if taken.owner() is not None:
                # another took it meanwhile: give it back
                with contextlib.suppress(OSError):
                    gone.rename(self.path)
                return False
            shutil.rmtree(gone, ignore_errors=True)
        return True

    def say(self, step: str) -> None:
        """Tell those who ask what is being done."""
        with contextlib.suppress(OSError):
            owner = json.loads((self.path / "owner").read_text())
            write(self.path / "owner", {**owner, "step": step})

    def _beat(self) -> None:
        while not self._ends.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(self.path / "owner")

    def release(self) -> None:
        """Give it up."""
        self._ends.set()
        gone = self.path.with_name(f"{self.path.name}.gone.{platform.node()}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def write(path: Path, content: Any) -> None:
    """Write JSON whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with new.open("w") as f:
            json.dump(content, f)
            f.flush()
            os.fsync(f.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
