"""Jobs of a remote Slurm under a real ecFlow server: what an operator does and sees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import ecflow
import pytest

from ml_suite.hosts import reach, slurm
from ml_suite.hosts.jobfile import ENDED, PLACING, SUBMITTED, SUBMITTING, JobFiles
from ml_suite.hosts.jobhost import Ask, JobHost, JobHosts
from tests.hosts.slurm_fixture import Slurm
from tests.hosts.sshd_fixture import NAME, Sshd, wait_for


@dataclass
class Suite:
    """One suite with one task whose job goes to a Slurm behind ssh."""

    client: ecflow.Client
    folder: Path
    name: str
    sshd: Sshd
    slurm: Slurm

    @property
    def path(self) -> str:
        return f"/{self.name}/t"

    def task(self) -> ecflow.Task:
        self.client.sync_local()
        return self.client.get_defs().find_abs_node(self.path)

    def state(self) -> str:
        return str(self.task().get_state())

    def reason(self) -> str:
        return str(self.task().get_aborted_reason())

    def files(self, number: int = 1) -> JobFiles:
        here = self.folder / "jobs" / self.name
        return JobFiles(here / f"t.job{number}", here / f"t.{number}")

    def wait(self, state: str, seconds: float = 30) -> None:
        try:
            wait_for(lambda: self.state() in (state, "aborted"), state, seconds)
            assert self.state() == state
        except AssertionError:
            log = self.files().beside(".submit")
            text = log.read_text() if log.exists() else "no log"
            pytest.fail(
                f"{self.path} is {self.state()}, not {state}: {self.reason()}\n{text}\n{self.output()}"
            )

    def at(self, state: str, number: int = 1, seconds: float = 30) -> None:
        """Wait for a state of the submission."""

        def there() -> bool:
            found = self.files(number).remote
            return found is not None and found.state == state

        wait_for(there, state, seconds)

    def output(self) -> str:
        return "".join(path.read_text() for path in self.slurm.work.glob("jobs/*/output"))

    def states(self) -> list[str]:
        """Slurm's states of every job it ever had."""
        return self.slurm.ask("squeue", "-h", "--states=all", "--format=%T", "--sort=i").split()


@pytest.fixture
def start(
    ecflow_address: tuple[str, int], tmp_path: Path, repository: Path, sshd: Sshd, slurm: Slurm
) -> Callable[..., Suite]:
    """Start a suite whose only task runs a body between our own headers."""
    slurm.serve(sshd)
    work = slurm.work
    (tmp_path / "library" / "ml_suite").mkdir(parents=True)
    (tmp_path / "library" / "ml_suite" / "__init__.py").write_text("")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "resolved.json").write_text("{}")
    host = JobHost(
        work=work,
        python=Path(sys.executable),
        library=work / "lib" / "abc",
        library_here=tmp_path / "library",
        files=work / "suites" / "demo" / "files" / "f00",
        files_here=tmp_path / "files",
        files_names=("resolved.json",),
        server=ecflow_address[0],
        resources={"shard": Ask(walltime="10m", longest="1h", partition="main")},
    )
    facts = tmp_path / "files" / "hosts.json"
    JobHosts(tmp_path / "ml", "demo", tmp_path / "work", {NAME: host}).save(facts)
    reach.save((sshd.way, sshd.way))

    def run(body: str, **variables: str) -> Suite:
        name = f"slurm_{os.getpid()}_{time.monotonic_ns()}"
        # the server runs with its own
        command = (
            f"HOME={os.environ['HOME']} {sys.executable} -I -S {repository / 'src/ml_suite/hosts/job.py'}"
        )
        scripts = tmp_path / "scripts"
        scripts.mkdir()
        (scripts / "t.ecf").write_text(f"%include <head.h>\n{body}\n%include <tail.h>\n")
        defs = ecflow.Defs()
        suite = defs.add_suite(name)
        values = {
            "ECF_HOME": tmp_path / "jobs",
            "ECF_FILES": scripts,
            "ECF_INCLUDE": repository / "suites" / "scripts" / "include",
            "ECF_JOB_CMD": f"{command} submit slurm %ECF_JOB% %ECF_JOBOUT%",
            "ECF_KILL_CMD": f"{command} kill slurm %ECF_JOB% %ECF_JOBOUT% > %ECF_JOBOUT%.kill 2>&1",
            "ECF_STATUS_CMD": f"{command} status slurm %ECF_JOB% %ECF_JOBOUT%",
            "ECF_TRIES": "1",
            "ML_SUITE_FACTS": facts,
            "ML_SUITE_RESOLVED": "/nowhere/resolved.json",
            "ML_SUITE_PLACES": NAME,
            "ML_SUITE_HOST": NAME,
            "ML_SUITE_RESOURCES": "shard",
            "ML_SUITE_CYCLE": "once",
            "ML_SUITE_SERVER": ecflow_address[0],
            "ML_SUITE_LIB": "/nowhere",
            "ML_SUITE_PYTHON": "/nowhere/python",
            **variables,
        }
        for key, value in values.items():
            suite.add_variable(key, str(value))
        suite.add_task("t")
        client = ecflow.Client(*ecflow_address)
        (tmp_path / "jobs").mkdir(mode=0o700)
        client.load(defs)
        client.begin_suite(name)
        return Suite(client, tmp_path, name, sshd, slurm)

    return run


