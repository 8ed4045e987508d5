"""Submission to a real Slurm behind a real sshd: one job per submission by ecFlow, whatever breaks."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from ml_suite.errors import HostError, OutcomeUnknown
from ml_suite.hosts import doorstep, jobhost, mux, order, reach, ship, slurm, states, submission
from ml_suite.hosts.jobfile import ENDED, PLACING, SUBMITTED, SUBMITTING, JobFiles, Remote
from ml_suite.hosts.jobhost import Ask, JobHost, JobHosts
from ml_suite.hosts.submission import Parcel, Refused
from tests.hosts.slurm_fixture import Slurm
from tests.hosts.sshd_fixture import NAME, Sshd, wait_for

JOB = Path(__file__).resolve().parents[2] / "src/ml_suite/hosts/job.py"
SECRET = "pXq7SeCrEt9"


@dataclass
class Site:
    """A suite on this machine whose jobs go to a Slurm behind ssh."""

    folder: Path
    sshd: Sshd
    slurm: Slurm
    facts: Path

    def job(
        self, body: str = "true", name: str = "t", number: int = 1, password: str = SECRET, **asked: str
    ) -> JobFiles:
        """A job as ecFlow would have written it, without a server to speak to."""
        here = self.folder / "jobs"
        here.mkdir(exist_ok=True, mode=0o700)
        job = JobFiles(here / f"{name}.job{number}", here / f"{name}.{number}")
        lines = {"facts": self.facts, "host": NAME, "resources": "shard", **asked}
        data = "".join(f"#: {key} {value}\n" for key, value in lines.items())
        exports = {
            "ECF_PORT": "1",
            "ECF_HOST": "127.0.0.1",
            "ECF_NAME": f"/demo/main/{name}",
            "ECF_PASS": password,
            "ECF_TRYNO": str(number),
        }
        text = "".join(f"export {key}='{value}'\n" for key, value in exports.items())
        job.script.write_text(f"#!/bin/bash\n{data}{text}{body}\n")
        return job

    def key(self, job: JobFiles) -> str:
        return order.key_of_job(job.credentials())

    def there(self, job: JobFiles) -> Path:
        """Folder of the job at the host."""
        return self.slurm.work / "jobs" / self.key(job)

    def parcel(self, job: JobFiles, older: tuple[str, ...] = ()) -> Parcel:
        return submission.parcel(
            job, order.read(job.script.read_text()), jobhost.load(self.facts), NAME, older
        )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """job.py as ecFlow calls it."""
        command = [sys.executable, "-I", "-S", str(JOB), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    def submit(self, job: JobFiles) -> subprocess.CompletedProcess[str]:
        return self.run("submit", "slurm", str(job.script), str(job.output))


def submitted(job: JobFiles, seconds: float = 20) -> Remote:
    """Wait until a submission has ended well."""

    def there() -> bool:
        return (found := job.remote) is not None and found.state == SUBMITTED

    wait_for(there, f"submission: {log(job)}", seconds)
    found = job.remote
    assert found is not None
    return found


def log(job: JobFiles) -> str:
    path = job.beside(".submit")
    return path.read_text() if path.exists() else ""


@pytest.fixture
def site(tmp_path: Path, sshd: Sshd, slurm: Slurm) -> Site:
    slurm.serve(sshd)
    library, files = tmp_path / "lib" / "abc", tmp_path / "suites" / "demo"
    (library / "ml_suite" / "relay" / "shim").mkdir(parents=True)
    (library / "ml_suite" / "__init__.py").write_text("")
    (library / "ml_suite" / "relay" / "shim" / "ecflow_client").write_text("#!/bin/sh\n")
    (files / "training").mkdir(parents=True)
    (files / "resolved.json").write_text("{}")
    (files / "training" / "storm.yaml").write_text("a: 1\n")
    work = slurm.work
    facts = JobHosts(
        home=tmp_path / "ml",
        suite="demo",
        work=tmp_path / "work",
        hosts={
            NAME: JobHost(
                work=work,
                python=Path(sys.executable),
                library=work / "lib" / "abc",
                library_here=library,
                files=work / "suites" / "demo" / "files" / "f00",
                files_here=files,
                files_names=("resolved.json", "training/storm.yaml"),
                spool=None,
                server="127.0.0.1",
                resources={"shard": Ask(walltime="10m", longest="1h", partition="main")},
            )
        },
    )
    path = files / "hosts.json"
    facts.save(path)
    reach.save((sshd.way, sshd.way))
    return Site(tmp_path, sshd, slurm, path)


def test_a_submission_is_one_session_on_the_open_connection(site: Site) -> None:
    first = site.job("echo hello", name="first")
    site.submit(first)
    submitted(first)
    connections, sessions = site.sshd.connections, site.sshd.sessions_opened
    job = site.job("echo hello; env | sort", name="second")
    begun = time.monotonic()
    assert site.submit(job).returncode == 0
    assert time.monotonic() - begun < 5, "ecFlow does not wait for the host"
    where = submitted(job)
    assert (site.sshd.connections - connections, site.sshd.sessions_opened - sessions) == (0, 1)
    assert where.ids == tuple(site.slurm.jobs(site.key(job)))
    assert (where.host, where.folder, where.rid) == (NAME, str(site.there(job)), where.ids[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", where.submitted)
    wait_for(lambda: site.slurm.states(where.key) == ["COMPLETED"], "the job")
    output = (site.there(job) / "output").read_text()
    assert f"ML_SUITE_JOB={site.there(job)}\n" in output
    assert f"ECF_RID={where.ids[0]}\n" in output
    assert "ML_SUITE_LINK=1\nML_SUITE_LINKS=1\n" in output


def test_what_the_host_lacks_is_brought_first_and_once(site: Site) -> None:
    jobs = [site.job("true", name=f"t{n}") for n in range(4)]
    for job in jobs:
        site.submit(job)
    for job in jobs:
        submitted(job, 60)
    there = site.slurm.work
    assert (there / "suites/demo/files/f00/training/storm.yaml").read_text() == "a: 1\n"
    assert os.access(there / "lib/abc/ml_suite/relay/shim/ecflow_client", os.X_OK), "the job has to run it"
    assert [p.name for p in (there / "lib").iterdir()] == ["abc"], "nothing half-made is left"
    assert len(site.slurm.calls("sbatch")) == 4


def test_inputs_go_along(site: Site) -> None:
    plan = site.folder / "work" / "suites" / "demo" / "once" / "study" / "plan.json"
    plan.parent.mkdir(parents=True)
    plan.write_text('{"n": 3}')
    job = site.job("true", inputs="suites/demo/once/study/plan.json")
    site.submit(job)
    submitted(job)
    assert (site.slurm.work / "suites/demo/once/study/plan.json").read_text() == '{"n": 3}'


def test_the_password_is_in_one_private_file_and_nowhere_else(site: Site) -> None:
    job = site.job("sleep 1")
    seen: list[str] = []
    site.slurm.how("sbatch", "slow 1")
    site.submit(job)
    deadline = time.monotonic() + 20
    while (job.remote is None or job.remote.state != SUBMITTED) and time.monotonic() < deadline:
        seen.append(subprocess.run(["ps", "-eww", "-o", "args="], capture_output=True, text=True).stdout)
        time.sleep(0.05)
    submitted(job)
    assert len(seen) > 5
    assert not any(SECRET in text for text in seen)
    script = site.there(job) / "script"
    assert script.stat().st_mode & 0o777 == 0o600
    assert site.there(job).stat().st_mode & 0o777 == 0o700
    texts = {path: path.read_text(errors="replace") for path in site.there(job).rglob("*") if path.is_file()}
    texts |= {path: path.read_text(errors="replace") for path in job.output.parent.iterdir()}
    texts |= {path: path.read_text() for path in site.slurm.folder.glob("calls.*")}
    assert {path for path, text in texts.items() if SECRET in text} == {script, job.script}
    assert all(path.stat().st_mode & 0o077 == 0 for path in job.output.parent.iterdir())


def test_submit_command_killed_at_random_moments_submits_once(site: Site) -> None:
    random.seed(20)
    site.submit(warm := site.job(name="warm"))
    submitted(warm)
    kills = 0
    for number in range(12):
        job = site.job("sleep 30", name=f"t{number}")
        site.slurm.how("sbatch", f"slow {random.choice(['0', '0.1', '0.3'])}")
        site.submit(job)
        for _ in range(3):
            time.sleep(random.uniform(0, 0.35))
            where = job.remote
            assert where is not None
            if where.state == SUBMITTED:
                break
            os.kill(where.submitter, signal.SIGKILL)
            kills += 1
            wait_for(lambda: job.remote.orphaned, "the death of the submitter")  # noqa: B023
            assert site.run("resume", "slurm", str(job.script), str(job.output)).returncode == 0
        where = submitted(job, 60)
        assert len(site.slurm.jobs(where.key)) == 1, log(job)
        assert where.ids == tuple(site.slurm.jobs(where.key))
    calls = site.slurm.calls("sbatch")
    print(f"{kills} kills")
    assert kills >= 20
    assert len(calls) == 13, "sbatch was called once per job"


def test_shell_at_the_host_killed_at_random_moments_submits_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    random.seed(7)
    monkeypatch.setattr(doorstep, "SETTLE", 1)
    submission.send(site.sshd.way, site.parcel(site.job(name="warm")))
    kills = 0
    for number in range(7):
        sent = site.parcel(site.job("sleep 30", name=f"t{number}"))
        site.slurm.how("sbatch", f"slow {random.choice(['0', '0.1'])}")
        accepted = None
        with ThreadPoolExecutor() as pool:
            for n in range(10):
                attempt = pool.submit(submission.send, site.sshd.way, sent)
                if n < 3:
                    wait_for(lambda: bool(_shells(sent.key)) or attempt.done(), "a shell")  # noqa: B023
                    time.sleep(random.uniform(0, 0.15))
                    kills += _kill(_shells(sent.key))
                try:
                    accepted = attempt.result()
                    break
                except HostError:
                    time.sleep(1.1)
        assert accepted is not None
        assert accepted.ids == tuple(site.slurm.jobs(sent.key))
    print(f"{kills} kills")
    assert kills >= 10


def _shells(key: str) -> list[int]:
    """Everything that runs at the host to submit a job."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                if f"KEY={key}\n" in command or (f"{key}/script" in command and "--parsable" in command):
                    found.append(int(entry.name))
    return found


