"""The stand-in for ecflow_client: what it writes, under every shell that a machine may have."""

from __future__ import annotations

import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ml_suite.relay.spool import SHIM, Message, parse
from tests.relay.conftest import Job

SHELLS = {"sh": ("sh",), "dash": ("dash",), "busybox": ("busybox", "sh"), "bash": ("bash", "--posix")}


@pytest.fixture(params=SHELLS)
def job(request: pytest.FixtureRequest, spool: Path) -> Job:
    shell = SHELLS[request.param]
    if shutil.which(shell[0]) is None:
        pytest.fail(f"{shell[0]} is missing; run: apt-get install dash busybox-static")
    return Job(spool, shell=shell)


def messages(spool: Path) -> list[Message]:
    return [parse(path.name, path.read_bytes()) for path in sorted((spool / "new").iterdir())]


def test_commands_keep_their_arguments_and_their_order(job: Job, spool: Path) -> None:
    for arguments in (
        ("--init=42",),
        ("--meter=done", "-5"),
        ("--label=info", "two\nlines  'q' \"d\" $(x) \\0 %s é", "and more"),
        ("--event=ready",),
        ("--event", "ready", "clear"),
        ("--abort",),
        ("--abort=it is # broken",),
        ("--complete",),
    ):
        job(*arguments)
    found = messages(spool)
    assert [(m.number, m.verb, m.arguments) for m in found] == [
        (1, "init", ("42",)),
        (2, "meter", ("done", "-5")),
        (3, "label", ("info", "two\nlines  'q' \"d\" $(x) \\0 %s é", "and more")),
        (4, "event", ("ready",)),
        (5, "event", ("ready", "clear")),
        (6, "abort", ()),
        (7, "abort", ("it is # broken",)),
        (8, "complete", ()),
    ]
    assert {(m.path, m.password, m.try_number) for m in found} == {("/s/t", "pass1234", 1)}
    assert [m.pid for m in found] == ["42"] + ["77"] * 7, "init names the pid itself"


def test_nobody_else_can_read_it(job: Job, spool: Path) -> None:
    job("--init=1")
    for path in [spool, *spool.rglob("*")]:
        assert not path.stat().st_mode & 0o077, path
    file = next((spool / "new").iterdir())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "pass1234" not in "".join(str(path) for path in spool.rglob("*"))


def test_processes_of_one_job_draw_different_numbers(job: Job, spool: Path) -> None:
    """Twenty at once, without an init that could have made the counter before."""
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda n: job("--meter=done", str(n)), range(100)))
    found = messages(spool)
    assert [m.number for m in found] == list(range(1, 101))
    assert sorted(int(m.arguments[1]) for m in found) == list(range(100))
    assert len({m.key for m in found}) == 1
    assert list((spool / "tmp").iterdir()) == []
    assert len(list((spool / "counters").rglob("*"))) == 2, "one folder and one number"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--wait=/s/t == complete",), "--wait needs an answer from the server"),
        (("--queue=q", "active"), "--queue needs an answer from the server"),
        (("--alter=change", "variable"), "--alter is not known here"),
        (("--ping",), "child commands only"),
        ((), "child commands only"),
        (("--meter=done", "1.5"), "no whole number"),
        (("--meter=done",), "other arguments"),
        (("--event=ready", "perhaps"), "set or clear"),
        (("--label=info",), "needs a text"),
        (("--label=info", "x" * 9000), "more than 8000"),
        (("--complete", "now"), "other arguments"),
    ],
)
def test_what_it_cannot_do_is_refused(spool: Path, arguments: tuple[str, ...], words: str) -> None:
    done = Job(spool)(*arguments, check=False)
    assert done.returncode == 1
    assert words in done.stderr
    assert not spool.exists()


@pytest.mark.parametrize(
    "more",
    [
        {"ECF_NAME": "/s/../../etc/t"},
        {"ECF_NAME": "/s/t;rm"},
        {"ECF_NAME": "s"},
        {"ECF_NAME": ""},
        {"ECF_PASS": ""},
        {"ECF_TRYNO": "1/2"},
        {"ML_SUITE_SPOOL": ""},
    ],
)
def test_a_broken_environment_is_refused(spool: Path, more: dict[str, str]) -> None:
    done = Job(spool, more=more)("--complete", check=False)
    assert done.returncode == 1
    assert next(iter(more)) in done.stderr
    assert not spool.exists()


def test_no_ecf_runs_a_job_by_hand(spool: Path) -> None:
    Job(spool, more={"NO_ECF": "1"})("--init=1")
    assert not spool.exists()


def test_a_long_reason_does_not_stop_an_abort(job: Job, spool: Path) -> None:
    job("--abort=" + "x" * 20000)
    assert messages(spool)[0].arguments == ("x" * 8000,)


def test_a_deep_path_has_a_short_name(job: Job, spool: Path) -> None:
    job.path = "/" + "/".join(["family"] * 60) + "/t"
    job("--init=1")
    job("--complete")
    assert [(m.number, m.path) for m in messages(spool)] == [(1, job.path), (2, job.path)]


def test_a_full_disk_holds_up_what_must_not_be_lost(spool: Path, tmp_path: Path) -> None:
    """A file system of 40 kB in a namespace of its own, filled, and emptied while the job tries to complete."""
    script = f"""
set -eu
mkdir {spool}
mount -t tmpfs -o size=40k,nr_inodes=60 none {spool}
export ML_SUITE_SPOOL={spool} ECF_NAME=/s/t ECF_PASS=p ECF_TRYNO=1 ECF_RID=7 ECF_TIMEOUT=30
client={SHIM}/ecflow_client
$client --init=7
cat /dev/zero >{spool}/ballast 2>/dev/null || :
! $client --label=info lost 2>{tmp_path}/label
$client --complete 2>{tmp_path}/complete &
sleep 1
rm {spool}/ballast
wait $!
cp -r {spool}/new {tmp_path}/new
ls {spool}/tmp >{tmp_path}/left
"""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"needs the right to mount in a namespace of its own: {done.stderr}"
    found = [parse(path.name, path.read_bytes()) for path in sorted((tmp_path / "new").iterdir())]
    assert [m.verb for m in found] == ["init", "complete"]
    assert "cannot write below" in (tmp_path / "label").read_text()
    assert "trying on" in (tmp_path / "complete").read_text()
    assert (tmp_path / "left").read_text() == ""


def test_it_passes_the_shell_checker() -> None:
    done = subprocess.run(
        ["shellcheck", "--shell=sh", str(SHIM / "ecflow_client")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
