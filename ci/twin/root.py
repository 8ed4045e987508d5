"""The private file system of a host: built by the host's own first process before it becomes a small init."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from pathlib import Path

from ci.twin import syscalls
from ci.twin.plan import SITES, Node
from ci.twin.state import Folder, Settings

DISK_SIZE = "24g"
"""Of each site's shared trees together; they lie in memory and take what is written."""
READY = "run/twin/ready"
_DEVICES = {
    "null": (1, 3),
    "zero": (1, 5),
    "full": (1, 7),
    "random": (1, 8),
    "urandom": (1, 9),
    "tty": (5, 0),
}
_RUN = {"twin": 0o1777, "sshd": 0o755, "munge": 0o755, "slurm": 0o755, "mysqld": 0o1777, "lock": 0o1777}
_VAR = (
    "lib/munge",
    "lib/slurm",
    "log/munge",
    "log/slurm",
    "spool/slurmctld",
    "spool/slurmd",
    "cache",
    "empty",
)


def become(node: Node, folder: Folder, settings: Settings, trees: dict[str, int]) -> None:
    """Build the root, move into it and run as init; returns only by an exception.

    Parameters
    ----------
    trees
        Descriptors of the site's shared trees, from `syscalls.copy_mount`.

    Raises
    ------
    OSError
        If the kernel refuses a mount.
    """
    syscalls.mount("none", Path("/"), flags=syscalls.RECURSIVE | syscalls.PRIVATE)
    own = folder.host(node.name)
    root = _folder(own / "root")
    syscalls.mount("tmpfs", root, "tmpfs", options="size=64m,mode=755")
    _skeleton(root)
    _system(root, own)
    syscalls.bind(_folder(folder.home(node.group)), root / "home")
    for place, tree in trees.items():
        syscalls.attach(tree, _folder(root / place.lstrip("/")))
    if node.role == "router":
        _disks_of_sites(root)
    for path in settings.binds:
        _show(Path(path), root)
    _kernel(root)
    _devices(root, node)
    _run_folder(root)
    os.chdir(root)
    subprocess.run(["pivot_root", ".", "old"], check=True)
    os.chroot(".")
    os.chdir("/")
    syscalls.detach(Path("/old"))
    Path("/old").rmdir()
    socket.sethostname(node.name)
    (Path("/") / READY).touch()
    # dash as init: it reaps orphans, and takes less than 1 MiB
    os.execv("/bin/sh", ["init", "-c", "trap 'exit 0' TERM; while :; do sleep 86400; done"])


def _folder(path: Path, mode: int = 0o755) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(mode)
    return path


def _skeleton(root: Path) -> None:
    for name in (
        "proc",
        "sys",
        "dev",
        "run",
        "home",
        "root",
        "old",
        "etc",
        "var",
        "usr",
        "opt",
        "mnt",
        "srv",
    ):
        (root / name).mkdir()
    _folder(root / "tmp", 0o1777)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")


def _system(root: Path, own: Path) -> None:
    """Programs of the machine, read-only; its settings below those of the host; /var and /tmp of the host only."""
    for name in ("usr", "opt"):
        syscalls.bind(Path("/") / name, root / name, read_only=True)
    # in memory, because not every file system can be the upper one; each start writes the settings anew
    above = root / "mnt"
    syscalls.mount("tmpfs", above, "tmpfs", options="size=16m,mode=755")
    upper, work = _folder(above / "etc"), _folder(above / "work")
    syscalls.mount(
        "overlay", root / "etc", "overlay", options=f"lowerdir=/etc,upperdir={upper},workdir={work}"
    )
    syscalls.detach(above)
    var = _folder(own / "var")
    for name in _VAR:
        _folder(var / name)
    _folder(var / "tmp", 0o1777)
    for name, user in (("lib/munge", "munge"), ("log/munge", "munge"), ("log/slurm", "slurm")):
        _give(var / name, user)
    _give(var / "spool/slurmctld", "slurm")
    for name, target in (("run", "/run"), ("lock", "/run/lock")):
        if not (var / name).is_symlink():
            (var / name).symlink_to(target)
    syscalls.bind(var, root / "var")
    syscalls.bind(_folder(own / "tmp", 0o1777), root / "tmp")


def _disks_of_sites(root: Path) -> None:
    """The router is the first to run and the last to end, so it keeps what all hosts of a site share."""
    for site in SITES:
        disk = _folder(root / disk_of(site.name).lstrip("/"))
        syscalls.mount("tmpfs", disk, "tmpfs", options=f"size={DISK_SIZE},mode=755")
        for tree in site.trees:
            _folder(disk / tree.lstrip("/"), 0o1777)


def disk_of(site: str) -> str:
    """Where the router sees the file system that holds a site's shared trees."""
    return f"/sites/{site}"


def _show(path: Path, root: Path) -> None:
    target = root / str(path).lstrip("/")
    if path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    syscalls.bind(path, target, read_only=True)


def _kernel(root: Path) -> None:
    syscalls.mount("proc", root / "proc", "proc")
    syscalls.mount("sysfs", root / "sys", "sysfs", flags=syscalls.READ_ONLY)
    # slurmd 22.05 always loads a cgroup plugin; an empty file system here keeps it content, and idle
    syscalls.mount("tmpfs", root / "sys/fs/cgroup", "tmpfs", options="mode=755,size=64k")


def _devices(root: Path, node: Node) -> None:
    dev = root / "dev"
    syscalls.mount("tmpfs", dev, "tmpfs", flags=syscalls.NO_SUID, options="mode=755,size=64k")
    devices = dict(_DEVICES)
    if node.role == "compute" and node.site:
        # GPUs for Slurm to count: they are /dev/null
        devices |= {f"gpu{i}": (1, 3) for i in range(node.site.gpus)}
    mask = os.umask(0)
    for name, (major, minor) in devices.items():
        os.mknod(dev / name, 0o020666, os.makedev(major, minor))
    os.umask(mask)
    for name in ("pts", "shm"):
        (dev / name).mkdir()
    syscalls.mount("devpts", dev / "pts", "devpts", options="newinstance,ptmxmode=0666,mode=620,gid=5")
    syscalls.mount("tmpfs", dev / "shm", "tmpfs", options="mode=1777,size=512m")
    (dev / "ptmx").symlink_to("pts/ptmx")
    (dev / "fd").symlink_to("/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (dev / name).symlink_to(f"/proc/self/fd/{number}")


def _run_folder(root: Path) -> None:
    for name, mode in _RUN.items():
        _folder(root / "run" / name, mode)
    for name in ("munge", "slurm"):
        _give(root / "run" / name, name)


def _give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
