"""Real trainings over two nodes of a real Slurm: what they give, and what is left when something is lost."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ml_suite.study import trials
from ml_suite.study.contract import Budget, Layout, TrialResult, TrialSpec, TrialState
from ml_suite.trainers import events
from tests.datasets.workshop import Workshop
from tests.trainers.conftest import (
    finished,
    laid_out,
    loaded,
    new_workshop,
    recipe,
    storm,
    storm_sources,
)
from tests.trainers.storm import Storm
from tests.twin.conftest import Twin

__all__ = ["finished", "laid_out", "loaded", "new_workshop", "recipe", "storm", "storm_sources"]

pytestmark = [pytest.mark.twin, pytest.mark.anemoi]

SCRATCH = Path("/scratch/lumiml")
EPOCHS = 24
SECONDS = 240

BATCH = """\
#!/bin/bash
#SBATCH --nodes=2 --ntasks-per-node=1 --gpus-per-node=1 --cpus-per-task=1 --time=30 --no-requeue
echo $$ >$SLURM_JOB_ID.pid
{python} -m tests.trainers.run_specs "$@" &
child=$!
trap 'kill -TERM $child' TERM
wait $child; wait $child
"""
"""As the suite's own job script: what Slurm tells it, it passes on."""

SUM = """\
import json, os, sys
from pathlib import Path
import torch, torch.distributed as dist
dist.init_process_group("gloo")  # env://, as under torchrun
seen = torch.tensor([1.0 + dist.get_rank()])
dist.all_reduce(seen)
names = ("SLURMD_NODENAME", "LOCAL_RANK", "GROUP_RANK", "CUDA_VISIBLE_DEVICES")
print("on", *(os.environ[name] for name in names), flush=True)
if dist.get_rank() == 0:
    Path(sys.argv[1]).with_name("outcome.json").write_text(json.dumps({"value": seen.item()}))
dist.destroy_process_group()
"""


@dataclass(frozen=True)
class Cluster:
    """A site of two compute nodes with the data of the storm on its shared disk."""

    twin: Twin
    storm: Storm
    repository: Path
    data: Path
    """The dataset, as this machine sees it."""

    def sh(self, line: str, host: str = "lumi", timeout: float = 90) -> str:
        return self.twin.must("exec", host, f"cd {SCRATCH}; {line}", timeout=timeout)

    def spec(self, output: Path, **changes: Any) -> TrialSpec:
        """A small trial on two ranks, at a global batch of four; its files lie at the site."""
        place = trials.Place(
            environment=self.storm.python.parent.parent,
            output=output,
            config=SCRATCH / "storm.yaml",
            dataset=SCRATCH / self.data.name,
        )
        known = trials.specification(self.storm.plan, 1, 0, place)
        params = {"training.optimization.lr": 0.01, "model.num_channels": 8}
        layout, budget = Layout(replicas=2, reference=1), Budget(epochs=EPOCHS)
        return known.model_copy(update={"params": params, "layout": layout, "budget": budget, **changes})

    def submit(self, name: str, **changes: Any) -> str:
        """Submit a job that trains; its number."""
        text = self.spec(SCRATCH / name, **changes).model_dump_json()
        batch = BATCH.format(python=self.storm.python)
        path = f"{self.repository / 'src'}:{self.repository}"
        self.sh(
            f"echo {shlex.quote(text)} >{name}.json; echo {shlex.quote(batch)} >batch.sh; "
            f"export PYTHONPATH={path} PYTHONDONTWRITEBYTECODE=1; "
            f"sbatch --parsable --output={name}.out batch.sh {name}.json >{name}.id"
        )
        return self.sh(f"cat {name}.id").strip()

    def until(self, line: str, seconds: float = SECONDS, host: str = "lumi") -> None:
        """Wait until a line of shell succeeds there."""
        waiting = (
            f"for i in $(seq {int(seconds * 4)}); do {{ {line}; }} >/dev/null 2>&1 && exit; sleep 0.25; done"
        )
        self.sh(f"{waiting}; exit 1", host, seconds * 2)

    def ended(self, job: str) -> str:
        """Wait for the end of a job; its state."""
        self.until(f"! squeue --noheader --jobs={job} | grep -q .")
        return self.sh(f"scontrol --oneliner show job {job} | grep -o 'JobState=[A-Z_]*'").strip()

    def trained(self, name: str, epochs: int = 1) -> None:
        """Wait until a training has been through some epochs, and goes on."""
        done = f'[ "$(grep -c \'"epoch", "values"\' {name}/metrics.jsonl)" -ge {epochs} ]'
        self.until(f"{done} && ls {name}/training/checkpoint/*/last.ckpt")

    def result(self, name: str) -> TrialResult:
        return TrialResult.model_validate_json(self.sh(f"cat {name}/result.json"))

    def events(self, name: str, folder: Path) -> list[events.Event]:
        copy = folder / "metrics.jsonl"
        copy.write_text(self.sh(f"cat {name}/metrics.jsonl"))
        return events.read(copy)

    def nothing_runs(self) -> None:
        """Make sure that no training lives on a node."""
        for host in ("lumi-c1", "lumi-c2"):
            self.until("! ps -eo args | grep -q '[a]nemoi-training train'", 15, host)


