"""The sweep over a real sshd and a real ecFlow server; Slurm is played: it shows few of its states on demand."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import ecflow
import pytest

from ml_suite.hosts import reach, standing
from ml_suite.hosts.deputy import Job, Voice
from ml_suite.hosts.jobfile import ENDED, SUBMITTING, JobFiles, Remote, files_of, start_time
from ml_suite.hosts.jobhost import Ask, JobHost, JobHosts
from ml_suite.hosts.order import key_of_job
from ml_suite.hosts.sweep import Sweep
from tests.ecflow_fixture import registered_port, start_server, stop_server
from tests.hosts.sshd_fixture import NAME, Sshd

SQUEUE = """\
#!/bin/sh
for word; do
    case $word in
        --name=*) name=${{word#--name=}} ;;
        --format=*) format=${{word#--format=}} ;;
    esac
done
[ "$name" ] || echo squeue >>{there}/asked
case $format in
    *%j) cat {there}/squeue ;;
    %i) grep "|$name$" {there}/squeue | cut -d'|' -f1 ;;
    *) grep "|$name$" {there}/squeue | cut -d'|' -f1,2,6 | sed 's/NODE_FAIL/NF/; s/PENDING/PD/; s/RUNNING/R/' ;;
esac
exit $(cat {there}/squeue.code)
"""
SACCT = """\
#!/bin/sh
echo "sacct $*" >>{there}/asked
cat {there}/sacct
exit $(cat {there}/sacct.code)
"""
SCANCEL = """\
#!/bin/sh
echo "scancel $*" >>{there}/asked
for id in "$@"; do sed -i "s/^$id|[A-Z]*|/$id|CANCELLED|/" {there}/squeue; done
"""
SBATCH = """\
#!/bin/sh
echo "sbatch $*" >>{there}/asked
[ ! -e {there}/sbatch.says ] || {{ cat {there}/sbatch.says >&2; exit 1; }}
for script; do case $script in */script) name=$(sed -n 's/^#SBATCH --job-name=//p' "$script") ;; esac; done
echo "90|PENDING|Resources||0:00|2026-11-26T03:00:00|$name" >>{there}/squeue
echo 90
"""


@dataclass
class Scene:
    """A suite whose tasks were submitted to a host, and what Slurm says there."""

    client: ecflow.Client
    suite: str
    way: reach.Reach
    folder: Path
    there: Path
    """Of the played Slurm."""
    work: Path
    """Of the host."""
    told: list[str] = field(default_factory=list)
    now: float = 0.0

    @property
    def jobs(self) -> Path:
        return self.folder / "ml" / "jobs"

    def task(self, name: str = "t") -> ecflow.Task:
        self.client.sync_local()
        return self.client.get_defs().find_abs_node(f"/{self.suite}/{name}")

    def state(self, name: str = "t") -> str:
        return str(self.task(name).get_state())

    def reason(self, name: str = "t") -> str:
        return str(self.task(name).get_aborted_reason())

    def files(self, name: str = "t") -> JobFiles:
        return files_of(self.jobs / self.suite / f"{name}.1")

    def remote(self, name: str = "t") -> Remote:
        found = self.files(name).remote
        assert found
        return found

    def submitted(self, name: str = "t", ids: tuple[str, ...] = ("42",), begun: bool = True) -> Path:
        """The task's job is with Slurm; its folder at the host."""
        files = self.files(name)
        until(
            lambda: self.state(name) == "submitted" and files.script.exists(), f"{name} is {self.state(name)}"
        )
        key = key_of_job(files.credentials())
        folder = self.work / "jobs" / key
        folder.mkdir(parents=True)
        (folder / "output").write_text(f"hello from {name}\nloss 0.5 at step 12\n")
        (folder / "id").write_text("".join(f"{one}\n" for one in ids))
        (folder / "rid").write_text(f"{ids[0]}\n")
        files.remember(Remote(NAME, key, str(folder), ids, state="submitted", rid=ids[0]))
        if begun:
            self.says(name, "--init=42")
            (folder / "claim.1").mkdir()
            (folder / "claim.1" / "id").write_text("42\n")
        return folder

    def says(self, name: str, option: str) -> None:
        """What the job itself says."""
        environment = {**os.environ, **self.files(name).credentials(), "ECF_RID": "42", "ECF_TIMEOUT": "20"}
        subprocess.run(["ecflow_client", option], env=environment, check=True)

    def slurm(self, *states: str, name: str = "t") -> None:
        """What squeue shows: ID|STATE, the job's name is added."""
        rows = [f"{one}|None|n1|1:00|2026-11-26T02:00:00|{self.remote(name).key}\n" for one in states]
        (self.there / "squeue").write_text(
            "1|RUNNING|None|n1|1:00|2026-11-26T02:00:00|another\n" + "".join(rows)
        )

    def accounts(self, text: str, code: int = 0) -> None:
        (self.there / "sacct").write_text(text)
        (self.there / "sacct.code").write_text(f"{code}\n")

    def look(self, times: int = 1, seconds: float = 60) -> list[str]:
        """Look again and again; what was told."""
        before = len(self.told)
        for _ in range(times):
            self.now += seconds
            sweep = Sweep(self.way, self.folder / "sweep.json", self.told.append, lambda: self.now)
            sweep.run(self.jobs)
        return self.told[before:]

    @property
    def asked(self) -> list[str]:
        """Commands of Slurm that were called."""
        return (self.there / "asked").read_text().splitlines() if (self.there / "asked").exists() else []


