"""What the command per job knows of hosts, written and read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ml_suite.errors import ConfigError
from ml_suite.hosts import jobhost
from ml_suite.hosts.jobfile import PLACING, SUBMITTED, JobFiles, Remote, Running, files_of
from ml_suite.hosts.jobhost import Ask, JobHost, JobHosts

PATHS = {
    name: Path("/x") / name for name in ("work", "python", "library", "library_here", "files", "files_here")
}


def test_facts_are_read_as_they_were_written(tmp_path: Path) -> None:
    host = JobHost(
        **PATHS, files_names=("a", "b/c"), spool=Path("/s"), port=31, resources={"shard": Ask(nodes=2)}
    )
    bare = JobHost(**PATHS, files_names=())
    written = JobHosts(tmp_path, "demo", tmp_path / "work", {"big": host, "small": bare})
    written.save(tmp_path / "hosts.json")
    assert jobhost.load(tmp_path / "hosts.json") == written
    assert (tmp_path / "hosts.json").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="knows no host 'bigg'") as caught:
        written.host("bigg")
    assert "big, small" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"home": "/", "suite": "s", "work": "/", "hosts": {"a": {}}}']
)
def test_facts_of_another_version(tmp_path: Path, text: str) -> None:
    (tmp_path / "hosts.json").write_text(text)
    with pytest.raises(ConfigError, match=r"hosts\.json"):
        jobhost.load(tmp_path / "hosts.json")


def test_a_job_here_and_a_job_elsewhere_are_told_apart(tmp_path: Path) -> None:
    job = files_of(tmp_path / "t.1")
    assert (job.remote, job.running) == (None, None)
    remote = Remote("big", "k", "/w/jobs/k", ("42", "43"), "2026-11-26T03:00:00", SUBMITTED, 1, 7, 8, "42")
    job.remember(remote)
    assert (job.remote, job.running) == (remote, None)
    running = Running(1, 2, 3, 4)
    job.remember(running)
    assert (job.remote, job.running) == (None, running)
    assert job.beside(".job").stat().st_mode & 0o777 == 0o600


def test_a_submission_whose_process_is_gone() -> None:
    gone = Remote("big", "k", "/f", state=PLACING, submitter=1, submitter_started=-1)
    assert (gone.orphaned, gone.in_hand) == (True, False)


def test_a_job_whose_script_is_gone_has_no_password(tmp_path: Path) -> None:
    job = JobFiles(tmp_path / "t.job1", tmp_path / "t.1")
    assert job.password is None
    job.script.write_text("export ECF_PASS='x y'\nexport ECF_PORT=31\n")
    assert (job.password, job.credentials()["ECF_PORT"]) == ("x y", "31")


def test_the_command_per_job_needs_only_the_standard_library(repository: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(repository / 'src')!r})\n"
        "from ml_suite.hosts import slurm, local, job\n"
        "outside = {n.split('.')[0] for n in sys.modules} - set(sys.stdlib_module_names) - {'ml_suite', '__main__'}\n"
        "print(sorted(outside))"
    )
    words = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