@pytest.fixture(scope="module")
def cluster(storm: Storm, finished: Workshop, repository: Path) -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="twin-"))
    twin = Twin(folder, repository)
    there = Cluster(twin, storm, repository, finished.store)
    storm.succeed("study", "plan")
    config = storm.root / "suite" / "training" / "storm.yaml"
    try:
        twin.must("up", "--bind", str(finished.root), "--bind", str(storm.root), timeout=300)
        copied = shlex.join(["cp", "-r", str(finished.store), str(config), str(SCRATCH)])
        twin.must("exec", "root@lumi-login", f"{copied} && chown -R lumiml: {SCRATCH}")
        yield there
    finally:
        twin.must("down", "--purge")
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def whole(cluster: Cluster) -> TrialResult:
    """A training over two nodes that nothing disturbed."""
    assert cluster.ended(cluster.submit("whole")) == "JobState=COMPLETED", cluster.sh("cat whole.out")
    return cluster.result("whole")


def test_two_nodes_give_what_one_process_gives_at_the_same_global_batch(
    cluster: Cluster, whole: TrialResult, tmp_path: Path
) -> None:
    assert whole.state is TrialState.COMPLETE, whole.reason
    assert (whole.effective_lr, whole.global_batch) == (0.01, 4)
    told = cluster.events("whole", tmp_path)
    assert [e.event for e in told if e.event in ("start", "end")] == ["start", "end"]
    assert [p.epoch for p in whole.history] == list(range(EPOCHS))
    log = cluster.sh("cat whole/log.txt")
    assert "MEMBER: 2/2" in log
    assert {line[:2] for line in log.splitlines()} >= {"0:", "1:"}
    # one process that sees the same samples in each step: two workers read the halves that two ranks would,
    # and their batches are added up before the step
    overrides = {
        "dataloader.batch_size.training": 2,
        "training.accum_grad_batches": 2,
        "dataloader.num_workers.training": 2,
    }
    spec = cluster.spec(
        tmp_path / "one",
        layout=Layout(replicas=1, reference=1),
        config=cluster.storm.root / "suite" / "training" / "storm.yaml",
        dataset=cluster.storm.plan.dataset.model_copy(update={"path": cluster.data}),
    )
    spec = spec.model_copy(update={"overrides": {**spec.overrides, **overrides}})
    spec.save(tmp_path / "one.json")
    cluster.storm.succeed("-m", "tests.trainers.run_specs", str(tmp_path / "one.json"))
    one = TrialResult.load(tmp_path / "one" / "result.json")
    print(f"two nodes {whole.value!r}, one process {one.value!r}")
    assert (one.effective_lr, one.global_batch) == (0.01, 4)
    assert whole.value == pytest.approx(one.value, rel=1e-5)
    assert [p.step for p in whole.history] == [p.step for p in one.history]
    assert [p.value for p in whole.history] == pytest.approx([p.value for p in one.history], rel=1e-5)