def until(condition: Callable[[], object], what: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


@pytest.fixture
def scene(
    sshd: Sshd, ecflow_address: tuple[str, int], tmp_path: Path, repository: Path
) -> Callable[..., Scene]:
    """Load a suite with tasks of these names."""

    def made(*names: str, server: tuple[str, int] = ecflow_address) -> Scene:
        there, work = tmp_path / "slurm", tmp_path / "work"
        there.mkdir()
        for name, text in (("squeue", SQUEUE), ("sacct", SACCT), ("scancel", SCANCEL), ("sbatch", SBATCH)):
            (there / "bin").mkdir(exist_ok=True)
            (there / "bin" / name).write_text(text.format(there=there))
            (there / "bin" / name).chmod(0o755)
        for name in ("squeue", "sacct"):
            (there / name).write_text("")
            (there / f"{name}.code").write_text("0\n")
        sshd.stop()
        sshd.options = [f"SetEnv PATH={there}/bin:/usr/bin:/bin"]
        sshd.start()
        reach.save((sshd.way, sshd.way))
        suite = f"sweep_{os.getpid()}_{time.monotonic_ns()}"
        scene = Scene(ecflow.Client(*server), suite, sshd.way, tmp_path, there, work)
        scripts = tmp_path / "scripts"
        scripts.mkdir()
        scene.jobs.mkdir(parents=True)
        for part in ("lib/ml_suite", "files", "jobs"):
            (work / part).mkdir(parents=True)
        facts = JobHost(work, "python3", work / "lib", work / "lib", work / "files", work / "files", ())
        facts = replace(facts, resources={"train": Ask(walltime="1h")})
        JobHosts(tmp_path / "ml", suite, tmp_path, {NAME: facts}).save(tmp_path / "hosts.json")
        defs = ecflow.Defs()
        node = defs.add_suite(suite)
        values = {
            "ECF_HOME": scene.jobs,
            "ECF_FILES": scripts,
            "ECF_INCLUDE": repository / "suites" / "scripts" / "include",
            "ECF_JOB_CMD": "true",
            "ECF_TRIES": "1",
            "ML_SUITE_FACTS": tmp_path / "hosts.json",
            "ML_SUITE_RESOURCES": "train",
            "ML_SUITE_RESOLVED": "/nowhere/resolved.json",
            "ML_SUITE_HOST": NAME,
            "ML_SUITE_PLACES": NAME,
            "ML_SUITE_CYCLE": "once",
            "ML_SUITE_SERVER": server[0],
            "ML_SUITE_LIB": repository / "src",
            "ML_SUITE_PYTHON": sys.executable,
        }
        for key, value in values.items():
            node.add_variable(key, str(value))
        for name in names or ("t",):
            (scripts / f"{name}.ecf").write_text("%include <head.h>\ntrue\n%include <tail.h>\n")
            node.add_task(name).add_label("job", "")
        scene.client.load(defs)
        scene.client.begin_suite(suite)
        return scene

    return made


def test_a_job_that_runs_is_left_alone_and_one_round_trip_asks_for_all(
    scene: Callable[..., Scene], sshd: Sshd
) -> None:
    s = scene("a", "b")
    s.submitted("a", ("42",))
    s.submitted("b", ("43",), begun=False)
    s.slurm("42|RUNNING", name="a")
    (s.there / "squeue").write_text(
        (s.there / "squeue").read_text() + f"43|PENDING|Priority||0:00|x|{s.remote('b').key}\n"
    )
    assert s.look(5) == []
    assert (s.state("a"), s.state("b")) == ("active", "submitted")
    assert s.asked == ["squeue"] * 5, "the accounts are asked only for jobs that the queue does not show"
    assert sshd.sessions_opened == 5
    assert not s.files("a").output.exists()


def test_no_job_no_question(scene: Callable[..., Scene], sshd: Sshd) -> None:
    s = scene()
    assert s.look() == []
    assert sshd.connections == 0


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("TIMEOUT", "it reached its walltime on n1 after 1:00, last words: loss 0.5 at step 12"),
        (
            "OUT_OF_MEMORY",
            "it used more memory than it may on n1 after 1:00, last words: loss 0.5 at step 12",
        ),
        ("CANCELLED", "it was cancelled on n1 after 1:00"),
        ("FAILED", "failed on n1 after 1:00, last words: loss 0.5 at step 12"),
    ],
)
def test_a_job_that_ended_without_a_word_aborts_its_task(
    scene: Callable[..., Scene], state: str, reason: str
) -> None:
    s = scene()
    s.submitted()
    s.slurm(f"42|{state}")
    s.accounts("Slurm accounting storage is disabled\n", 1)
    assert s.look() == []
    assert s.state() == "active"
    assert s.look() == [f"/{s.suite}/t try 1: abort Slurm job 42: {reason}"]
    assert (s.state(), s.reason()) == ("aborted", f"Slurm job 42: {reason}")
    assert s.files().output.read_text() == (
        f"hello from t\nloss 0.5 at step 12\nsweep: abort Slurm job 42: {reason}\n"
    )
    assert s.files().output.stat().st_mode & 0o077 == 0
    # the record is closed when a crash of the server can no longer undo it
    assert s.look(3) == []
    (line,) = s.look(4)
    assert f"/{s.suite}/t try 1: ended" in line
    assert s.remote().state == ENDED
    assert s.look() == []
    assert s.files().password not in " ".join(s.told) + s.files().output.read_text()