def _kill(pids: list[int]) -> int:
    """As a login node does when a session ends; 1 if there was something."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return int(bool(pids))


def test_two_attempts_at_once_call_sbatch_once(site: Site) -> None:
    submission.send(site.sshd.way, site.parcel(site.job(name="warm")))
    site.slurm.how("sbatch", "slow 1.5")
    sent = site.parcel(site.job("sleep 30"))
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: submission.send(site.sshd.way, sent), range(4)))
    assert len({accepted.ids for accepted in found}) == 1
    assert len(site.slurm.jobs(sent.key)) == 1
    assert len(site.slurm.calls("sbatch")) == 2


def test_an_answer_that_is_lost_is_found_and_not_repeated(site: Site) -> None:
    sent = site.parcel(site.job("sleep 30"))
    site.slurm.how("sbatch", "lost")
    with pytest.raises(OutcomeUnknown, match="Socket timed out"):
        submission.send(site.sshd.way, sent)
    accepted = submission.send(site.sshd.way, sent)
    assert accepted.ids == tuple(site.slurm.jobs(sent.key))
    assert len(site.slurm.calls("sbatch")) == 1


def test_a_connection_lost_after_sbatch_took_the_job(site: Site) -> None:
    submission.send(site.sshd.way, site.parcel(site.job(name="warm")))
    site.slurm.how("squeue", "slow 2")
    job = site.job("sleep 30")
    site.submit(job)
    wait_for(lambda: len(site.slurm.calls("sbatch")) == 2, "sbatch")
    mux.close_master(site.sshd.way)
    where = submitted(job, 40)
    assert where.ids == tuple(site.slurm.jobs(where.key))
    assert len(site.slurm.calls("sbatch")) == 2
    assert "lost" in log(job)


def test_while_the_controller_is_down_the_job_waits_and_nothing_is_red(site: Site) -> None:
    submission.send(site.sshd.way, site.parcel(site.job(name="warm")))
    site.slurm.stop("slurmctld")
    job = site.job("sleep 30")
    site.submit(job)
    wait_for(lambda: "Unable to contact" in log(job), "an attempt", 30)
    assert job.remote
    assert job.remote.state == SUBMITTING
    assert "is being submitted" in slurm.status(job)
    assert job.outcome == ("", False)
    site.slurm.start("slurmctld")
    where = submitted(job, 60)
    assert len(site.slurm.jobs(where.key)) == 1


def test_squeue_that_does_not_answer_is_not_a_no(site: Site) -> None:
    sent = site.parcel(site.job("sleep 30"))
    site.slurm.how("sbatch", "lost")
    with pytest.raises(OutcomeUnknown):
        submission.send(site.sshd.way, sent)
    site.slurm.how("squeue", "say slurm_load_jobs error: Socket timed out on send/recv operation")
    with pytest.raises(OutcomeUnknown, match="squeue"):
        submission.send(site.sshd.way, sent)
    assert len(site.slurm.calls("sbatch")) == 1


def test_a_lock_of_a_dead_process_holds_nobody_up(site: Site) -> None:
    job = site.job()
    there = site.there(job)
    there.mkdir(parents=True)
    (there / "lock.1").symlink_to(f"{os.uname().nodename}:1:1")
    begun = time.monotonic()
    assert len(submission.send(site.sshd.way, site.parcel(job)).ids) == 1
    assert time.monotonic() - begun < 5


def test_a_lock_of_another_login_node_is_respected_for_a_while(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doorstep, "PATIENCE", 1)
    job = site.job()
    there = site.there(job)
    there.mkdir(parents=True)
    (there / "lock.1").symlink_to("login7:1:1")
    sent = site.parcel(job)
    with pytest.raises(OutcomeUnknown, match="under way"):
        submission.send(site.sshd.way, sent)
    os.utime(there / "lock.1", (time.time() - 1000,) * 2, follow_symlinks=False)
    assert len(submission.send(site.sshd.way, sent).ids) == 1
    assert len(site.slurm.calls("sbatch")) == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"partition": "nowhere"}, "Invalid partition"),
        ({"nodes": "5"}, "Node count specification invalid"),
        ({"sbatch": "--frobnicate"}, "unrecognized option"),
    ],
)
def test_a_refusal_is_told_with_the_words_of_slurm(site: Site, asked: dict[str, str], words: str) -> None:
    with pytest.raises(Refused, match=words):
        submission.send(site.sshd.way, site.parcel(site.job(**asked)))


def test_a_limit_on_waiting_jobs_is_no_refusal(site: Site) -> None:
    sent = site.parcel(site.job())
    site.slurm.how("sbatch", "say sbatch: error: QOSMaxSubmitJobPerUserLimit")
    with pytest.raises(OutcomeUnknown):
        submission.send(site.sshd.way, sent)


def test_links_of_a_chain_are_submitted_together_and_follow_each_other(site: Site) -> None:
    body = 'echo "link $ML_SUITE_LINK of $ML_SUITE_LINKS as $ECF_RID"; [ "$ML_SUITE_LINK" = 2 ]'
    job = site.job(body, walltime="2h")
    sent = site.parcel(job)
    assert len(sent.times) == 3
    before = site.sshd.sessions_opened
    submission.send(site.sshd.way, site.parcel(site.job(name="warm")))
    before = site.sshd.sessions_opened
    accepted = submission.send(site.sshd.way, sent)
    assert site.sshd.sessions_opened - before == 1
    assert site.slurm.jobs(sent.key) == list(accepted.ids)
    assert site.slurm.jobs(sent.key, "%l") == ["1:00:00", "1:00:00", "30:00"]
    wait_for(lambda: site.slurm.states(sent.key) == ["FAILED", "COMPLETED", "CANCELLED"], "the chain", 30)
    first = accepted.ids[0]
    assert (site.there(job) / "output").read_text() == f"link 1 of 3 as {first}\nlink 2 of 3 as {first}\n"


def test_part_of_a_chain_is_taken_back(site: Site) -> None:
    sent = site.parcel(site.job("sleep 60", walltime="2h"))
    wrapper = site.slurm.bin / "sbatch"
    wrapper.write_text(
        wrapper.read_text().replace(
            "case $how", 'case "$*" in *afternotok*) echo no quota >&2; exit 1 ;; esac\ncase $how'
        )
    )
    with pytest.raises(Refused, match="no quota"):
        submission.send(site.sshd.way, sent)
    wait_for(lambda: site.slurm.states(sent.key) == ["CANCELLED"], "the first link", 20)


def test_one_more_job_after_a_node_failed(site: Site) -> None:
    job = site.job('echo "link $ML_SUITE_LINK of $ML_SUITE_LINKS as $ECF_RID"; [ "$ML_SUITE_LINK" = 2 ]')
    site.submit(job)
    first = submitted(job)
    wait_for(lambda: site.slurm.states(first.key) == ["FAILED"], "the first job")
    second = slurm.resubmit(job)
    assert (len(second.ids), second.resubmissions, second.rid) == (2, 1, first.rid)
    assert job.remote == second
    wait_for(lambda: site.slurm.states(first.key)[1:] == ["COMPLETED"], "the second job")
    assert (site.there(job) / "output").read_text().splitlines()[-1] == f"link 2 of 2 as {first.rid}"


def test_one_more_job_is_never_two(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    job = site.job("sleep 1; false")
    site.submit(job)
    first = submitted(job)
    wait_for(lambda: site.slurm.states(first.key) == ["FAILED"], "the first job")
    site.slurm.how("sbatch", "lost")
    with pytest.raises(OutcomeUnknown):
        slurm.resubmit(job)
    assert slurm.resubmit(job).ids == tuple(site.slurm.jobs(first.key))
    assert len(site.slurm.jobs(first.key)) == 2


def test_status_says_how_it_is_and_brings_the_output(site: Site) -> None:
    job = site.job("echo started; sleep 30")
    assert slurm.status(job) == "unknown: it was never submitted"
    site.submit(job)
    where = submitted(job)
    wait_for((site.there(job) / "output").exists, "output")
    time.sleep(0.3)
    done = site.run("status", "slurm", str(job.script), str(job.output))
    assert re.fullmatch(rf"{NAME}: Slurm job {where.ids[0]}: it runs on \S+\n", done.stdout)
    assert job.beside(".stat").read_text() == done.stdout
    assert job.output.read_text() == "started\n"
    assert slurm.describe(job).outcome is states.Outcome.RUNNING
    assert slurm.kill(job) == "cancelled"


def test_only_the_end_of_a_long_output_is_fetched(site: Site) -> None:
    job = site.job("head -c 300000 /dev/zero | tr '\\0' x; echo; echo output; echo last")
    site.submit(job)
    where = submitted(job)
    wait_for(lambda: site.slurm.states(where.key) == ["COMPLETED"], "the job")
    slurm.status(job)
    assert job.output.stat().st_size == slurm.MOST
    assert job.output.read_text().endswith("x\noutput\nlast\n")


def test_status_of_a_host_that_cannot_be_asked_is_unknown(site: Site) -> None:
    job = site.job("sleep 30")
    site.submit(job)
    submitted(job)
    mux.close_master(site.sshd.way)
    site.sshd.stop()
    done = site.run("status", "slurm", str(job.script), str(job.output))
    assert (done.returncode, done.stdout.startswith("unknown: the host could not be asked")) == (0, True)
    done = site.run("kill", "slurm", str(job.script), str(job.output))
    assert (done.returncode, done.stdout.startswith("the host could not be asked")) == (1, True)
    assert job.remote
    assert job.remote.state == SUBMITTED
    site.sshd.start()


def test_a_task_submitted_again_ends_the_job_of_the_earlier_try(site: Site) -> None:
    """And it starts only after that has ended: two jobs would write into the same files."""
    old = site.job("trap '' TERM; while :; do sleep 0.2; done")
    site.submit(old)
    first = submitted(old)
    wait_for(lambda: site.slurm.states(first.key) == ["RUNNING"], "the first job")
    new = site.job("true", number=2, password="other")
    site.submit(new)
    second = submitted(new)
    wait_for(lambda: site.slurm.states(second.key) == ["COMPLETED"], "the second job", 30)
    assert site.slurm.states(first.key) == ["CANCELLED"]
    ends = [site.slurm.jobs(key, form)[0] for key, form in ((first.key, "%e"), (second.key, "%S"))]
    assert ends[0] <= ends[1]
    assert old.remote
    assert old.remote.state == ENDED


def test_the_same_files_submitted_again_displace_the_older_submitter(site: Site) -> None:
    site.slurm.stop("slurmctld")
    old = site.job("true")
    site.submit(old)
    wait_for(lambda: bool(old.remote and old.remote.state == SUBMITTING), "the first attempt")
    before = old.remote
    new = site.job("true", password="other")
    site.submit(new)
    assert before
    assert not before.in_hand
    site.slurm.start("slurmctld")
    where = submitted(new, 60)
    assert where.key != before.key
    assert site.slurm.jobs(before.key) == []


def test_a_superseded_submission_gives_up_without_a_word(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.sshd.stop()
    job = site.job("true")
    site.submit(job)
    wait_for(lambda: len(log(job).splitlines()) > 0, "the first attempt", 30)
    assert job.remote
    assert job.remote.state == PLACING
    pid = job.remote.submitter
    job.script.write_text(job.script.read_text().replace(SECRET, "other"))
    wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the end of the submitter", 20)
    assert "ecFlow has submitted the task again" in log(job)
    site.sshd.start()


def test_a_full_disk_is_a_refusal_in_its_own_words(site: Site) -> None:
    site.slurm.work.mkdir(exist_ok=True)
    submission.send(site.sshd.way, site.parcel(site.job(name="warm")))
    job = site.job()
    (site.slurm.work / "jobs").rename(site.slurm.work / "kept")
    (site.slurm.work / "jobs").write_text("in the way")
    with pytest.raises(Refused, match=r"Not a directory|File exists"):
        submission.send(site.sshd.way, site.parcel(job))


def test_an_input_that_stops_short_is_not_submitted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    submission.send(site.sshd.way, site.parcel(site.job(name="warm")))
    sent = site.parcel(site.job())
    whole = ship.packed
    monkeypatch.setattr(ship, "packed", lambda files: whole({"script": files["script"]}))
    with pytest.raises(OutcomeUnknown, match="only in part"):
        submission.send(site.sshd.way, sent)
    assert len(site.slurm.calls("sbatch")) == 1
