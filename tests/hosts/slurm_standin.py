#!/usr/bin/env python3
"""srun, scancel and squeue for one machine: a step's ranks are sessions here, whatever node they are told.

Called as one of them, by a link of that name. The folder SLURM_STANDIN holds a file per step with the pids of its
ranks, so that a step can be signalled and looked at. A file ``lost`` there makes every new step fail, as when a node
of the job is gone. A file ``slow`` there makes srun read late, and drop what it has not read of a step of which a rank
died by a signal, as Slurm's does. Standard library only: it runs with the machine's Python.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

HERE = Path(os.environ.get("SLURM_STANDIN", "."))


def srun(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser()
    for name in ("nodes", "ntasks", "ntasks-per-node"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("export", "distribution", "cpus-per-task", "kill-on-bad-exit"):
        parser.add_argument(f"--{name}")
    for name in ("label", "overlap"):
        parser.add_argument(f"--{name}", action="store_true")
    cut = arguments.index("--")
    given, command = parser.parse_args(arguments[:cut]), arguments[cut + 1 :]
    with (HERE / "calls").open("a") as calls:
        calls.write(" ".join(arguments[:cut]) + "\n")
    if (HERE / "lost").exists():
        print("srun: error: Node failure", file=sys.stderr)
        return 1
    step = sum(1 for _ in HERE.glob("*.*"))
    ranks = [_rank(i, step, given, command) for i in range(given.ntasks)]
    (HERE / f"{os.environ['SLURM_JOB_ID']}.{step}").write_text(" ".join(str(r.pid) for r in ranks))
    readers = [_copied(r.stdout, i if given.label else None) for i, r in enumerate(ranks) if r.stdout]
    worst, dropped = 0, False
    while ranks:
        for rank in [r for r in ranks if r.poll() is not None]:
            ranks.remove(rank)
            code = rank.returncode if rank.returncode >= 0 else 128 - rank.returncode
            worst = max(worst, code)
            dropped |= rank.returncode < 0 and (HERE / "slow").exists()
            if code and given.kill_on_bad_exit:
                _signal([r.pid for r in ranks], signal.SIGKILL)
        time.sleep(0.02)
    if dropped:
        os._exit(worst)
    # a step goes on while something of it holds its output
    for reader in readers:
        reader.join()
    return worst


def _rank(rank: int, step: int, given: argparse.Namespace, command: list[str]) -> subprocess.Popen[bytes]:
    node = rank // given.ntasks_per_node
    names = os.environ["SLURM_JOB_NODELIST"]
    variables = {
        "SLURM_STEP_ID": step,
        "SLURM_STEP_NODELIST": names,
        "SLURM_NNODES": given.nodes,
        "SLURM_NTASKS": given.ntasks,
        "SLURM_NTASKS_PER_NODE": given.ntasks_per_node,
        "SLURM_PROCID": rank,
        "SLURM_LOCALID": rank % given.ntasks_per_node,
        "SLURM_NODEID": node,
        "SLURMD_NODENAME": f"node{node + 1}",
    }
    return subprocess.Popen(
        command,
        env={**os.environ, **{k: str(v) for k, v in variables.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _copied(pipe: BinaryIO | object, label: int | None) -> threading.Thread:
    def copy() -> None:
        for line in pipe:  # type: ignore[attr-defined]
            if (HERE / "slow").exists():
                time.sleep(0.2)
            os.write(1, (f"{label}: ".encode() if label is not None else b"") + line)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def scancel(arguments: list[str]) -> int:
    name = next(a for a in arguments if a.startswith("--signal=")).partition("=")[2]
    with (HERE / "calls").open("a") as calls:
        calls.write("scancel " + " ".join(arguments) + "\n")
    _signal(_pids(arguments[-1]), signal.Signals[f"SIG{name}"])
    return 0


def squeue(arguments: list[str]) -> int:
    step = next(a for a in arguments if a.startswith("--steps=")).partition("=")[2]
    if _members(_pids(step)):
        print(step)
    return 0


def _pids(step: str) -> list[int]:
    try:
        return [int(word) for word in (HERE / step).read_text().split()]
    except FileNotFoundError:
        return []


def _members(sessions: list[int]) -> list[int]:
    """Live processes of the ranks' sessions."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(words[3]) in sessions and words[0] not in "ZX":
            found.append(int(entry.name))
    return found


def _signal(sessions: list[int], number: int) -> None:
    """Every process of the ranks gets it, as Slurm does."""
    for pid in _members(sessions):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


if __name__ == "__main__":
    sys.exit(globals()[Path(sys.argv[0]).name](sys.argv[1:]))