def test_the_accounts_know_what_the_queue_has_forgotten(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.submitted()
    s.slurm()
    key = s.remote().key
    s.accounts(f"JobID|State|ExitCode|JobName\n42|OUT_OF_MEMORY|0:125|{key}\n")
    s.look(2)
    assert s.asked[1].startswith("sacct --parsable2")
    assert s.asked[1].endswith("--jobs=42")
    assert "used more memory" in s.reason()


@pytest.mark.parametrize("word", ["complete", "abort out of tune"])
def test_what_a_job_could_not_say_is_said(scene: Callable[..., Scene], word: str) -> None:
    s = scene()
    folder = s.submitted()
    s.slurm("42|COMPLETED")
    (folder / "outcome").write_text(f"{word}\n")
    (line,) = s.look()
    assert line.startswith(f"/{s.suite}/t try 1: {word}")
    assert (s.state(), s.reason()) == (("complete", "") if word == "complete" else ("aborted", "out of tune"))


def test_what_the_server_forgot_is_said_again_after_two_minutes(scene: Callable[..., Scene]) -> None:
    s = scene()
    folder = s.submitted()
    s.slurm("42|COMPLETED")
    (folder / "outcome").write_text("complete\nsaid\n")
    assert s.look(2) == []
    assert s.state() == "active"
    assert s.look(1) == [f"/{s.suite}/t try 1: complete (the server has forgotten what it said)"]
    assert s.state() == "complete"
    assert s.look(7) == [f"/{s.suite}/t try 1: ended: complete"]


def test_a_server_that_crashed_is_told_again_what_it_forgot(
    scene: Callable[..., Scene], tmp_path: Path
) -> None:
    port = registered_port()
    process = start_server(tmp_path / "server", port)
    try:
        s = scene(server=("localhost", port))
        s.client.restart_server()
        folder = s.submitted()
        s.slurm("42|COMPLETED")
        s.client.checkpt()
        (folder / "outcome").write_text("complete\n")
        s.says("t", "--complete")
        (folder / "outcome").write_text("complete\nsaid\n")
        s.look(2)
        assert s.state() == "complete"
        process.kill()
        process.wait()
        assert "does not answer" in s.look()[0]
        process = start_server(tmp_path / "server", port)
        s.client.restart_server()
        assert s.state() == "active", "it goes on from its checkpoint"
        lines = s.look(3)
        assert lines == [f"/{s.suite}/t try 1: complete (the server has forgotten what it said)"]
        assert s.state() == "complete"
    finally:
        stop_server(process, port)


def test_nothing_overtakes_the_relay(scene: Callable[..., Scene]) -> None:
    s = scene()
    folder = s.submitted()
    s.slurm("42|COMPLETED")
    (folder / "outcome").write_text("complete\nsaid\n")
    command = s.work / "spool" / "new" / f"{s.suite}.t.1.1795236596-77.000000012"
    command.parent.mkdir(parents=True)
    command.touch()
    s.look(5, seconds=3600)
    assert s.state() == "active"
    command.rename(command.with_name(f"{s.suite}.other.1.1-1.000000001"))
    batch = s.folder / "ml" / "relay" / f"{NAME}-12345678" / "inbox" / "000000000001.tar"
    batch.parent.mkdir(parents=True)
    batch.touch()
    s.look(5, seconds=3600)
    assert s.state() == "active"
    batch.unlink()
    s.look(4)
    assert s.state() == "complete"


def test_a_node_that_failed_costs_no_try(scene: Callable[..., Scene]) -> None:
    s = scene()
    folder = s.submitted()
    s.slurm("42|NODE_FAIL")
    assert s.look() == []
    assert s.look() == [
        f"/{s.suite}/t try 1: submitted again as Slurm job 90: Slurm job 42: a node failed on n1 after 1:00"
    ]
    assert (s.state(), s.task().get_int_try_no()) == ("active", 1)
    remote = s.remote()
    assert (remote.ids, remote.resubmissions, remote.state) == (("42", "90"), 1, "submitted")
    assert "submitted again as Slurm job 90" in next(label.new_value() for label in s.task().labels)
    assert [line for line in s.asked if line.startswith("sbatch")][1:] == []
    assert s.look(5, seconds=3600) == [], "the new one waits"
    assert folder.exists()


def test_a_node_fails_for_the_sixth_time(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.submitted()
    s.files().remember(replace(s.remote(), resubmissions=5))
    s.slurm("42|NODE_FAIL")
    s.look(2)
    assert s.state() == "aborted"
    assert s.reason().endswith("submitted again 5 times: 42 NODE_FAIL")
    assert not [line for line in s.asked if line.startswith("sbatch")]


def test_slurm_refuses_the_next_job(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.submitted()
    s.slurm("42|NODE_FAIL")
    (s.there / "sbatch.says").write_text("sbatch: error: Invalid account or account/partition combination\n")
    s.look(2)
    assert s.state() == "aborted"
    assert "a node failed" in s.reason()
    assert "Invalid account" in s.reason()


def test_it_is_not_known_whether_slurm_took_the_next_job(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.submitted()
    s.slurm("42|NODE_FAIL")
    (s.there / "sbatch.says").write_text("sbatch: error: Batch job submission failed: Socket timed out\n")
    (line,) = s.look(2)
    assert "could not be submitted again" in line
    assert s.state() == "active"
    # it did: the job appears under its name, and nobody has its number on record
    s.slurm("42|NODE_FAIL", "91|RUNNING")
    assert s.look(8, seconds=3600) == []
    assert s.state() == "active"
    assert len([line for line in s.asked if line.startswith("sbatch")]) == 1


def test_a_host_that_cannot_be_asked_fails_nothing(scene: Callable[..., Scene], sshd: Sshd) -> None:
    s = scene()
    s.submitted()
    sshd.stop()
    command = [sys.executable, "-m", "ml_suite.hosts.sweep", NAME]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{NAME} could not be asked, its jobs stay as they are: ")
    assert s.state() == "active"


@pytest.mark.parametrize(
    ("queue", "accounts"),
    [
        ("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", None),
        (None, "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection"),
        (None, "JobID|State|JobName\n42|RUNNING|KEY\n"),
        ("42|ON_FIRE|None|n1|1:00|x|KEY", None),
    ],
)
def test_what_slurm_cannot_say_fails_nothing(
    scene: Callable[..., Scene], queue: str | None, accounts: str | None
) -> None:
    s = scene()
    s.submitted()
    s.slurm()
    key = s.remote().key
    if queue:
        (s.there / "squeue").write_text(queue.replace("KEY", key) + "\n")
        (s.there / "squeue.code").write_text("1\n" if "error" in queue else "0\n")
    if accounts:
        s.accounts(accounts.replace("KEY", key), 1 if "error" in accounts else 0)
    s.look(10, seconds=3600)
    assert (s.state(), s.remote().state) == ("active", "submitted")
    assert s.remote().ids == ("42",)


def test_a_job_that_nobody_knows_vanishes_after_ten_minutes(scene: Callable[..., Scene]) -> None:
    s = scene()
    folder = s.submitted()
    s.slurm()
    s.look(8)
    with (folder / "output").open("a") as output:
        output.write("still here\n")
    s.look(10)
    assert s.state() == "active", "its output grew"
    s.look(2)
    assert s.state() == "aborted"
    assert s.reason() == (
        "vanished: Slurm job 42: Slurm does not know it, and it left no word, last words: still here"
    )


def test_a_job_that_vanished_before_it_began_is_submitted_again(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.submitted(begun=False)
    s.slurm()
    assert s.look(10) == []
    (line,) = s.look(2)
    assert "submitted again as Slurm job 90" in line
    assert s.state() == "submitted"


def test_another_job_with_its_number_is_not_it(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.submitted()
    (s.there / "squeue").write_text("42|RUNNING|None|n1|1:00|2026-11-26T02:00:00|someone.elses.job\n")
    s.look(12)
    assert s.state() == "aborted"
    assert not [line for line in s.asked if line.startswith("scancel")]


def test_a_job_that_waits_for_ever_is_told_once(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.submitted(begun=False)
    key = s.remote().key
    (s.there / "squeue").write_text(f"42|PENDING|InvalidQOS||0:00|x|{key}\n")
    (line,) = s.look(5)
    assert "it waits for ever: there is no such QOS" in line
    assert s.state() == "submitted"
    assert "for ever" in next(label.new_value() for label in s.task().labels)


def test_a_task_run_again_while_its_old_job_still_writes(scene: Callable[..., Scene]) -> None:
    s = scene()
    folder = s.submitted()
    s.slurm("42|RUNNING", "43|PENDING")
    s.client.suspend(f"/{s.suite}")
    s.client.requeue(f"/{s.suite}/t", "force")
    assert s.look() == []
    (line,) = s.look()
    assert line.endswith("its task was queued again, and it still runs: cancelled")
    assert s.asked[-1] == "scancel 42 43"
    assert (folder / "withdrawn").exists()
    (line,) = s.look(2)
    assert line.endswith("ended: its task was queued again")
    assert s.remote().state == ENDED


def test_a_later_submission_has_taken_its_place(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.submitted()
    s.slurm("42|RUNNING")
    before = s.files().script.read_text()
    s.client.requeue(f"/{s.suite}/t", "force")
    until(
        lambda: s.state() == "submitted" and s.files().script.read_text() != before, "it is submitted again"
    )
    (line,) = s.look()
    assert "a later submission has taken its place" in line
    assert s.asked[-1] == "scancel 42"
    assert s.state() == "submitted", "nothing is said with the later one's password"
    s.look()
    assert s.remote().state == ENDED


def test_a_suite_that_was_deleted_may_come_back(scene: Callable[..., Scene]) -> None:
    s = scene()
    s.submitted()
    s.slurm("42|RUNNING")
    s.client.delete(f"/{s.suite}", True)
    s.look(10)
    assert not [line for line in s.asked if line.startswith("scancel")]
    s.look()
    assert s.asked[-1] == "scancel 42"


def test_a_server_that_does_not_answer_fails_nothing(scene: Callable[..., Scene], free_port: int) -> None:
    s = scene()
    folder = s.submitted()
    script = s.files().script
    text = script.read_text()
    port = s.files().credentials()["ECF_PORT"]
    script.write_text(text.replace(f"ECF_PORT='{port}'", f"ECF_PORT='{free_port}'"))
    s.slurm("42|COMPLETED")
    (folder / "outcome").write_text("complete\n")
    (line,) = s.look(2)
    assert "does not say what it has" in line
    script.write_text(text)
    assert s.look() == [f"/{s.suite}/t try 1: complete (it could not say how it ended)"]


def test_a_submission_whose_process_died_is_taken_up(
    scene: Callable[..., Scene], monkeypatch: pytest.MonkeyPatch
) -> None:
    s = scene()
    folder = s.submitted(begun=False)
    s.slurm()
    (folder / "id").unlink()
    (folder / "rid").unlink()
    dead = subprocess.Popen(["true"])
    dead.wait()
    s.files().remember(replace(s.remote(), ids=(), state=SUBMITTING, submitter=dead.pid, submitter_started=1))
    (line,) = s.look()
    assert "the process that submitted it died: taken up again, pid " in line
    until(lambda: s.remote().ids == ("90",), f"{s.remote()}")
    # one that is at work is left alone
    mine = replace(s.remote(), state=SUBMITTING, submitter=os.getpid())
    s.files().remember(replace(mine, submitter_started=start_time(os.getpid()) or 0))
    assert s.look() == []


def test_a_submission_is_taken_up_before_it_has_a_host(scene: Callable[..., Scene]) -> None:
    s = scene("a", "b")
    for name in ("a", "b"):
        s.submitted(name, begun=False)
        s.files(name).remember(Remote("", "", "", submitter=1, submitter_started=1))
    lines = s.look()
    assert [line.partition(":")[0] for line in lines] == [f"/{s.suite}/{name} try 1" for name in ("a", "b")]
    assert all("taken up again, pid " in line for line in lines)
    until(lambda: {s.remote(name).state for name in ("a", "b")} == {"submitted"}, "both are submitted")


def test_a_long_output_is_cut_in_front(scene: Callable[..., Scene]) -> None:
    s = scene()
    folder = s.submitted()
    (folder / "output").write_bytes(b"x" * 300_000 + b"\n\xff\xfe the end\n")
    s.slurm("42|COMPLETED")
    (folder / "outcome").write_text("complete\n")
    s.look()
    text = s.files().output.read_text()
    assert text.startswith("[")
    assert f"bytes before this are in {NAME}:{folder}/output]\n" in text
    assert text.endswith(" the end\n")
    assert 190_000 < len(text) < 210_000


def test_one_sweep_at_a_time(scene: Callable[..., Scene], sshd: Sshd) -> None:
    s = scene()
    s.submitted()
    s.slurm("42|RUNNING")
    lock = s.folder / "ml" / "sweep" / f"{NAME}.lock"
    lock.parent.mkdir()
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n"]
    command[-1] += f"from ml_suite.hosts.sweep import main; sys.exit(main(['{NAME}', '--once']))"
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"another sweep of {NAME} is at work\n"
    assert sshd.sessions_opened == 0
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, s.asked) == ("", ["squeue"])
    state = json.loads((s.folder / "ml" / "sweep" / f"{NAME}.json").read_text())
    assert list(state) == [s.remote().key]


def test_the_embedded_server_gets_its_users_password_and_no_other_server_does(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ECF_PASSWD", raising=False)
    address = home.parent / "ml" / "services" / "ecflow" / "address.json"
    address.parent.mkdir(parents=True)
    address.write_text('{"host": "localhost", "port": 3141, "passwd": "/p/ecf.passwd"}')
    assert standing.environment("localhost", "3141")["ECF_PASSWD"] == "/p/ecf.passwd"
    assert "ECF_PASSWD" not in standing.environment("localhost", "3142")
    monkeypatch.setenv("ECF_PASSWD", "/mine")
    assert standing.environment("localhost", "3141")["ECF_PASSWD"] == "/mine"


@pytest.mark.parametrize(
    ("text", "standing_", "rid"),
    [
        ("  task t # passwd:abc rid:42 try:2 state:active", "busy", "42"),
        ("  task t # passwd:abc try:2 state:submitted", "busy", ""),
        ("  task t # passwd:abc rid:42 abort<:x state:active>abort try:2 state:aborted", "ended", "42"),
        ("  task t # passwd:abc rid:42 try:2 state:complete dur:00:00:01", "ended", "42"),
        ("  task t # try:2 state:complete", "ended", ""),
        ("  task t # try:3 state:complete", "another", ""),
        ("  task t # passwd:abc try:3 state:active", "another", ""),
        ("  task t # passwd:xyz try:2 state:aborted", "another", ""),
        ("  task t # state:queued flag:message", "queued", ""),
        ("  task t # state:complete", "queued", ""),
        ("  task t", "queued", ""),
        ("  family t # state:queued", "gone", ""),
    ],
)
def test_what_the_server_has_in_its_place(text: str, standing_: str, rid: str) -> None:
    place = standing.read(text + '\n    label job "x"\n', {"ECF_PASS": "abc", "ECF_TRYNO": "2"})
    assert (place.standing.value, place.rid) == (standing_, rid)
    assert standing_ in ("gone", "unknown") or place.labels == ("job",)


def test_a_voice_keeps_the_password_that_was_judged(tmp_path: Path) -> None:
    files = JobFiles(tmp_path / "t.job1", tmp_path / "t.1")
    files.script.write_text("export ECF_PASS='later'\n")
    voice = Voice.of(Job(files, Remote("h", "k", "/f", ("1",)), {"ECF_PASS": "judged"}), "7")
    assert voice.credentials() == {"ECF_PASS": "judged"}
    assert voice.remote.rid == "7"
