"""The few system calls of Linux that Python 3.11 does not have."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
READ_ONLY, NO_SUID, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 32, 4096, 16384, 1 << 18
_OPEN_TREE, _MOVE_MOUNT = 428, 429  # the same numbers on every architecture
_CLONE, _CLOSE_ON_EXEC, _EMPTY_PATH, _HERE, _DETACH = 1, 0o2000000, 4, -100, 2

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(answer: int, what: str) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return answer


def unshare(flags: int) -> None:
    """Move this process (NEWPID: its children) into new namespaces."""
    _checked(_libc.unshare(flags), "unshare")


def mount(
    source: str | Path, target: Path, kind: str | None = None, flags: int = 0, options: str | None = None
) -> None:
    """Mount(2).

    Raises
    ------
    OSError
        As the kernel says, with the target in its text.
    """
    data = options.encode() if options else None
    answer = _libc.mount(
        os.fsencode(source), os.fsencode(target), kind.encode() if kind else None, ctypes.c_ulong(flags), data
    )
    _checked(answer, f"mount {source} on {target}")


def bind(source: Path, target: Path, read_only: bool = False) -> None:
    """Make a folder or file visible at a second place."""
    mount(source, target, flags=BIND)
    if read_only:
        mount("none", target, flags=BIND | REMOUNT | READ_ONLY)


def detach(target: Path) -> None:
    """Unmount as soon as nobody uses it."""
    _checked(_libc.umount2(os.fsencode(target), _DETACH), f"umount {target}")


def copy_mount(pid: int, path: str) -> int:
    """Take a copy of a mount that another process sees at PATH; a descriptor for `attach`.

    The caller must have one thread: it visits the other's mount namespace and comes back.
    """
    here = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    there = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
    try:
        _checked(_libc.setns(there, NEWNS), "setns")
        try:
            return _checked(
                _libc.syscall(_OPEN_TREE, _HERE, path.encode(), _CLONE | _CLOSE_ON_EXEC), f"open_tree {path}"
            )
        finally:
            _checked(_libc.setns(here, NEWNS), "setns")
    finally:
        os.close(here)
        os.close(there)


def attach(tree: int, target: Path) -> None:
    """Put what `copy_mount` took at a place."""
    _checked(
        _libc.syscall(_MOVE_MOUNT, tree, b"", _HERE, os.fsencode(target), _EMPTY_PATH), f"attach {target}"
    )
    os.close(tree)
