"""The whole way with a real Slurm: ecFlow submits over ssh, jobs end without a word, and are swept."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import ecflow
import pytest

from ml_suite.hosts import reach
from ml_suite.hosts.jobfile import SUBMITTED, JobFiles, Remote, files_of
from ml_suite.hosts.jobhost import Ask, JobHost, JobHosts
from ml_suite.hosts.sweep import Sweep
from tests.hosts.slurm_fixture import Slurm
from tests.hosts.sshd_fixture import NAME, Sshd, wait_for

JOB = "src/ml_suite/hosts/job.py"


@dataclass
class Whole:
    """A suite, its server and the cluster that its jobs go to."""

    client: ecflow.Client
    suite: str
    folder: Path
    slurm: Slurm
    way: reach.Reach
    told: list[str] = field(default_factory=list)
    now: float = 0.0

    def task(self, name: str) -> ecflow.Task:
        self.client.sync_local()
        return self.client.get_defs().find_abs_node(f"/{self.suite}/{name}")

    def state(self, name: str) -> str:
        return str(self.task(name).get_state())

    def files(self, name: str) -> JobFiles:
        return files_of(self.folder / "jobs" / self.suite / f"{name}.1")

    def remote(self, name: str) -> Remote:
        found = self.files(name).remote
        assert found
        return found

    def submitted(self, name: str, state: str = "active") -> Remote:
        def there() -> bool:
            where = self.files(name).remote
            return where is not None and where.state == SUBMITTED and self.state(name) == state

        wait_for(there, f"{name} with Slurm", 40)
        return self.remote(name)

    def slurm_says(self, name: str, *states: str) -> None:
        key = self.remote(name).key
        wait_for(lambda: self.slurm.states(key) == list(states), f"{states} of {name}", 100)

    def look(self, until: Callable[[], object]) -> list[str]:
        """Look, a minute of the sweep's clock apart, until something is so; what was told."""
        before = len(self.told)
        for _ in range(20):
            self.now += 60
            Sweep(self.way, self.folder / "sweep.json", self.told.append, lambda: self.now).run(
                self.folder / "jobs"
            )
            if until():
                return self.told[before:]
            time.sleep(0.3)
        pytest.fail(f"{self.told}")


@pytest.fixture
def whole(
    sshd: Sshd, slurm: Slurm, ecflow_address: tuple[str, int], tmp_path: Path, repository: Path
) -> Callable[..., Whole]:
    """Load a suite with these tasks and bodies; a task named `held` goes to a partition that is down."""

    def made(**bodies: str) -> Whole:
        slurm.serve(sshd)
        reach.save((sshd.way, sshd.way))
        (slurm.work / "files").mkdir()
        (tmp_path / "jobs").mkdir(mode=0o700)
        (tmp_path / "scripts").mkdir()
        facts = JobHost(
            slurm.work,
            sys.executable,
            slurm.work / "lib",
            repository / "src",
            slurm.work / "files",
            tmp_path / "scripts",
            (),
            server=ecflow_address[0],
            resources={"train": Ask(walltime="1m")},
        )
        (slurm.work / "lib" / "ml_suite").mkdir(parents=True)
        JobHosts(tmp_path / "ml", "s", tmp_path, {NAME: facts}).save(tmp_path / "hosts.json")
        defs = ecflow.Defs()
        suite = defs.add_suite(f"whole_{os.getpid()}_{time.monotonic_ns()}")
        # the server of the test session has the home folder of whoever runs the tests
        command = f"env HOME={tmp_path / 'me'} {sys.executable} -I -S {repository / JOB}"
        values = {
            "ECF_HOME": tmp_path / "jobs",
            "ECF_FILES": tmp_path / "scripts",
            "ECF_INCLUDE": repository / "suites" / "scripts" / "include",
            "ECF_JOB_CMD": f"{command} submit slurm %ECF_JOB% %ECF_JOBOUT%",
            "ECF_TRIES": "1",
            "ML_SUITE_FACTS": tmp_path / "hosts.json",
            "ML_SUITE_RESOURCES": "train",
            "ML_SUITE_RESOLVED": "/nowhere/resolved.json",
            "ML_SUITE_HOST": NAME,
            "ML_SUITE_PLACES": NAME,
            "ML_SUITE_CYCLE": "once",
            "ML_SUITE_SERVER": ecflow_address[0],
            "ML_SUITE_LIB": repository / "src",
            "ML_SUITE_PYTHON": sys.executable,
        }
        for key, value in values.items():
            suite.add_variable(key, str(value))
        for name, body in bodies.items():
            (tmp_path / "scripts" / f"{name}.ecf").write_text(
                f"%include <head.h>\n{body}\n%include <tail.h>\n"
            )
            task = suite.add_task(name)
            if name == "held":
                task.add_variable("PARTITION", "closed")
        client = ecflow.Client(*ecflow_address)
        client.load(defs)
        client.begin_suite(suite.name())
        return Whole(client, suite.name(), tmp_path, slurm, sshd.way)

    return made


