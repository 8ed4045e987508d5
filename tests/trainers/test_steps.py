"""Trainings of several ranks inside a job, with a stand-in for Slurm: how they end, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest

from ml_suite.errors import StudyError
from ml_suite.hosts import ranks
from ml_suite.study.contract import Budget, DatasetRef, Layout, Span, TrialResult, TrialSpec, TrialState
from ml_suite.trainers import outcome, process, runner, steps
from tests.hosts import slurm_standin

PROGRAM = """
import json, os, signal, subprocess, sys, time
from pathlib import Path
here, rank, world = Path(sys.argv[1]).parent, int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
spec = json.loads(Path(sys.argv[1]).read_text())
how = spec["params"].get("how", "well")
(here / f"pid.{rank}").write_text(str(os.getpid()))
with open(here / "calls", "a") as f:
    f.write(f"{rank}/{world} {os.environ['MASTER_ADDR']}\\n")
resumed = (here / "resume").exists()
worker = subprocess.Popen(["sleep", "600"]) if how == "deaf" or how == "stop" and not resumed else None
if how == "stop":
    def stop(*_):
        # as a training does that ends its data loaders in order
        (here / f"stopped.{rank}").write_text(f"worker {worker.poll()}")
        worker.terminate()
        if rank == 0:
            time.sleep(0.5)
            (here / "resume").touch()
        sys.exit(3)
    signal.signal(signal.SIGTERM, stop)
if how == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if how == "helper" and rank == 1:
    # it ends without its helper, which holds the rank's output
    helper = subprocess.Popen(["sleep", "600"])
    (here / "helper").write_text(str(helper.pid))
    sys.exit(5)
if how == "error" and rank == 1:
    raise ValueError("no such layer")
if how == "out of memory" and rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if how in ("error", "out of memory", "deaf", "hang", "helper") or how == "stop" and not resumed:
    time.sleep(600)
print(f"rank {rank} of {world}", flush=True)
if rank == 0:
    outcome = {"value": 0.5, "effective_lr": 0.01 * world, "global_batch": 2 * world}
    (here / "outcome.json").write_text(json.dumps(outcome))
"""


@pytest.fixture(autouse=True)
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Be the batch script of a job of two nodes with two tasks each; its folder of steps."""
    folder = tmp_path / "steps"
    (tmp_path / "bin").mkdir()
    folder.mkdir()
    for name in ("srun", "scancel", "squeue"):
        (tmp_path / "bin" / name).symlink_to(slurm_standin.__file__)
    variables = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_STANDIN": str(folder),
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_NNODES": "2",
        "SLURM_NTASKS": "4",
        "SLURM_TASKS_PER_NODE": "2(x2)",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return folder


def trial(tmp_path: Path, how: str = "well", replicas: int = 4, walltime: float | None = None) -> TrialSpec:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    span = Span(start=datetime(1996, 1, 5), end=datetime(1996, 1, 6))
    return TrialSpec(
        study="s",
        trial=0,
        step=1,
        trainer="command",
        params={"how": how},
        metric="val",
        direction="minimize",
        seed=0,
        dataset=DatasetRef(name="d", path=tmp_path, uuid="u", manifest="m"),
        training=span,
        validation=span,
        test=span,
        samples=4,
        layout=Layout(replicas=replicas, reference=1),
        budget=Budget(epochs=1, walltime=walltime),
        command=[sys.executable, str(program)],
        environment=Path(sys.prefix),
        output=tmp_path / "trial",
    )


def run(spec: TrialSpec, stop: threading.Event | None = None) -> TrialResult:
    return runner.run(spec, stop or threading.Event())


def begun(spec: TrialSpec, seconds: float = 20) -> None:
    """Wait until all ranks run."""
    until = time.monotonic() + seconds
    while len([p for p in spec.output.glob("pid.*") if p.read_text()]) < spec.layout.replicas:
        assert time.monotonic() < until
        time.sleep(0.02)


def soon(event: threading.Event, spec: TrialSpec) -> None:
    """Tell the job to stop once all ranks run."""

    def tell() -> None:
        begun(spec)
        event.set()

    threading.Thread(target=tell, daemon=True).start()


