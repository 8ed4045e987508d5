"""The head of a remote job's script, run by bash as Slurm would."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_suite.hosts.prologue import Setting, composed


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    folder = tmp_path / "jobs" / "k'y $x"
    folder.mkdir(parents=True)
    library = tmp_path / "lib"
    return Setting(
        folder, "big", Path("/p/python"), library, tmp_path / "r.json", links=3, server="ops", port="3141"
    )


def run(setting: Setting, job: str, link: str | None = "1", body: str = "echo went on") -> str:
    script = setting.folder.parent / f"script.{job}.{link}"
    script.write_text(
        composed(f"#!/bin/bash\n#: host big\nset -eEuo pipefail\n{body}\n", ["#SBATCH --x"], setting)
    )
    environment = {"PATH": os.environ["PATH"], "SLURM_JOB_ID": job}
    words = ["bash", str(script), *([link] if link else [])]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_lines_of_the_scheduler_come_before_any_command(setting: Setting) -> None:
    text = composed("#!/bin/bash\n#: host big\necho\n", ["#SBATCH --a=1", "#SBATCH --b"], setting)
    assert text.startswith("#!/bin/bash\n#SBATCH --a=1\n#SBATCH --b\n")
    assert text.endswith("\n#: host big\necho\n")


def test_what_a_job_learns_of_its_place(setting: Setting) -> None:
    said = run(setting, "7", "2", body="env").splitlines()
    folder = setting.folder
    for line in (
        f"ML_SUITE_JOB={folder}",
        "ML_SUITE_HOST=big",
        "ML_SUITE_PYTHON=/p/python",
        f"ML_SUITE_LIB={setting.library}",
        f"ML_SUITE_OUTCOME={folder}/outcome",
        f"ML_SUITE_REASON={folder}/reason",
        "ECF_RID=7",
        "ECF_HOST=ops",
        "ECF_PORT=3141",
        "ML_SUITE_LINK=2",
        "ML_SUITE_LINKS=3",
    ):
        assert line in said
    assert not [line for line in said if line.startswith("ML_SUITE_SPOOL")]


def test_a_job_without_a_route_leaves_its_words_in_the_spool(setting: Setting, tmp_path: Path) -> None:
    spooled = Setting(**{**vars(setting), "spool": tmp_path / "spool", "server": "ops"})
    said = run(spooled, "7", body="env").splitlines()
    assert f"ML_SUITE_SPOOL={tmp_path}/spool" in said
    assert any(line.startswith(f"PATH={setting.library}/ml_suite/relay/shim:") for line in said)
    assert not [line for line in said if line.startswith("ECF_HOST")]


def test_a_second_copy_ends_without_a_word_and_a_requeue_goes_on(setting: Setting) -> None:
    assert run(setting, "7") == "went on\n"
    assert run(setting, "8") == ""
    assert run(setting, "7") == "went on\n", "the scheduler started the same job again"
    assert run(setting, "9", "2", body="echo $ECF_RID") == "7\n", (
        "the next link speaks under the name of the first"
    )


def test_of_copies_that_start_at_once_one_goes_on(setting: Setting) -> None:
    with ThreadPoolExecutor(12) as pool:
        said = list(pool.map(lambda job: run(setting, str(job)), range(100, 112)))
    assert sorted(said) == [""] * 11 + ["went on\n"]
    assert [path.name for path in setting.folder.glob("claim.*")] == ["claim.1"]


@pytest.mark.parametrize(
    ("outcome", "goes_on"),
    [
        ("complete\nsaid\n", False),
        ("complete\n", False),
        ("abort no\nsaid\n", False),
        ("again\n", True),
        ("", True),
    ],
)
def test_what_is_done_is_not_done_again(setting: Setting, outcome: str, goes_on: bool) -> None:
    (setting.folder / "outcome").write_text(outcome)
    assert run(setting, "8", "2") == ("went on\n" if goes_on else "")


def test_a_withdrawn_job_ends_without_a_word(setting: Setting) -> None:
    (setting.folder / "withdrawn").touch()
    assert run(setting, "7") == ""
    assert not list(setting.folder.glob("claim*"))


def test_links_that_were_added_are_counted(setting: Setting) -> None:
    (setting.folder / "links").write_text("4\n")
    assert run(setting, "7", "4", body="echo $ML_SUITE_LINK of $ML_SUITE_LINKS") == "4 of 4\n"


def test_a_claim_without_an_owner_is_nobodys(setting: Setting) -> None:
    """A node that died between two lines must not end the job for ever."""
    (setting.folder / "claim.1").mkdir()
    assert run(setting, "7") == "went on\n"
