"""Training on several nodes: what a job script sets and how it starts one process per GPU, as text for a shell.

Standard library only. Nothing is asked of the scheduler at run time: ``scontrol show hostnames`` is missing or slow
on some compute nodes, so the first host is cut out of SLURM_JOB_NODELIST.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

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
MASTER_ADDR=$(ml_suite_first_host "$SLURM_JOB_NODELIST")
# two jobs that share a node must not meet each other; below the ports that the system gives out
MASTER_PORT=$((15000 + SLURM_JOB_ID % 15000))
export MASTER_ADDR MASTER_PORT
"""
"""For a POSIX shell: where the ranks of the job meet."""

_RANK = (
    "export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS "
    "LOCAL_WORLD_SIZE=$((SLURM_NTASKS / SLURM_NNODES)) GROUP_RANK=$SLURM_NODEID; "
    'exec "$@"'
)


def srun(command: Sequence[str]) -> str:
    """One process per rank of the job, each with the variables that torchrun would set.

    ``anemoi-training`` reads Slurm's own variables, other programs those of torchrun: both are there.

    >>> srun(["anemoi-training", "train"]).split(" -- ")[0]
    'srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK"'
    """
    rank = shlex.join(["sh", "-c", _RANK, "rank", *command])
    # since 22.05 a step does not inherit the cores of its job
    return f'srun --kill-on-bad-exit=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" -- {rank}'


def torchrun(command: Sequence[str], ranks_per_node: int) -> str:
    """One ``torchrun`` per node, which starts the processes of that node.

    Parameters
    ----------
    command
        A Python program and its arguments.
    ranks_per_node
        Processes of a node.
    """
    agent = (
        f'exec torchrun --nnodes="$SLURM_NNODES" --nproc-per-node={ranks_per_node} --node-rank="$SLURM_NODEID" '
        '--master-addr="$MASTER_ADDR" --master-port="$MASTER_PORT" "$@"'
    )
    node = shlex.join(["sh", "-c", agent, "node", *command])
    cores = f'--cpus-per-task="$((SLURM_CPUS_PER_TASK * {ranks_per_node}))"'
    return f'srun --kill-on-bad-exit=1 --ntasks-per-node=1 --ntasks="$SLURM_NNODES" {cores} -- {node}'


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