def test_a_training_goes_on_after_a_node_was_lost(cluster: Cluster, whole: TrialResult) -> None:
    job = cluster.submit("lost")
    cluster.trained("lost")
    try:
        cluster.twin.must("cut", "lumi-c2", "node")
        assert cluster.ended(job) == "JobState=NODE_FAIL"
        # the job may have had time to say so; it never says that the training failed
        if cluster.sh("ls lost").count("result.json"):
            assert cluster.result("lost").state is TrialState.PREEMPTED
    finally:
        cluster.twin.must("heal", "lumi-c2")
    cluster.until("[ $(sinfo --noheader --Node --nodes=lumi-c[1-2] --states=idle | wc -l) -ge 2 ]", 60)
    cluster.nothing_runs()
    assert cluster.ended(cluster.submit("lost")) == "JobState=COMPLETED"
    resumed = cluster.result("lost")
    assert resumed.state is TrialState.COMPLETE, resumed.reason
    assert "Resuming training from last checkpoint" in cluster.sh("cat lost/log.txt")
    print(f"resumed {resumed.value!r}, uninterrupted {whole.value!r}")
    assert resumed.value == whole.value
    assert resumed.history == whole.history


def test_a_job_near_its_end_stops_all_ranks_and_a_killed_rank_all_others(
    cluster: Cluster, whole: TrialResult, tmp_path: Path
) -> None:
    job = cluster.submit("stopped")
    cluster.trained("stopped")
    # as --signal=B:TERM does: the script's shell and nothing else
    cluster.sh(f"kill -TERM $(cat {job}.pid)", "lumi-c1")
    assert cluster.ended(job) == "JobState=COMPLETED"
    stopped = cluster.result("stopped")
    assert (stopped.state, stopped.value) == (TrialState.PREEMPTED, None)
    end = cluster.events("stopped", tmp_path)[-1]
    # the ranks stopped after the same step, they did not wait for each other until they were killed
    assert end.status.startswith("SIGTERMException")
    cluster.nothing_runs()

    job = cluster.submit("stopped")
    cluster.trained("stopped", end.epoch + 2)
    # the program of rank 1, below the shell that Slurm started
    shell = "$(scontrol listpids $(cat stopped/step) | awk '$5 == 1 {print $1}')"
    cluster.sh(f"kill -KILL $(ps -o pid= --ppid {shell})", "lumi-c2")
    assert cluster.ended(job) == "JobState=COMPLETED"
    cluster.nothing_runs()
    resumed = cluster.result("stopped")
    assert resumed.state is TrialState.COMPLETE, resumed.reason
    assert resumed.history == whole.history
    starts = [e for e in cluster.events("stopped", tmp_path) if e.event == "start"]
    assert len(starts) == 3
    assert len({e.run_id for e in starts}) == 1


def test_a_program_written_for_torchrun_runs_unchanged(cluster: Cluster) -> None:
    cluster.sh(f"echo {shlex.quote(SUM)} >sum.py")
    command = [str(cluster.storm.python), str(SCRATCH / "sum.py")]
    job = cluster.submit("sum", trainer="command", command=command, config=None)
    assert cluster.ended(job) == "JobState=COMPLETED"
    result = cluster.result("sum")
    assert (result.state, result.value) == (TrialState.COMPLETE, 3.0), result.reason
    said = [line for line in cluster.sh("cat sum/log.txt").splitlines() if " on " in line]
    assert sorted(said) == ["0: on lumi-c1 0 0 0", "1: on lumi-c2 0 1 0"]


def test_a_rank_that_fails_is_named_at_once(cluster: Cluster) -> None:
    code = "import os, time; assert os.environ['RANK'] == '0', 'not me'; time.sleep(300)"
    begin = time.monotonic()
    job = cluster.submit("failed", trainer="command", command=["python3", "-c", code], config=None)
    cluster.ended(job)
    assert time.monotonic() - begin < 60
    result = cluster.result("failed")
    assert result.state is TrialState.FAILED
    assert result.reason == "exit code 1 (rank 1 on lumi-c2): AssertionError: not me"
