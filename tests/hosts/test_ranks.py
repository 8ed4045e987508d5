"""Ranks of a training on several nodes: the shell text is run by real shells, with a stand-in for srun."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ml_suite.errors import StudyError
from ml_suite.hosts.ranks import RENDEZVOUS, Allocation, Placement, alone, hosts, place, probe, srun
from tests.hosts import slurm_standin

LISTS = [
    ("a1", ["a1"]),
    ("a1,b2", ["a1", "b2"]),
    ("nid[005123-005125,9],x", ["nid005123", "nid005124", "nid005125", "nid9", "x"]),
    ("x,nid[1-2]", ["x", "nid1", "nid2"]),
    ("n[7]", ["n7"]),
    ("jpbo-[009-010]", ["jpbo-009", "jpbo-010"]),
    ("rack[0,3]n[1-2]-ib", ["rack0n1-ib", "rack0n2-ib", "rack3n1-ib", "rack3n2-ib"]),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Folder with our srun."""
    (tmp_path / "srun").symlink_to(slurm_standin.__file__)
    (tmp_path / "steps").mkdir()
    return tmp_path


def told(command: list[str], path: Path | None = None, **variables: str) -> str:
    folders = f"{path}:{os.environ['PATH']}" if path else os.environ["PATH"]
    done = subprocess.run(
        command,
        env={"PATH": folders, "SLURM_JOB_ID": "123456", "SLURM_STANDIN": f"{path}/steps", **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "rror" not in done.stderr
    return done.stdout


def rendezvous(shell: str = "sh", job: str = "123456", step: str = "0", nodes: str = "a") -> str:
    text = RENDEZVOUS + 'echo "$MASTER_ADDR $MASTER_PORT"'
    return told(
        [shell, "-euc", text], SLURM_STEP_NODELIST=nodes, SLURM_JOB_ID=job, SLURM_STEP_ID=step
    ).strip()


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize(("nodelist", "names"), LISTS)
def test_the_ranks_meet_on_the_first_host(shell: str, nodelist: str, names: list[str]) -> None:
    assert rendezvous(shell, nodes=nodelist) == f"{names[0]} 15816"
    assert hosts(nodelist) == names


@pytest.mark.parametrize("number", [1, 14999, 15000, 4_000_000_000])
def test_the_port_is_below_those_that_the_system_gives_out(number: int) -> None:
    assert 15000 <= int(rendezvous(job=str(number)).split()[1]) < 30000


def test_trainings_of_one_job_and_of_neighbouring_jobs_meet_at_ports_of_their_own() -> None:
    ports = [rendezvous(job=str(job), step=str(step)) for job in (7, 8) for step in (0, 1, 2)]
    assert len(set(ports)) == 6


@pytest.mark.parametrize("text", ["n[1-", "n]1[", "n[]", "n[[1]]"])
def test_a_list_with_an_open_bracket_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no list of nodes"):
        hosts(text)


@pytest.mark.parametrize(
    ("variables", "allocation"),
    [
        ({"SLURM_NNODES": "2", "SLURM_NTASKS": "8", "SLURM_TASKS_PER_NODE": "4(x2)"}, Allocation(2, 4)),
        ({"SLURM_NNODES": "3", "SLURM_NTASKS": "5", "SLURM_TASKS_PER_NODE": "2(x2),1"}, Allocation(3, 1)),
        ({"SLURM_NNODES": "1", "SLURM_TASKS_PER_NODE": "56"}, Allocation(1, 1)),
        ({"SLURM_NTASKS": "1", "SLURM_CPUS_PER_TASK": "7"}, Allocation(1, 1, 7)),
    ],
)
def test_a_job_says_how_many_ranks_it_has_room_for(variables: dict[str, str], allocation: Allocation) -> None:
    assert Allocation.of({"SLURM_JOB_ID": "1", **variables}) == allocation
    assert Allocation.of(variables) is None


@pytest.mark.parametrize(
    ("ranks", "placement"),
    [(8, Placement(2, 4)), (4, Placement(1, 4)), (2, Placement(1, 2)), (6, Placement(2, 3))],
)
def test_a_training_takes_as_few_nodes_as_share_it_evenly(ranks: int, placement: Placement) -> None:
    assert place(ranks, Allocation(2, 4)) == placement
    assert placement.ranks == ranks


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        (9, r"has 9 processes and its job has room for 8 \(2 nodes with 4 each\)"),
        (7, "cannot be shared evenly"),
    ],
)
def test_a_training_that_does_not_fit_is_refused(ranks: int, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        place(ranks, Allocation(2, 4))


def test_each_rank_knows_itself_and_gets_its_arguments_unchanged(path: Path) -> None:
    program = 'echo "$RANK $LOCAL_RANK $GROUP_RANK $WORLD_SIZE $LOCAL_WORLD_SIZE $MASTER_ADDR $1"'
    command = srun(["sh", "-c", program, "x", "a 'b' $HOME"], Placement(2, 2), str(path), cpus=7)
    assert sorted(told(command, path, SLURM_JOB_NODELIST="n[1-2]").splitlines()) == [
        "0: 0 0 0 4 2 n1 a 'b' $HOME",
        "1: 1 1 0 4 2 n1 a 'b' $HOME",
        "2: 2 0 1 4 2 n1 a 'b' $HOME",
        "3: 3 1 1 4 2 n1 a 'b' $HOME",
    ]
    assert (path / "step").read_text() == "123456.0\n"
    assert not (path / "fallen").exists()
    assert "--cpus-per-task=7 --kill-on-bad-exit=1" in (path / "steps" / "calls").read_text()


def test_a_lonely_rank_has_the_same_variables(path: Path) -> None:
    command = srun(["env"], Placement(1, 1), str(path))
    lines = told(command, path, SLURM_JOB_NODELIST="n1").replace("0: ", "").splitlines()
    ours = dict(line.partition("=")[::2] for line in lines if line.partition("=")[0] in alone(1))
    assert set(ours) == set(alone(1))
    assert {k: v for k, v in ours.items() if not k.startswith("MASTER")} == {
        k: v for k, v in alone(1).items() if not k.startswith("MASTER")
    }


def test_every_node_is_asked_whether_it_answers(path: Path) -> None:
    assert told(probe(Allocation(2, 4)), path, SLURM_JOB_NODELIST="n[1-2]") == ""
    assert "--overlap --nodes=2 --ntasks=2" in (path / "steps" / "calls").read_text()


def test_the_text_is_sound_for_a_posix_shell(tmp_path: Path) -> None:
    shellcheck = shutil.which("shellcheck")
    command = srun(["true"], Placement(1, 1), "/x")
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\n" + command[command.index("-c") + 1])
    check = [shellcheck, "-S", "warning", str(script)] if shellcheck else ["sh", "-n", str(script)]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
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
def test_real_ranks_find_each_other(path: Path, anemoi_python: Path) -> None:
    program = path / "gloo.py"
    program.write_text(GLOO)
    command = srun([str(anemoi_python), str(program)], Placement(1, 2), str(path))
    said = told(
        command, path, SLURM_JOB_ID=str(os.getpid()), SLURM_JOB_NODELIST="localhost", OMP_NUM_THREADS="1"
    )
    assert sorted(said.splitlines()) == ["0: 2 3", "1: 2 3"]
