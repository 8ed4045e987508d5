"""munge and Slurm of a site, without systemd and cgroups."""

from __future__ import annotations

import pwd
import signal

from ci.twin import accounting, auth
from ci.twin.hosts import Host, wait_for
from ci.twin.plan import Site, login_of

_COMMON = """\
AuthType=auth/munge
CredType=cred/munge
SlurmUser=slurm
SlurmdUser=root
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=5
SwitchType=switch/none
MpiDefault=none
EnforcePartLimits=ALL
ReturnToService=2
MailProg=/bin/true
# hosts pretend to be larger than the machine
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# else every job takes all the memory of its node and no two share one
DefMemPerCPU=1000
GresTypes=gpu
# quick answers rather than the cadence of a large site
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2,bf_resolution=60,max_rpc_cnt=0
KillWait=5
MinJobAge=600
CompleteWait=0
SlurmctldTimeout=30
SlurmdTimeout=60
InactiveLimit=0
SlurmctldDebug=info
SlurmdDebug=info
JobCompType=jobcomp/filetxt
JobCompLoc=/var/log/slurm/jobcomp.log
"""
_CGROUP = """\
CgroupPlugin=cgroup/v1
CgroupAutomount=no
ConstrainCores=no
ConstrainDevices=no
ConstrainRAMSpace=no
"""


def settings_of(site: Site, with_accounting: bool = False) -> str:
    """slurm.conf of a site. Pure."""
    nodes = f"{site.name}-c[1-{site.nodes}]"
    gres = f"gpu:{site.gpu}:{site.gpus}"
    lines = [f"ClusterName={site.name}", f"SlurmctldHost={login_of(site).name}", _COMMON.rstrip()]
    if with_accounting:
        lines += accounting.slurm_settings(site)
    lines.append(f"NodeName={nodes} CPUs={site.cpus} RealMemory={site.memory} Gres={gres} State=UNKNOWN")
    for i, partition in enumerate(site.partitions):
        lines.append(
            f"PartitionName={partition.name} Nodes=ALL Default={'NO' if i else 'YES'} "
            f"MaxTime={partition.limit} DefaultTime=00:30:00 State=UP "
            f"OverSubscribe={'EXCLUSIVE' if partition.whole_nodes else 'NO'}"
        )
    return "\n".join(lines) + "\n"


def configure(host: Host, site: Site, with_accounting: bool = False) -> None:
    """Write the settings of munge and Slurm on any host of a site."""
    entry = pwd.getpwnam("munge")
    owner = (entry.pw_uid, entry.pw_gid)
    host.put("/etc/munge/munge.key", auth.munge_key(host.folder, site).read_bytes(), 0o400, owner)
    host.put("/etc/slurm/slurm.conf", settings_of(site, with_accounting))
    host.put("/etc/slurm/cgroup.conf", _CGROUP)
    host.put("/etc/slurm/plugstack.conf", "")
    nodes = f"{site.name}-c[1-{site.nodes}]"
    gres = f"AutoDetect=off\nNodeName={nodes} Name=gpu Type={site.gpu} File=/dev/gpu[0-{site.gpus - 1}]\n"
    host.put("/etc/slurm/gres.conf", gres)


def start_munge(host: Host) -> None:
    """Start munge on a host; it answers a moment later."""
    if not host.runs("munged"):
        host.must("chown munge: /etc/munge; chmod 700 /etc/munge /var/log/munge; chmod 711 /var/lib/munge")
        line = (
            "setpriv --reuid=munge --regid=munge --clear-groups /usr/sbin/munged --foreground --num-threads=2"
        )
        host.start_daemon("munged", line)


def wait_munge(host: Host) -> None:
    """Wait until munge on a host answers."""
    wait_for(
        lambda: host.run("munge -n </dev/null | unmunge").returncode == 0,
        lambda: f"{host.node.name}: munge does not answer",
    )


def start(login: Host, compute: list[Host]) -> None:
    """Start a site's controller and the daemons of its nodes."""
    start_controller(login)
    for host in compute:
        start_node(host)


def start_controller(login: Host) -> None:
    """Start a site's controller."""
    if not login.runs("slurmctld"):
        login.start_daemon("slurmctld", "/usr/sbin/slurmctld -D -L /var/log/slurm/slurmctld.log")


def stop_controller(login: Host) -> None:
    """Stop a site's controller, as its administrators would: it writes down what it knows."""
    login.stop_daemon("slurmctld", signal.SIGTERM)


def start_node(host: Host) -> None:
    """Start Slurm's daemon on a compute node."""
    if not host.runs("slurmd"):
        host.start_daemon("slurmd", "/usr/sbin/slurmd -D -L /var/log/slurm/slurmd.log")


def report_down(login: Host, node: str) -> None:
    """Tell the controller that a node is gone, as a site's own monitoring does within seconds."""
    login.run(f"timeout 20 scontrol update NodeName={node} State=DOWN Reason='power off'")


def node_states(login: Host) -> dict[str, str]:
    """What the controller says of its nodes; empty if it does not answer."""
    done = login.run("timeout 20 sinfo -h -N -o '%N %T'")
    return dict(line.split() for line in done.stdout.splitlines()) if done.returncode == 0 else {}


def wait_nodes(login: Host, compute: list[Host]) -> None:
    """Wait until the controller can give jobs to these nodes."""
    good = {"idle", "mixed", "allocated", "completing"}

    def all_good() -> bool:
        states = node_states(login)
        return bool(states) and all(states.get(host.node.name) in good for host in compute)

    wait_for(all_good, lambda: f"nodes of {login.node.group}: {node_states(login) or 'no answer'}")
