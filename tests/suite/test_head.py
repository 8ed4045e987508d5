"""What head.h and tail.h do at another machine, run by bash with the lines that a submission puts before them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ml_suite.hosts.prologue import Setting, composed

SAY = """\
#!/bin/sh
printf '%s\\n' "$*" >>"$SAID"
"""


class Machine:
    """A folder of a job, a client that writes down what it is told, and the job's script."""

    def __init__(self, folder: Path, scripts: Path, body: str, links: int) -> None:
        self.folder, self.said = folder / "jobs" / "key", folder / "said"
        self.folder.mkdir(parents=True)
        (folder / "bin").mkdir()
        client = folder / "bin" / "ecflow_client"
        client.write_text(SAY)
        client.chmod(0o755)
        parts = [(scripts / "include" / name).read_text() for name in ("head.h", "tail.h")]
        text = re.sub(r"%[A-Z_]+:([^%]*)%", r"\1", f"{parts[0]}\n{body}\n{parts[1]}")
        text = re.sub(r"%([A-Z_]+)%", r"/\1", text).replace("%%", "%")
        setting = Setting(self.folder, "far", Path("python3"), folder / "lib", folder / "r.json", links=links)
        (self.folder / "script").write_text(composed(text, [], setting))
        self.path = f"{folder / 'bin'}:{os.environ['PATH']}"

    def start(self, number: str, link: int = 1) -> subprocess.Popen[str]:
        """Start it as Slurm job NUMBER."""
        return subprocess.Popen(
            ["bash", str(self.folder / "script"), str(link)],
            env={"PATH": self.path, "SAID": str(self.said), "SLURM_JOB_ID": number, "HOME": "/"},
            stdout=(self.folder / "output").open("a"),
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, number: str, link: int = 1) -> int:
        """Run it to its end."""
        job = self.start(number, link)
        code = job.wait(60)
        assert "unbound" not in (self.folder / "output").read_text()
        return code

    def told(self) -> list[str]:
        """What ecFlow was told."""
        return self.said.read_text().splitlines() if self.said.exists() else []

    def outcome(self) -> list[str]:
        return (self.folder / "outcome").read_text().splitlines()

    def until(self, name: str) -> None:
        """Wait for a file."""
        deadline = time.monotonic() + 20
        while not (self.folder / name).exists():
            assert time.monotonic() < deadline, f"no {name}"
            time.sleep(0.02)


@pytest.fixture
def scripts(repository: Path) -> Path:
    return repository / "suites" / "scripts"


WAITING = (
    'run sh -c \'sleep 60 & trap "echo > $ML_SUITE_JOB/warned; kill $!; exit 1" TERM; '
    ": > $ML_SUITE_JOB/began; wait'"
)


def test_a_job_tells_its_number_and_its_end(tmp_path: Path, scripts: Path) -> None:
    machine = Machine(tmp_path, scripts, "run true", links=1)
    assert machine.run("42") == 0
    assert machine.told() == ["--init=42", "--complete"]
    assert machine.outcome() == ["complete", "said"]


def test_why_a_host_was_chosen_is_a_label(tmp_path: Path, scripts: Path) -> None:
    machine = Machine(tmp_path, scripts, "run true", links=1)
    script = machine.folder / "script"
    script.write_text(
        script.read_text().replace(
            "export ML_SUITE_HOST", "export ML_SUITE_PLACED='far: empty'\nexport ML_SUITE_HOST", 1
        )
    )
    assert machine.run("42") == 0
    assert machine.told() == ["--init=42", "--label=place far: empty", "--complete"]


def test_a_failure_is_told_with_the_reason_that_the_work_left(tmp_path: Path, scripts: Path) -> None:
    body = "run sh -c 'echo the disk is full > $ML_SUITE_REASON; exit 3'"
    machine = Machine(tmp_path, scripts, body, links=3)
    assert machine.run("42") == 1
    assert machine.told()[-1] == "--abort=the disk is full"
    assert machine.run("43", link=2) == 0, "a later job of the chain has nothing to do"
    assert len(machine.told()) == 2


def test_a_chain_goes_on_after_the_warning_and_ends_once(tmp_path: Path, scripts: Path) -> None:
    machine = Machine(tmp_path, scripts, WAITING, links=2)
    first = machine.start("42")
    machine.until("began")
    os.kill(first.pid, signal.SIGTERM)  # as Slurm warns: the script alone
    first.wait(30)
    assert first.returncode == 75
    assert (machine.folder / "warned").exists(), "the work was told to end"
    assert machine.outcome() == ["again"]
    assert machine.told() == ["--init=42"]

    (machine.folder / "began").unlink()
    last = machine.start("43", link=2)
    machine.until("began")
    os.kill(last.pid, signal.SIGTERM)
    last.wait(30)
    assert machine.told() == ["--init=42"], "the scheduler is asked why"
    assert machine.outcome() == ["stopped by TERM"]
    assert last.returncode == 143


def test_a_cancelled_chain_does_not_go_on(tmp_path: Path, scripts: Path) -> None:
    machine = Machine(tmp_path, scripts, WAITING, links=2)
    job = machine.start("42")
    machine.until("began")
    (machine.folder / "withdrawn").touch()
    os.killpg(job.pid, signal.SIGTERM)
    job.wait(30)
    assert machine.told()[-1] == "--abort=stopped by TERM (kill, walltime or preemption)"


def test_a_second_copy_of_a_job_is_harmless(tmp_path: Path, scripts: Path) -> None:
    machine = Machine(tmp_path, scripts, WAITING, links=1)
    job = machine.start("42")
    machine.until("began")
    assert machine.run("43") == 0
    assert machine.told() == ["--init=42"]
    os.killpg(job.pid, signal.SIGTERM)
    job.wait(30)
