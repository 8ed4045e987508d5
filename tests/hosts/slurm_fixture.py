"""A real Slurm of one node for the user of the tests, on loopback: munge, controller and node without namespaces.

Its `bin` comes first in the PATH of the sshd fixture: sbatch, squeue and scancel there count how often they are
called, and can be told to fail in ways that a real controller does not show on demand.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.hosts.sshd_fixture import Sshd, signal_process, wait_for

_CONF = """\
ClusterName=tests
SlurmctldHost={name}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
EnforcePartLimits=ALL
ReturnToService=2
MailProg=/bin/true
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1,max_rpc_cnt=0
MessageTimeout=10
KillWait=3
MinJobAge=3600
CompleteWait=0
InactiveLimit=0
NodeName={name} NodeAddr=127.0.0.1 CPUs=64 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
PartitionName=closed Nodes=ALL MaxTime=60 State=DOWN
"""
_CGROUP = "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\nConstrainDevices=no\nConstrainRAMSpace=no\n"
_WRAPPED = """\
#!/bin/sh
# {command} of the tests: counts, then fails as the file says, then is the real one
here={folder}
how=$(cat "$here/how.{command}" 2>/dev/null)
printf '%s\\n' "$*" >>"$here/calls.{command}"
case $how in
    'slow '*) sleep "${{how#slow }}" ;;
    'lost') {real} "$@" >/dev/null 2>&1; echo "{command}: error: Socket timed out on send/recv operation" >&2; exit 1 ;;
    'say '*) printf '%s\\n' "${{how#say }}" >&2; exit 1 ;;
esac
exec {real} "$@"
"""
_DAEMONS = {
    "munged": "munged --foreground --force --socket={folder}/munge/socket --key-file={folder}/munge/key"
    " --pid-file={folder}/munge/pid --log-file={folder}/munge/log --seed-file={folder}/munge/seed --num-threads=1",
    "slurmctld": "slurmctld -D -f {folder}/slurm.conf -L {folder}/slurmctld.log",
    "slurmd": "mount -t tmpfs none /sys/fs/cgroup; exec slurmd -D -f {folder}/slurm.conf -L {folder}/slurmd.log",
}


def _port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@dataclass
class Slurm:
    """One cluster; `work` is the working folder of a host that has it."""

    folder: Path
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    def configure(self) -> None:
        for name in ("state", "spool", "bin", "work"):
            (self.folder / name).mkdir()
        (self.folder / "munge").mkdir(mode=0o700)
        (self.folder / "munge" / "key").write_bytes(os.urandom(1024))
        (self.folder / "munge" / "key").chmod(0o400)
        text = _CONF.format(name=socket.gethostname(), folder=self.folder, controller=_port(), node=_port())
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "cgroup.conf").write_text(_CGROUP)
        (self.folder / "plugstack.conf").touch()
        for command in ("sbatch", "squeue", "scancel", "sacct"):
            path = self.bin / command
            path.write_text(_WRAPPED.format(command=command, folder=self.folder, real=shutil.which(command)))
            path.chmod(0o755)

    def start(self, name: str) -> None:
        line = _DAEMONS[name].format(folder=self.folder)
        # slurmd mounts what must not be seen outside
        words = ["unshare", "-m", "sh", "-c", line] if "mount" in line else ["sh", "-c", f"exec {line}"]
        with (self.folder / "daemons.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def stop(self, name: str) -> None:
        process = self.daemons.pop(name)
        signal_process(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def up(self) -> None:
        for name in _DAEMONS:
            self.start(name)
        wait_for(lambda: "idle" in self.ask("sinfo", "-h", "-o", "%t"), "Slurm", 20)

    def ask(self, *words: str) -> str:
        environment = {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        return done.stdout

    def jobs(self, name: str, form: str = "%i") -> list[str]:
        """Jobs of a name that Slurm ever knew, oldest first."""
        lines = self.ask("squeue", "-h", "--states=all", f"--name={name}", f"--format=%i|{form}").split("\n")
        return [
            line.split("|", 1)[1] for line in sorted(lines, key=lambda x: int(x.split("|")[0] or 0)) if line
        ]

    def states(self, name: str) -> list[str]:
        return self.jobs(name, "%T")

    def calls(self, command: str) -> list[str]:
        path = self.folder / f"calls.{command}"
        return path.read_text().splitlines() if path.exists() else []

    def how(self, command: str, text: str = "") -> None:
        """Let a command fail: ``slow SECONDS``, ``lost`` (done, but it says otherwise), ``say WORDS``; empty: not."""
        (self.folder / f"how.{command}").write_text(text)

    def serve(self, sshd: Sshd) -> None:
        """Let commands over ssh find this Slurm."""
        sshd.stop()
        path = f"{self.bin}:/usr/sbin:/usr/bin:/sbin:/bin"
        sshd.options.append(f"SetEnv PATH={path} SLURM_CONF={self.folder}/slurm.conf")
        sshd.start()


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[Slurm]:
    """A cluster with one idle node."""
    if missing := [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if not shutil.which(name)]:
        pytest.fail(f"{', '.join(missing)} missing; run: apt-get install slurmctld slurmd slurm-client munge")
    if os.getuid() != 0:
        pytest.skip("Slurm's daemons need root; the twin has one too")
    cluster = Slurm(tmp_path / "slurm")
    cluster.folder.mkdir()
    cluster.configure()
    try:
        cluster.up()
        yield cluster
    finally:
        if "slurmctld" in cluster.daemons:
            cluster.ask("scancel", "--me")
            deadline = time.monotonic() + 6
            while cluster.ask("squeue", "-h", "--me") and time.monotonic() < deadline:
                time.sleep(0.1)
        for name in reversed(list(cluster.daemons)):
            cluster.stop(name)