def kill(suite: Suite) -> str:
    """Kill the task as an operator does in ecFlowUI; what the kill command said."""
    suite.client.kill(suite.path)
    answer = suite.files().beside(".kill")
    wait_for(lambda: answer.exists() and answer.read_text().endswith("\n"), "the kill command", 60)
    return answer.read_text().splitlines()[-1]


def test_a_job_says_init_and_complete(start: Callable[..., Suite]) -> None:
    suite = start('echo "on $ML_SUITE_HOST, $ML_SUITE_RESOLVED"')
    suite.wait("complete")
    where = suite.files().remote
    assert where is not None
    folder = Path(where.folder)
    assert (folder / "outcome").read_text() == "complete\nsaid\n"
    resolved = suite.slurm.work / "suites/demo/files/f00/resolved.json"
    assert (folder / "output").read_text().splitlines()[-1] == f"on {NAME}, {resolved}"
    assert where.rid == where.ids[0]
    suite.client.sync_local()
    assert where.key == f"{suite.name}.t.1.{where.key[-10:]}", "the name of the job says which task it is"


def test_a_refused_submission_aborts_with_the_words_of_slurm(start: Callable[..., Suite]) -> None:
    suite = start("true", PARTITION="nowhere")
    suite.wait("aborted")
    assert "invalid partition specified: nowhere" in suite.reason()
    assert suite.files().outcome[1], "ecFlow was told"
    suite.at(ENDED)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"NODES": "two"}, "NODES is 'two', not a number from 1 on"),
        ({"WALLTIME": "soon"}, "walltime soon: write a duration"),
        ({"SBATCH": "--array=1-9"}, "SBATCH cannot hold --array"),
        ({"ML_SUITE_RESOURCES": "oven"}, "no job of kind 'oven'"),
        ({"ML_SUITE_PLACES": "elsewhere"}, "knows no host 'elsewhere'"),
        ({"ML_SUITE_INPUTS": "suites/none.json"}, "an input of the job cannot be read"),
        ({"ML_SUITE_FACTS": "/nowhere.json"}, "/nowhere.json does not say how to reach the hosts"),
    ],
)
def test_what_cannot_be_aborts_with_what_to_change(
    start: Callable[..., Suite], variables: dict[str, str], words: str
) -> None:
    suite = start("true", **variables)
    suite.wait("aborted")
    assert words in suite.reason()


def test_cancelling_a_job_that_waits_aborts_its_task(start: Callable[..., Suite]) -> None:
    suite = start("true", SBATCH="--begin=now+1hour")
    suite.at(SUBMITTED)
    assert suite.states() == ["PENDING"]
    assert kill(suite) == "cancelled"
    suite.wait("aborted")
    assert "cancelled by the operator before it started" in suite.reason()
    assert suite.states() == ["CANCELLED"]
    suite.at(ENDED)
    assert slurm.kill(suite.files()) == "it has ended"


def test_cancelling_a_job_that_runs(start: Callable[..., Suite]) -> None:
    suite = start("run sleep 100")
    suite.wait("active")
    assert kill(suite) == "cancelled"
    suite.wait("aborted")
    assert "stopped by" in suite.reason()
    assert suite.states() == ["CANCELLED"]


def test_cancelling_a_job_that_says_nothing(start: Callable[..., Suite]) -> None:
    suite = start("trap '' TERM\nwhile :; do sleep 0.2; done")
    suite.wait("active")
    assert kill(suite) == "cancelled"
    suite.wait("aborted")
    assert "cancelled by the operator" in suite.reason()


def test_cancelling_a_submission_that_waits_for_the_host(start: Callable[..., Suite], sshd: Sshd) -> None:
    sshd.stop()
    suite = start("true")
    log = suite.files().beside(".submit")
    wait_for(lambda: log.exists() and "cannot be reached" in log.read_text(), "an attempt")
    suite.at(PLACING)
    assert suite.state() == "submitted"
    assert kill(suite) == "cancelled: it had not been sent to a host"
    suite.wait("aborted")
    sshd.start()
    assert suite.states() == []


def test_cancelling_what_may_have_arrived(start: Callable[..., Suite], slurm: Slurm) -> None:
    """The submission is stopped in the middle of sbatch: whatever becomes of that, no job is left."""
    slurm.how("sbatch", "slow 3")
    suite = start("sleep 100")
    wait_for(lambda: len(slurm.calls("sbatch")) == 1, "sbatch")
    assert suite.files().remote.state == SUBMITTING
    assert kill(suite) in ("cancelled", "it has ended")
    suite.wait("aborted")
    time.sleep(2)
    assert set(suite.states()) <= {"CANCELLED"}


