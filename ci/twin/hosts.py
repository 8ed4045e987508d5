"""Start, enter and stop hosts: a host is a process with number 1 of its own namespaces, and all below it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.twin import root, syscalls
from ci.twin.plan import ROUTER, Node
from ci.twin.state import Folder

from ml_suite.errors import MlSuiteError
from ml_suite.services.process import Process, identify, wait_ended

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
PATIENCE = 120.0
"""Seconds for what takes one on an idle machine; several builds at once make it a slow one."""
_NAMESPACES = syscalls.NEWNS | syscalls.NEWUTS | syscalls.NEWIPC | syscalls.NEWNET | syscalls.NEWPID


@dataclass(frozen=True)
class Host:
    """A host of a twin, running or not."""

    node: Node
    folder: Folder

    @property
    def process(self) -> Process | None:
        """Its first process while it runs."""
        return self.folder.first_process(self.node.name)

    @property
    def pid(self) -> int:
        """Number of its first process, as the machine counts.

        Raises
        ------
        MlSuiteError
            If it does not run.
        """
        if process := self.process:
            return process.pid
        raise MlSuiteError(f"{self.node.name} does not run", "Type: bash ci/twin.sh up")

    @property
    def ready(self) -> bool:
        """Whether its file system is built."""
        process = self.process
        return process is not None and Path(f"/proc/{process.pid}/root/{root.READY}").exists()

    def command(
        self, arguments: Sequence[str], user: str = "root", variables: Mapping[str, str] | None = None
    ) -> list[str]:
        """Words that run a command inside, with a login's environment.

        Raises
        ------
        MlSuiteError
            If the host does not run, or has no such user.
        """
        words = ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p", "--"]
        name, uid = self.node.account
        home = "/root"
        if user == name:
            home = f"/home/{name}"
            words += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        elif user != "root":
            raise MlSuiteError(f"no user {user} on {self.node.name}", f"There are: {name}, root")
        given = {"PATH": PATH, "LANG": "C.UTF-8", "TERM": os.environ.get("TERM", "dumb")}
        given |= {"HOME": home, "USER": user, "LOGNAME": user, "SHELL": "/bin/bash", **(variables or {})}
        return [*words, "env", "-i", *(f"{k}={v}" for k, v in given.items()), *arguments]

    def run(
        self,
        line: str,
        user: str = "root",
        stdin: str = "",
        timeout: float = PATIENCE,
    ) -> subprocess.CompletedProcess[str]:
        """Run a line of shell inside and take its output.

        Raises
        ------
        MlSuiteError
            If it does not end in time.
        """
        words = self.command(["bash", "-c", line], user)
        try:
            return subprocess.run(
                words, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise MlSuiteError(f"{self.node.name}: `{line[:200]}` does not end in {timeout:.0f} s") from error

    def must(self, line: str, user: str = "root", stdin: str = "", timeout: float = PATIENCE) -> str:
        """Run a line of shell that has to succeed, and return what it printed.

        Raises
        ------
        MlSuiteError
            With the end of its output if it fails.
        """
        done = self.run(line, user, stdin, timeout)
        if done.returncode:
            text = (done.stderr or done.stdout).strip()[-800:]
            raise MlSuiteError(f"{self.node.name}: `{line[:200]}` failed ({done.returncode}): {text}")
        return done.stdout

    def start_daemon(self, name: str, line: str, user: str = "root") -> None:
        """Start a program in the foreground mode it has, below the host's init; its log in log/NAME."""
        script = f"echo $$ >/run/twin/{name}.pid; exec {line} </dev/null >>/var/log/twin-{name}.log 2>&1"
        self.must(f"touch /var/log/twin-{name}.log; chown {user}: /var/log/twin-{name}.log")
        # the shell in the middle ends at once, so that init adopts the daemon
        self.must(f"setsid bash -c {shlex.quote(script)} >/dev/null 2>&1 </dev/null &", user)

    def runs(self, name: str) -> bool:
        """Whether a daemon that was started lives."""
        return bool(self._daemon(name))

    def signal_daemon(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a daemon, if it lives; what it started gets none."""
        if daemon := self._daemon(name):
            self.must(f"kill -{number.value} {daemon}")

    def stop_daemon(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End a daemon and wait until it is gone; what it started goes on."""
        self.signal_daemon(name, number)
        wait_for(lambda: not self.runs(name), lambda: f"{self.node.name}: {name} does not end")

    def _daemon(self, name: str) -> str:
        """Its number, as the host counts; empty if it does not live."""
        inside = Path(f"/proc/{self.pid}/root")
        try:
            number = (inside / f"run/twin/{name}.pid").read_text().strip()
            # of a zombie the link is there and leads nowhere
            (inside / f"proc/{number}/exe").readlink()
        except OSError:
            return ""
        return number

    def put(
        self, path: str, content: str | bytes, mode: int = 0o644, owner: tuple[int, int] = (0, 0)
    ) -> None:
        """Write a file inside, through the host's own view of it; its folder is made if need be."""
        place = Path(f"/proc/{self.pid}/root{path}")
        place.parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        place.unlink(missing_ok=True)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as f:
            f.write(data)
        place.chmod(mode)
        os.chown(place, *owner)


def start(host: Host) -> bool:
    """Start a host unless it runs; False if it did. Its file system may take a moment (`ready`).

    The caller must have one thread.
    """
    if host.process:
        return False
    own = host.folder.host(host.node.name)
    own.mkdir(parents=True, exist_ok=True)
    router = host.folder.first_process(ROUTER.name)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        _between(host, router.pid if router else None)
    _, status = os.waitpid(child, 0)
    if status:
        raise MlSuiteError(f"{host.node.name} does not start: {_last(own / 'init.log')}")
    return True


def _between(host: Host, router: int | None) -> None:
    """The process between the command and the host: enters the namespaces, notes the first process, ends."""
    own = host.folder.host(host.node.name)
    descriptor = os.open(own / "init.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open("/dev/null", os.O_RDONLY)
    for number, target in ((nothing, 0), (descriptor, 1), (descriptor, 2)):
        os.dup2(number, target)
    try:
        os.setsid()
        trees = {}
        if (site := host.node.site) and router:
            disk = root.disk_of(site.name)
            trees = {tree: syscalls.copy_mount(router, disk + tree) for tree in site.trees}
        settings = host.folder.settings
        noted, note = os.pipe()
        syscalls.unshare(_NAMESPACES)
        first = os.fork()
        if first == 0:
            # this process's pivot_root moves the root of the other as well, so it has to be done by then
            os.close(note)
            if not os.read(noted, 1):
                os._exit(1)
            for number in range(3, 256):
                if number not in trees.values():
                    _close(number)
            root.become(host.node, host.folder, settings, trees)
        process = identify(first)
        if process:
            host.folder.remember(host.node.name, process)
            os.write(note, b"+")
        os._exit(0 if process else 1)
    except BaseException as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def _close(number: int) -> None:
    try:
        os.close(number)
    except OSError:
        return


def _last(log: Path) -> str:
    try:
        return log.read_text().strip()[-400:]
    except OSError:
        return "no log"


def wait_ready(host: Host) -> None:
    """Wait until its file system is built.

    Raises
    ------
    MlSuiteError
        With the reason if it is not.
    """
    log = host.folder.host(host.node.name) / "init.log"
    wait_for(lambda: host.ready or host.process is None, lambda: f"{host.node.name}: {_last(log)}")
    if not host.ready:
        raise MlSuiteError(f"{host.node.name} does not start: {_last(log)}")


def stop(host: Host) -> bool:
    """Power off: the kernel ends everything inside with the first process. False if it did not run."""
    process = host.process
    if process:
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            descriptor = -1
        if descriptor >= 0:
            try:
                if process.alive:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            finally:
                os.close(descriptor)
        if not wait_ended(process, PATIENCE):
            raise MlSuiteError(f"{host.node.name} (process {process.pid}) does not end")
    host.folder.forget(host.node.name)
    return process is not None


def wait_for(true: Callable[[], bool], what: Callable[[], str]) -> None:
    """Ask again and again.

    Raises
    ------
    MlSuiteError
        With WHAT if it is not true in time.
    """
    deadline = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > deadline:
            raise MlSuiteError(f"not in {PATIENCE:.0f} s: {what()}")
        time.sleep(0.03)
