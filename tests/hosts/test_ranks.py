"""Ranks of a training on several nodes: the shell text is run by real shells, with a stand-in for srun."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ml_suite.hosts.ranks import RENDEZVOUS, hosts, srun, torchrun

LISTS = [
    ("a1", ["a1"]),
    ("a1,b2", ["a1", "b2"]),
    ("nid[005123-005125,9],x", ["nid005123", "nid005124", "nid005125", "nid9", "x"]),
    ("x,nid[1-2]", ["x", "nid1", "nid2"]),
    ("n[7]", ["n7"]),
    ("jpbo-[009-010]", ["jpbo-009", "jpbo-010"]),
    ("rack[0,3]n[1-2]-ib", ["rack0n1-ib", "rack0n2-ib", "rack3n1-ib", "rack3n2-ib"]),
]

SRUN = """\
#!/bin/bash
# As many ranks as asked, each with the variables of Slurm.
while [ "$1" != -- ]; do
    case $1 in --ntasks=*) SLURM_NTASKS=${1#*=} ;; esac
    shift
done
shift
export SLURM_NTASKS
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do
    each=$((SLURM_NTASKS / SLURM_NNODES))
    SLURM_PROCID=$rank SLURM_LOCALID=$((rank % each)) SLURM_NODEID=$((rank / each)) "$@" &
done
wait
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Folder with our srun and a torchrun that prints its arguments."""
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "torchrun").write_text('#!/bin/sh\necho "$(printf "<%s>" "$@")"\n')
    for name in ("srun", "torchrun"):
        (tmp_path / name).chmod(0o755)
    return tmp_path


def shell(text: str, path: Path | None = None, program: str = "sh", **variables: str) -> str:
    folders = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
    done = subprocess.run(
        [program, "-euc", text],
        env={"PATH": folders, "SLURM_JOB_ID": "123456", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "rror" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("program", ["sh", "bash"])
@pytest.mark.parametrize(("nodelist", "names"), LISTS)
def test_the_ranks_meet_on_the_first_host(program: str, nodelist: str, names: list[str]) -> None:
    text = RENDEZVOUS + 'echo "$MASTER_ADDR $MASTER_PORT"'
    assert shell(text, program=program, SLURM_JOB_NODELIST=nodelist) == f"{names[0]} 18456\n"
    assert hosts(nodelist) == names


@pytest.mark.parametrize("number", [1, 14999, 15000, 4_000_000_000])
def test_the_port_is_below_those_that_the_system_gives_out(number: int) -> None:
    port = shell(RENDEZVOUS + "echo $MASTER_PORT", SLURM_JOB_NODELIST="a", SLURM_JOB_ID=str(number))
    assert 15000 <= int(port) < 30000


@pytest.mark.parametrize("text", ["n[1-", "n]1[", "n[]", "n[[1]]"])
def test_a_list_with_an_open_bracket_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no list of nodes"):
        hosts(text)


def test_each_rank_knows_itself_and_gets_its_arguments_unchanged(path: Path) -> None:
    program = 'echo "$RANK $LOCAL_RANK $GROUP_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR $1"'
    text = RENDEZVOUS + srun(["sh", "-c", program, "x", "a 'b' $HOME"])
    told = shell(
        text, path, SLURM_JOB_NODELIST="n[1-2]", SLURM_NTASKS="4", SLURM_NNODES="2", SLURM_CPUS_PER_TASK="7"
    )
    assert sorted(told.splitlines()) == [
        "0 0 0 4 2 n1 a 'b' $HOME",
        "1 1 0 4 2 n1 a 'b' $HOME",
        "2 0 1 4 2 n1 a 'b' $HOME",
        "3 1 1 4 2 n1 a 'b' $HOME",
    ]


def test_one_torchrun_for_each_node(path: Path) -> None:
    text = RENDEZVOUS + torchrun(["train.py", "a b"], ranks_per_node=4)
    told = shell(
        text, path, SLURM_JOB_NODELIST="n[1-2]", SLURM_NTASKS="8", SLURM_NNODES="2", SLURM_CPUS_PER_TASK="8"
    )
    common = "<--nnodes=2><--nproc-per-node=4><--node-rank={}><--master-addr=n1><--master-port=18456><train.py><a b>"
    assert sorted(told.splitlines()) == [common.format(0), common.format(1)]


def test_the_text_is_sound_for_a_posix_shell(tmp_path: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    text = f"#!/bin/sh\n{RENDEZVOUS}{srun(['true'])}\n{torchrun(['x.py'], 4)}\n"
    script = tmp_path / "job.sh"
    script.write_text(text)
    command = [shellcheck, "-S", "warning", str(script)] if shellcheck else ["sh", "-n", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


GLOO = """\
import torch, torch.distributed as dist
dist.init_process_group("gloo")
seen = torch.tensor([1.0 + dist.get_rank()])
dist.all_reduce(seen)
print(f"{dist.get_world_size()} {seen.item():g}\\n", end="", flush=True)
dist.destroy_process_group()
"""


@pytest.mark.anemoi
@pytest.mark.parametrize("way", ["srun", "torchrun"])
def test_real_ranks_find_each_other(way: str, path: Path, anemoi_python: Path) -> None:
    (path / "torchrun").unlink()
    (path / "torchrun").symlink_to(anemoi_python.with_name("torchrun"))
    program = path / "gloo.py"
    program.write_text(GLOO)
    start = srun([str(anemoi_python), str(program)]) if way == "srun" else torchrun([str(program)], 2)
    told = shell(
        f"ulimit -c 0\n{RENDEZVOUS}{start}",
        path,
        SLURM_JOB_ID=str(os.getpid()),
        SLURM_JOB_NODELIST="localhost",
        SLURM_NTASKS="2",
        SLURM_NNODES="1",
        SLURM_CPUS_PER_TASK="1",
        OMP_NUM_THREADS="1",
    )
    assert sorted(told.splitlines()) == ["2 3", "2 3"]