def test_jobs_that_were_killed_or_cancelled_abort_with_that_reason(whole: Callable[..., Whole]) -> None:
    w = whole(
        killed="echo step 7; echo $$ >$ML_SUITE_JOB/pid; sleep 300",
        held="true",
        good="true",
    )
    killed, held = w.submitted("killed"), w.submitted("held", "submitted")
    wait_for(lambda: w.state("good") == "complete", "good is complete", 40)
    pid = Path(killed.folder) / "pid"
    wait_for(pid.exists, "it runs")
    os.kill(int(pid.read_text()), signal.SIGKILL)
    w.slurm.ask("scancel", held.ids[0])
    w.slurm_says("killed", "FAILED")
    w.slurm_says("held", "CANCELLED")
    w.look(lambda: w.state("killed") == w.state("held") == "aborted")
    where, number = socket.gethostname(), killed.ids[0]
    reason = str(w.task("killed").get_aborted_reason())
    assert reason.startswith(f"Slurm job {number}: failed")
    assert f"on {where}" in reason
    assert reason.endswith("last words: step 7")
    assert w.task("held").get_aborted_reason() == f"Slurm job {held.ids[0]}: it was cancelled"
    w.look(lambda: all(w.remote(name).state == "ended" for name in ("killed", "held", "good")))
    assert w.files("good").password not in "".join(w.told)
    assert w.files("killed").output.read_text().startswith("step 7\n")


def test_a_node_that_loses_its_power_costs_no_try(whole: Callable[..., Whole]) -> None:
    w = whole(
        t='echo begin; echo $$ >$ML_SUITE_JOB/pid; [ -e "$ML_SUITE_JOB/claim.2" ] || sleep 300; echo end'
    )
    first = w.submitted("t")
    wait_for((pid := Path(first.folder) / "pid").exists, "it runs")
    power_off(w.slurm, int(pid.read_text()))
    w.slurm_says("t", "NODE_FAIL")
    w.look(lambda: w.remote("t").resubmissions == 1)
    second = w.remote("t")
    assert second.ids[:1] == first.ids
    assert len(second.ids) == 2
    w.slurm.start("slurmd")
    wait_for(lambda: w.state("t") == "complete", "the second job completes it", 60)
    assert w.task("t").get_int_try_no() == 1
    w.look(lambda: w.remote("t").state == "ended")
    assert len(w.slurm.calls("sbatch")) == 2
    assert w.files("t").output.read_text().endswith("end\n")


def power_off(slurm: Slurm, job: int) -> None:
    """End the node with all that runs on it, and tell the controller what it would find out in some minutes."""
    slurm.daemons["slurmd"].kill()
    step = int(Path(f"/proc/{job}/stat").read_text().rpartition(")")[2].split()[1])
    group = os.getpgid(job)
    os.kill(step, signal.SIGKILL)
    os.killpg(group, signal.SIGKILL)
    slurm.stop("slurmd")
    slurm.ask("scontrol", "update", f"nodename={socket.gethostname()}", "state=down", "reason=power")


def test_a_job_that_does_not_hear_the_end_of_its_walltime(whole: Callable[..., Whole]) -> None:
    w = whole(t="trap '' TERM; echo deaf; sleep 300; sleep 300")
    number = w.submitted("t").ids[0]
    # the shortest walltime is a minute
    w.slurm.ask("scontrol", "update", f"jobid={number}", "endtime=now+2")
    w.slurm_says("t", "TIMEOUT")
    w.look(lambda: w.state("t") == "aborted")
    assert f"Slurm job {number}: it reached its walltime on" in str(w.task("t").get_aborted_reason())


def test_a_task_run_again_while_its_old_job_runs_has_one_job(whole: Callable[..., Whole]) -> None:
    w = whole(t="sleep 300")
    old = w.submitted("t")
    w.client.suspend(f"/{w.suite}")
    w.client.requeue(f"/{w.suite}/t", "force")
    w.look(lambda: w.slurm.states(old.key) == ["CANCELLED"])
    w.look(lambda: w.remote("t").state == "ended")
    w.client.resume(f"/{w.suite}")
    wait_for(lambda: w.files("t").remote != None and w.remote("t").key != old.key, "a new submission", 40)  # noqa: E711
    new = w.submitted("t")
    w.look(lambda: True)
    assert w.slurm.states(new.key) == ["RUNNING"]
    assert w.state("t") == "active"
