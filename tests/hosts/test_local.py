"""Jobs on this machine under a real ecFlow server: what they say, and what is said for them when they cannot."""

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

from ml_suite.hosts import local
from ml_suite.hosts.jobfile import JobFiles, alive, start_time

JOB = "src/ml_suite/hosts/job.py"


@dataclass
class Suite:
    """One suite with one task whose body a test chooses."""

    client: ecflow.Client
    folder: Path
    name: str

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

    def wait(self, *states: str, seconds: float = 20) -> str:
        return (
            until(lambda: (s := self.state()) in states and s, seconds, f"{self.path} is {self.state()}")
            or ""
        )


def until(condition: Callable[[], object], seconds: float, what: str) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := condition():
            return str(answer)
        time.sleep(0.1)
    pytest.fail(f"after {seconds} s: {what}")


def members(group: int) -> list[str]:
    """Processes of a process group that are not zombies."""
    done = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in done.stdout.splitlines()]
    return [row[2] for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


@pytest.fixture
def start(ecflow_address: tuple[str, int], tmp_path: Path, repository: Path) -> Callable[..., Suite]:
    """Start a suite whose only task runs a body between our own headers."""

    def run(body: str, **variables: str) -> Suite:
        name = f"local_{os.getpid()}_{time.monotonic_ns()}"
        command = f"{sys.executable} -I -S {repository / JOB}"
        scripts = tmp_path / "scripts"
        scripts.mkdir()
        (scripts / "t.ecf").write_text(f"%include <head.h>\n{body}\n%include <tail.h>\n")
        defs = ecflow.Defs()
        suite = defs.add_suite(name)
        values = {
            "ECF_HOME": tmp_path / "jobs",
            "ECF_FILES": scripts,
            "ECF_INCLUDE": repository / "suites" / "scripts" / "include",
            "ECF_JOB_CMD": f"{command} submit local %ECF_JOB% %ECF_JOBOUT%",
            "ECF_KILL_CMD": f"{command} kill local %ECF_JOB% %ECF_JOBOUT%",
            "ECF_STATUS_CMD": f"{command} status local %ECF_JOB% %ECF_JOBOUT%",
            "ECF_TRIES": "1",
            "ML_SUITE_RESOLVED": "/nowhere/resolved.json",
            "ML_SUITE_HOST": "local",
            "ML_SUITE_CYCLE": "once",
            "ML_SUITE_SERVER": ecflow_address[0],
            "ML_SUITE_LIB": repository / "src",
            "ML_SUITE_PYTHON": sys.executable,
            **variables,
        }
        for key, value in values.items():
            suite.add_variable(key, str(value))
        suite.add_task("t")
        client = ecflow.Client(*ecflow_address)
        (tmp_path / "jobs").mkdir(mode=0o700)
        client.load(defs)
        client.begin_suite(name)
        return Suite(client, tmp_path, name)

    return run


def test_job_completes_and_its_files_are_private(start: Callable[..., Suite]) -> None:
    suite = start("echo hello; env | sort")
    suite.wait("complete")
    files = suite.files()
    assert files.output.read_text().startswith("hello\n")
    assert files.outcome == ("complete", True)
    private = [p for p in files.output.parent.iterdir() if p.stat().st_mode & 0o077]
    assert private == []
    assert "ECF_PASSWD" not in files.output.read_text(), "the server's environment stays with the server"


def test_failing_command_aborts_with_its_line(start: Callable[..., Suite]) -> None:
    suite = start("true\nfalse\n")
    suite.wait("aborted")
    assert "exit code 1 at line" in suite.reason()


def test_reason_that_the_job_wrote_is_what_an_operator_reads(start: Callable[..., Suite]) -> None:
    suite = start('echo "no group 3 in x.zarr" > "$ML_SUITE_REASON"; exit 4')
    suite.wait("aborted")
    assert "no group 3 in x.zarr" in suite.reason()


def test_job_that_is_killed_dead_is_aborted_with_the_signal(start: Callable[..., Suite]) -> None:
    suite = start("sleep 60")
    suite.wait("active")
    running = suite.files().running
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    suite.wait("aborted")
    assert "SIGKILL" in suite.reason()
    assert not alive(running.pid, running.started)


def test_kill_from_ecflow_stops_everything_that_the_job_started(start: Callable[..., Suite]) -> None:
    suite = start("sleep 61 & sleep 62")
    suite.wait("active")
    running = suite.files().running
    assert running is not None
    suite.client.kill(suite.path)
    suite.wait("aborted")
    assert "TERM" in suite.reason()
    until(lambda: not members(running.pid), 5, f"left over: {members(running.pid)}")


def test_job_that_ignores_term_is_killed(
    start: Callable[..., Suite], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "GRACE", 0.5)
    suite = start("trap '' TERM; while :; do sleep 0.2 || :; done")
    suite.wait("active")
    time.sleep(0.5)
    assert local.kill(suite.files()).startswith("ended by KILL")
    suite.wait("aborted")
    assert local.kill(suite.files()) == "nothing to kill: it has ended"


def test_failing_submission_aborts_at_once_with_the_reason(start: Callable[..., Suite]) -> None:
    begun = time.monotonic()
    suite = start("true", ECF_OUT="/proc/nowhere")
    suite.wait("aborted", seconds=10)
    assert time.monotonic() - begun < 10
    assert "submission failed" in suite.reason()


def test_status_says_where_the_job_runs(start: Callable[..., Suite]) -> None:
    suite = start("sleep 60")
    suite.wait("active")
    running = suite.files().running
    assert running is not None
    assert local.status(suite.files()) == f"running, pid {running.pid}"
    assert local.status(JobFiles(suite.folder / "no", suite.folder / "no.1")).startswith("unknown")
    local.kill(suite.files())
    suite.wait("aborted")


def test_sweep_aborts_a_job_that_vanished_with_its_keeper(start: Callable[..., Suite]) -> None:
    suite = start("sleep 60")
    suite.wait("active")
    running = suite.files().running
    assert running is not None
    os.kill(running.keeper, signal.SIGKILL)
    until(lambda: not alive(running.keeper, running.keeper_started), 5, "keeper lives")
    assert local.sweep(suite.folder / "jobs") == [], "a job without its keeper is still a job"
    os.killpg(running.pid, signal.SIGKILL)
    until(lambda: not alive(running.pid, running.started), 5, "job lives")
    told = local.sweep(suite.folder / "jobs")
    assert len(told) == 1
    assert "vanished" in told[0]
    suite.wait("aborted")
    assert "vanished" in suite.reason()
    assert local.sweep(suite.folder / "jobs") == [], "told once"


def test_recycled_pid_is_not_taken_for_the_job() -> None:
    own = start_time(os.getpid())
    assert own is not None
    assert alive(os.getpid(), own)
    assert not alive(os.getpid(), own + 1)


def test_usage_error_says_how(repository: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(repository / JOB), "submit", "teleport", "a", "b"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("usage: job.py submit|status|kill")