def left(job: Path) -> list[str]:
    """Steps of which a process lives."""
    return [
        step.name
        for step in job.glob("*.*")
        if slurm_standin._members([int(word) for word in step.read_text().split()])
    ]


def calls(job: Path) -> list[str]:
    return (job / "calls").read_text().splitlines()


def test_one_training_is_one_step_and_one_result(tmp_path: Path, job: Path) -> None:
    spec = trial(tmp_path)
    result = run(spec)
    assert result.state is TrialState.COMPLETE, result.reason
    assert (result.value, result.effective_lr, result.global_batch) == (0.5, 0.04, 8)
    assert sorted((spec.output / "calls").read_text().splitlines()) == [f"{i}/4 localhost" for i in range(4)]
    assert len(calls(job)) == 1
    assert "--nodes=2 --ntasks=4 --ntasks-per-node=2" in calls(job)[0]
    # the processor time of other nodes is not known
    assert result.cpu_seconds is None
    assert "3: rank 3 of 4" in (spec.output / "log.txt").read_text().splitlines()
    assert not (spec.output / "step").exists()
    assert run(spec) == result


def test_a_training_may_be_smaller_than_its_job(tmp_path: Path, job: Path) -> None:
    assert run(trial(tmp_path, replicas=2)).global_batch == 4
    assert "--nodes=1 --ntasks=2" in calls(job)[0]


def test_one_rank_is_started_without_srun_and_knows_that_it_is_alone(tmp_path: Path, job: Path) -> None:
    spec = trial(tmp_path, replicas=1)
    assert run(spec).global_batch == 2
    assert not (job / "calls").exists()
    assert (spec.output / "calls").read_text() == "0/1 localhost\n"


def test_a_training_that_is_larger_than_its_job_is_an_error_and_touches_nothing(
    tmp_path: Path, job: Path
) -> None:
    spec = trial(tmp_path)
    result = run(spec)
    with pytest.raises(StudyError, match="has 8 processes and its job has room for 4"):
        run(trial(tmp_path, replicas=8))
    assert run(spec) == result
    assert len(calls(job)) == 1


def test_a_rank_that_fails_takes_the_others_down_and_is_named(tmp_path: Path, job: Path) -> None:
    begin = time.monotonic()
    result = run(trial(tmp_path, "error"))
    assert time.monotonic() - begin < 30
    assert result.state is TrialState.FAILED
    assert result.reason == "exit code 1 (rank 1 on node1): ValueError: no such layer"
    assert not left(job)


def test_the_last_words_of_a_rank_are_heard_before_the_step_ends(tmp_path: Path, job: Path) -> None:
    (job / "slow").touch()
    spec = trial(tmp_path, "error")
    assert run(spec).reason == "exit code 1 (rank 1 on node1): ValueError: no such layer"
    ended = f"1: ml-suite: this rank ended with exit code 1 (step {os.getpid()}.0)"
    assert (spec.output / "log.txt").read_text().splitlines().count(ended) == 2
    assert not left(job)


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("1: Traceback (most recent call last):\n1: my.Own: no\n1: {end}\n", "my.Own: no"),
        (
            "1: Traceback (most recent call last):\n1:   File 'x'\n1: KeyError: 'a'\n2: OSError: b\n",
            "KeyError: 'a'",
        ),
        ("01: no such file\n01: Traceback (most recent call last):\n01: {end}\n", "no such file"),
        ("1: half a line{end}\n", "half a line"),
        ("1: Traceback (most recent call last):\n", "Traceback (most recent call last):"),
        ("2: KeyError: 'a'\n", "an empty log"),
    ],
)
def test_the_last_words_say_what_went_wrong(tmp_path: Path, log: str, words: str) -> None:
    (tmp_path / "log.txt").write_text(log.format(end=f"{ranks.ENDED} 1 (step 7.0)"))
    assert outcome.last_words(tmp_path / "log.txt", 1) == words


