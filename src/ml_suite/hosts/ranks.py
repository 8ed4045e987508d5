"""Training on several nodes: how a job's allocation is divided and how one process per GPU is started in it.

Standard library only. What a rank needs to know it takes from the variables of its own step, in a POSIX shell:
``scontrol show hostnames`` is missing or slow on some compute nodes, so the first host is cut out of the list.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from ml_suite.errors import StudyError

RENDEZVOUS = """\
# The first host of a list such as node[003-005,9],other1 is where the ranks meet.
ml_suite_first_host() {
    list=$1 first=
    while :; do
        case $list in *[[,]*) ;; *) first=$first$list; break ;; esac
        first=$first${list%%[[,]*}
        case ${list#"${list%%[[,]*}"} in ,*) break ;; esac
        range=${list#*[[]} list=${list#*]}
        range=${range%%]*}
        first=$first${range%%[,-]*}
    done
    printf '%s\\n' "$first"
}
MASTER_ADDR=$(ml_suite_first_host "$SLURM_STEP_NODELIST")
# two trainings that share a node must not meet each other; below the ports that the system gives out
MASTER_PORT=$((15000 + (SLURM_JOB_ID * 61 + SLURM_STEP_ID) % 15000))
export MASTER_ADDR MASTER_PORT
"""
"""For a POSIX shell: where the ranks of a step meet."""

STEP, FALLEN = "step", "fallen"
"""Files in the training's folder: the step's number, and the first rank that failed: its number, host, exit code,
and ``told`` if it had been asked to stop."""

STOP = "URG"
"""Signal that asks a step to stop. Slurm gives it to every process of a rank: all but our shell ignore it, and that
one gives SIGTERM to the program alone, so that its data loaders do not die under it."""

LOG = "log.txt"
"""File in the training's folder with the output of all ranks."""

ENDED = "ml-suite: this rank ended with exit code"
"""How the last line of a failed rank begins."""

_RANK = (
    RENDEZVOUS
    + f"ended='{ENDED}' log='{LOG}'\n"
    + """\
export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS GROUP_RANK=$SLURM_NODEID
export LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_NNODES))
folder=$1 told="" child=""
shift
if [ "$RANK" -eq 0 ]; then
    echo "$SLURM_JOB_ID.$SLURM_STEP_ID" >"$folder/.step" && mv "$folder/.step" "$folder/step"
fi
trap 'told=told; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' URG
trap 'told=told' TERM
"$@" &
child=$!
wait "$child" && code=0 || code=$?
# a signal ends the wait early
while kill -0 "$child" 2>/dev/null; do
    wait "$child" && code=0 || code=$?
done
[ "$code" -eq 0 ] && exit 0
# only the first writes: the others fail because it did
(set -C; echo "$RANK $SLURMD_NODENAME $code $told" >"$folder/fallen") 2>/dev/null || :
# srun drops what it has not read yet when a rank dies by a signal: first all that this one said has to be in the log
if [ -z "$told" ] && [ -e "$folder/$log" ]; then
    mark="$ended $code (step $SLURM_JOB_ID.$SLURM_STEP_ID)"
    echo "$mark"
    echo "$mark" >&2
    looks=0
    until [ "$(tail -c 1000000 "$folder/$log" | grep -c "^0*$RANK: .*$mark\\$")" -ge 2 ] || [ -n "$told" ]; do
        looks=$((looks + 1))
        [ "$looks" -lt 100 ] || break
        sleep 0.2
    done
fi
# helpers that the program left behind would keep the step alive where no cgroup ends them
group() {
    stat=$(cat "/proc/$1/stat") && stat=${stat##*) } && stat=${stat#* } && stat=${stat#* } && echo "${stat%% *}"
}
if [ "$(group $$)" != "$(group "$PPID")" ]; then
    if [ -z "$told" ]; then
        kill -KILL 0  # neighbours in the group end as well: a rank has failed
    elif [ "$LOCAL_WORLD_SIZE" -eq 1 ]; then
        kill -TERM 0
    fi
fi
# who was told to stop does not take down others that are still writing
[ -n "$told" ] && exit 0
exit "$code"
"""
)


@dataclass(frozen=True)
class Allocation:
    """What the scheduler gave to the job that this process runs in."""

    nodes: int
    tasks_per_node: int
    cpus_per_task: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self | None:
        """Read it from the variables of a batch script; None outside of a job.

        >>> Allocation.of({"SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_NTASKS": "8",
        ...                "SLURM_TASKS_PER_NODE": "4(x2)", "SLURM_CPUS_PER_TASK": "7"})
        Allocation(nodes=2, tasks_per_node=4, cpus_per_task=7)
        """
        if not environment.get("SLURM_JOB_ID"):
            return None
        # without a number of tasks the scheduler counts cores there
        counts = environment.get("SLURM_TASKS_PER_NODE", "1") if environment.get("SLURM_NTASKS") else "1"
        return cls(
            nodes=int(environment.get("SLURM_NNODES") or 1),
            tasks_per_node=min(int(count) for count in re.findall(r"(?<![x\d])\d+", counts)),
            cpus_per_task=int(environment.get("SLURM_CPUS_PER_TASK") or 0) or None,
        )


@dataclass(frozen=True)
class Placement:
    """Where the ranks of one training run."""

    nodes: int
    per_node: int

    @property
    def ranks(self) -> int:
        """Processes in all."""
        return self.nodes * self.per_node


def place(ranks: int, allocation: Allocation) -> Placement:
    """Divide a training evenly among as few nodes as possible.

    Raises
    ------
    StudyError
        If the job is too small, or its nodes cannot share the ranks.

    >>> place(6, Allocation(nodes=2, tasks_per_node=4))
    Placement(nodes=2, per_node=3)
    >>> place(2, Allocation(nodes=2, tasks_per_node=4))
    Placement(nodes=1, per_node=2)
    """
    most = allocation.nodes * allocation.tasks_per_node
    for nodes in range(1, allocation.nodes + 1):
        if ranks % nodes == 0 and ranks // nodes <= allocation.tasks_per_node:
            return Placement(nodes, ranks // nodes)
    there = f"{allocation.nodes} nodes with {allocation.tasks_per_node} each"
    if ranks > most:
        raise StudyError(
            f"the training has {ranks} processes and its job has room for {most} ({there})",
            "Raise `gpus` in the resources of this step, or use fewer GPUs per model.",
        )
    raise StudyError(
        f"{ranks} processes cannot be shared evenly by nodes of this job ({there})",
        "Choose a number of GPUs that the nodes can share.",
    )


def srun(command: Sequence[str], placement: Placement, folder: str, cpus: int | None = None) -> list[str]:
    """Words that start one process per rank, each with the variables that torchrun would set.

    ``anemoi-training`` reads Slurm's own variables, other programs those of torchrun: both are there.

    Parameters
    ----------
    folder
        Seen from all nodes; gets the files `STEP` and `FALLEN`.
    cpus
        Cores of a rank.
    """
    options = [
        "--export=ALL",
        f"--nodes={placement.nodes}",
        f"--ntasks={placement.ranks}",
        f"--ntasks-per-node={placement.per_node}",
        # ranks of a node are neighbours: local rank and node follow from the rank
        "--distribution=block",
        # since 22.05 a step does not inherit the cores of its job
        *([f"--cpus-per-task={cpus}"] if cpus else []),
        "--kill-on-bad-exit=1",
        "--label",
    ]
    return ["srun", *options, "--", "sh", "-c", _RANK, "rank", folder, *command]


def alone(port: int) -> dict[str, str]:
    """Variables of the only rank of a training that is started without srun."""
    one = {"RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    return {**one, "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}


def probe(allocation: Allocation) -> list[str]:
    """Words that succeed when every node of the job still answers."""
    nodes = allocation.nodes
    return ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--", "true"]


def hosts(nodelist: str) -> list[str]:
    """Names of a list of nodes as Slurm writes it.

    Raises
    ------
    ValueError
        If a bracket is not closed.

    >>> hosts("nid[005123-005124,9],login1")
    ['nid005123', 'nid005124', 'nid9', 'login1']
    >>> hosts("rack[0-1]node[1-2]")
    ['rack0node1', 'rack0node2', 'rack1node1', 'rack1node2']
    """
    if not re.fullmatch(r"([^\[\]]|\[[^\[\]]+\])*", nodelist):
        raise ValueError(f"{nodelist!r} is no list of nodes")
    items = re.findall(r"(?:[^,\[]|\[[^\]]*\])+", nodelist)
    return [name for item in items if item.strip() for name in _expanded(item.strip())]


def _expanded(item: str) -> list[str]:
    before, bracket, rest = item.partition("[")
    if not bracket:
        return [item]
    inner, _, after = rest.partition("]")
    return [f"{before}{number}{tail}" for number in _numbers(inner) for tail in _expanded(after)]


def _numbers(text: str) -> list[str]:
    found = []
    for part in text.split(","):
        low, dash, high = part.partition("-")
        numbers = range(int(low), int(high) + 1) if dash else (int(low),)
        found += [f"{number:0{len(low)}}" for number in numbers]
    return found