def test_cancelling_what_may_have_arrived_while_the_host_is_away(
    start: Callable[..., Suite], slurm: Slurm, sshd: Sshd
) -> None:
    slurm.how("sbatch", "slow 2")
    suite = start("sleep 100")
    wait_for(lambda: len(slurm.calls("sbatch")) == 1, "sbatch")
    sshd.stop()
    assert kill(suite).startswith("the host could not be asked")
    assert suite.state() == "submitted", "unknown is not failed"
    sshd.start()
    suite.wait("aborted", 60)
    # it says so itself if it had started by then
    assert "cancelled by the operator" in suite.reason() or "stopped by TERM" in suite.reason()
    wait_for(lambda: set(suite.states()) <= {"CANCELLED"}, "the end of what may have arrived")
    assert len(slurm.calls("sbatch")) == 1


def test_a_host_that_comes_back_gets_the_job(start: Callable[..., Suite], sshd: Sshd) -> None:
    sshd.stop()
    suite = start("true")
    log = suite.files().beside(".submit")
    wait_for(lambda: log.exists() and "cannot be reached" in log.read_text(), "an attempt")
    assert suite.state() == "submitted"
    sshd.start()
    suite.wait("complete", 60)
    assert len(slurm_calls(suite)) == 1


def slurm_calls(suite: Suite) -> list[str]:
    return suite.slurm.calls("sbatch")


def test_a_refusal_that_ecflow_did_not_hear_is_told_when_taken_up(
    start: Callable[..., Suite], slurm: Slurm, repository: Path
) -> None:
    """The submitter dies between the refusal and the abort; it is not submitted again, but told."""
    slurm.how("sbatch", "slow 2")
    suite = start("true", PARTITION="nowhere")
    wait_for(lambda: len(slurm.calls("sbatch")) == 1, "sbatch")
    job = suite.files()
    where = job.remote
    assert where is not None
    os.kill(where.submitter, signal.SIGKILL)
    job.beside(".outcome").write_text("abort no such partition\n")
    command = [sys.executable, "-I", "-S", str(repository / "src/ml_suite/hosts/job.py"), "resume", "slurm"]
    subprocess.run([*command, str(job.script), str(job.output)], check=True, capture_output=True)
    suite.wait("aborted")
    assert "no such partition" in suite.reason()
    assert len(slurm.calls("sbatch")) == 1


def test_a_chain_runs_link_after_link_as_one_task(start: Callable[..., Suite]) -> None:
    body = (
        'if [ "$ML_SUITE_LINK" -lt 3 ]; then stop walltime; fi\necho "link $ML_SUITE_LINK of $ML_SUITE_LINKS"'
    )
    suite = start(body, WALLTIME="2h")
    suite.wait("complete", 60)
    where = suite.files().remote
    assert where is not None
    assert len(where.ids) == 3
    wait_for(lambda: suite.states() == ["FAILED", "FAILED", "COMPLETED"], "the end of the chain")
    assert suite.output().splitlines()[-1] == "link 3 of 3"


@pytest.mark.parametrize("number", [1, 2])
def test_a_task_rerun_while_its_old_job_writes(start: Callable[..., Suite], number: int) -> None:
    """Queued again it is try 1 once more, run again it is try 2; the old job ends before the new one starts."""
    suite = start("run sleep 100")
    suite.wait("active")
    old = suite.files().remote
    (suite.folder / "scripts" / "t.ecf").write_text("%include <head.h>\ntrue\n%include <tail.h>\n")
    if number == 1:
        suite.client.requeue(suite.path, "force")
    else:
        suite.client.force_state(suite.path, ecflow.State.aborted)
        suite.client.run(suite.path, True)
    wait_for(lambda: suite.state() == "complete", "complete", 40)
    new = suite.files(number).remote
    assert new is not None
    assert new.key != old.key
    assert suite.slurm.states(old.key) == ["CANCELLED"]
    ended, began = suite.slurm.jobs(old.key, "%e"), suite.slurm.jobs(new.key, "%S")
    assert ended <= began
    assert number == 1 or suite.files(1).remote.state == ENDED


def test_no_password_in_what_ecflow_shows(start: Callable[..., Suite], sshd: Sshd) -> None:
    suite = start("ecflow_client --abort=x --port=1 || true", PARTITION="nowhere")
    suite.wait("aborted")
    job = suite.files()
    password = job.password
    assert password
    shown = [path for path in job.output.parent.iterdir() if path != job.script]
    assert len(shown) >= 3
    assert not [path for path in shown if password in path.read_text()]
    assert password not in suite.reason()