def test_a_rank_that_fails_leaves_no_helper_behind(tmp_path: Path, job: Path) -> None:
    """A helper that outlived it would hold the step's output, and the step would never end."""
    spec = trial(tmp_path, "helper")
    assert "exit code 5 (rank 1 on node1)" in run(spec).reason
    stat = Path(f"/proc/{(spec.output / 'helper').read_text()}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] in "ZX"
    assert not left(job)


def test_a_rank_that_is_killed_is_tried_once_more(tmp_path: Path, job: Path) -> None:
    result = run(trial(tmp_path, "out of memory"))
    assert result.state is TrialState.FAILED
    assert result.reason == "killed by SIGKILL (rank 1 on node1) twice, perhaps for want of memory"
    assert len([line for line in calls(job) if "--ntasks=4" in line]) == 2
    assert not left(job)


def test_a_lost_node_is_no_fault_of_the_training(tmp_path: Path, job: Path) -> None:
    """Ranks that talked to it fail long before the scheduler notices."""
    spec = trial(tmp_path, "hang")

    def lose() -> None:
        begun(spec)
        (job / "lost").touch()
        os.kill(int((spec.output / "pid.1").read_text()), signal.SIGKILL)

    threading.Thread(target=lose, daemon=True).start()
    result = run(spec)
    assert result.state is TrialState.PREEMPTED
    assert result.reason == "a node of the job does not answer any more (rank 1 on node1)"
    assert len([line for line in calls(job) if "--ntasks=4" in line]) == 1
    assert not left(job)


def test_ranks_that_never_began_say_nothing_about_the_training(tmp_path: Path, job: Path) -> None:
    (job / "lost").touch()
    result = run(trial(tmp_path))
    assert result.state is TrialState.PREEMPTED
    assert result.reason == "the scheduler did not start its ranks: srun: error: Node failure"
    assert len(calls(job)) == 1
    (job / "lost").unlink()
    assert run(trial(tmp_path)).state is TrialState.COMPLETE


def test_a_job_that_is_told_to_stop_stops_every_rank_in_order(tmp_path: Path, job: Path) -> None:
    spec, stop = trial(tmp_path, "stop"), threading.Event()
    soon(stop, spec)
    begin = time.monotonic()
    result = run(spec, stop)
    assert time.monotonic() - begin < process.GRACE
    assert result.state is TrialState.PREEMPTED
    # the program got SIGTERM, not its workers; and no rank was killed while rank 0 was writing
    stopped = sorted((p.name, p.read_text()) for p in spec.output.glob("stopped.*"))
    assert stopped == [(f"stopped.{i}", "worker None") for i in range(4)]
    assert (spec.output / "resume").exists()
    assert not left(job)
    assert run(spec).state is TrialState.COMPLETE
    assert len((spec.output / "calls").read_text().splitlines()) == 8


def test_the_walltime_of_a_trial_ends_every_rank(
    tmp_path: Path, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "GRACE", 1.0)
    spec = trial(tmp_path, "deaf", walltime=2.0)
    result = run(spec)
    assert result.state is TrialState.FAILED
    assert result.reason == "took longer than its walltime of 2 s"
    # srun was killed, which leaves its ranks alone; the step was ended after it
    assert not left(job)
    assert not (spec.output / "step").exists()


def test_what_a_killed_job_left_running_is_ended_before_it_trains_again(tmp_path: Path, job: Path) -> None:
    spec = trial(tmp_path, "deaf")
    spec.save(tmp_path / "trial.json")
    earlier = subprocess.Popen(
        [sys.executable, "-m", "tests.trainers.run_specs", str(tmp_path / "trial.json")]
    )
    begun(spec)
    earlier.kill()
    earlier.wait()
    assert len(left(job)) == 1
    steps.end(spec.output)
    assert not left(job)
    assert run(trial(tmp_path)).state is TrialState.COMPLETE


def test_ranks_that_nobody_can_end_are_not_trained_beside(
    tmp_path: Path, job: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = trial(tmp_path)
    spec.output.mkdir()
    (spec.output / "step").write_text("1.0\n")
    monkeypatch.setattr(steps, "_GONE", 0.0)
    (tmp_path / "bin" / "squeue").unlink()
    with pytest.raises(StudyError, match=r"step 1\.0 has ended"):
        run(spec)
    assert not (job / "calls").exists() or all("scancel" in line for line in calls(job))
