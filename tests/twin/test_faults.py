"""Faults that are cut and healed, and what a twin leaves behind."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ci.twin.state import Folder

from tests.twin.conftest import SILENCE, Twin, wait_until

pytestmark = [pytest.mark.twin, pytest.mark.usefixtures("mended")]


def states(twin: Twin, site: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(twin.run("status", "--json").stdout)["sites"][site]["nodes"]
    return found


def wait_state(twin: Twin, site: str, node: str, wanted: set[str]) -> None:
    wait_until(lambda: states(twin, site).get(node) in wanted, lambda: f"{node}: {states(twin, site)}")


@pytest.fixture
def held(twin: Twin) -> Iterator[str]:
    """Options of ssh that use a connection to lumi, which is opened now."""
    path = "/tmp/held"
    twin.must("exec", "ops", f"ssh -M -N -f -o ControlPath={path} lumi")
    yield f"-o BatchMode=yes -o ControlPath={path}"
    twin.run("exec", "ops", f"ssh -o ControlPath={path} -O exit lumi")


def test_a_line_that_is_out_says_so_and_heals(twin: Twin) -> None:
    for name in ("lumi", "lumi-login"):
        twin.must("cut", name, "link")
        assert "No route to host" in twin.ssh("lumi").stderr
        if name == "lumi":
            # inside the site nothing has changed
            assert "idle" in twin.must("exec", "lumi-c1", "sinfo -h")
        twin.must("heal", name)
        assert twin.ssh("lumi").returncode == 0


def test_a_half_dead_line_stalls_an_open_connection(twin: Twin, held: str) -> None:
    assert twin.ssh("lumi", options=held).returncode == 0
    twin.must("cut", "lumi", "half")
    # not through the pipe of this test: the master holds on to the output of a client that was killed
    stalled = f"timeout {SILENCE} ssh {held} lumi hostname >/dev/null 2>&1 </dev/null"
    assert twin.run("exec", "ops", stalled).returncode == 124
    # the master does not know
    assert "running" in twin.run("exec", "ops", f"ssh {held} -O check lumi").stderr
    assert "idle" in twin.must("exec", "lumi-c1", "sinfo -h")
    twin.must("heal", "lumi")
    assert twin.ssh("lumi", options=held).returncode == 0


def test_a_node_that_is_off_fails_its_job_and_comes_back(twin: Twin) -> None:
    job = twin.submit("lumi", "sleep 300", "-w lumi-c2 --no-requeue")
    twin.must("cut", "lumi-c2", "node")
    assert twin.run("status").returncode == 1
    twin.until("lumi", f"scontrol show job {job}", "JobState=NODE_FAIL")
    twin.until("lumi", f"sacct -nPX -j {job} -o state", "NODE_FAIL")
    assert states(twin, "lumi")["lumi-c2"] in ("down", "down*")
    assert twin.ssh("lumi").returncode == 0
    twin.must("heal", "lumi-c2")
    wait_state(twin, "lumi", "lumi-c2", {"idle"})
    assert twin.must("exec", "lumi", "srun -w lumi-c2 -t1 hostname").strip() == "lumi-c2"


def test_a_job_goes_on_without_the_daemon_of_its_node(twin: Twin) -> None:
    loop = "for i in 1 2 3 4 5 6 7 8 9; do echo $i >> beats; sleep 0.5; done; touch ended"
    twin.must("exec", "lumi", "rm -f $SCRATCH/beats $SCRATCH/ended")
    job = twin.submit("lumi", loop, "-w lumi-c1")
    twin.must("cut", "lumi-c1", "slurmd")
    twin.until("lumi", "cat $SCRATCH/beats", "9")
    twin.until("lumi", "ls $SCRATCH", "ended")
    # the controller waits for the node's last word
    assert twin.must("exec", "lumi", f"squeue -h -j {job} -o %T").strip() in ("RUNNING", "COMPLETING")
    twin.must("heal", "lumi-c1")
    twin.until("lumi", f"scontrol show job {job}", "JobState=COMPLETED")


def test_a_controller_that_is_gone_says_nothing_of_jobs(twin: Twin) -> None:
    job = twin.submit("marenostrum5", "sleep 300")
    twin.must("cut", "marenostrum5", "slurmctld")
    # squeue itself goes on trying for a while
    asked = twin.run("exec", "marenostrum5", f"timeout {SILENCE} squeue -h -j {job} -o %T")
    assert asked.returncode == 124
    assert asked.stdout == ""
    assert "slurmstepd" in twin.must("exec", "marenostrum5-c1", "ps -e -o comm")
    twin.must("heal", "marenostrum5")
    twin.until("marenostrum5", f"squeue -h -j {job} -o %T", "RUNNING")
    twin.must("exec", "marenostrum5", "scancel --me")


def test_a_controller_that_was_off_knows_its_jobs(twin: Twin) -> None:
    job = twin.submit("marenostrum5", "sleep 300")
    wait_saved(twin, "marenostrum5", time.time())
    twin.must("cut", "marenostrum5", "node")
    twin.must("heal", "marenostrum5")
    assert twin.must("exec", "marenostrum5", f"squeue -h -j {job} -o %T").strip() == "RUNNING"
    twin.must("exec", "marenostrum5", "scancel --me")


def wait_saved(twin: Twin, site: str, moment: float) -> None:
    """Wait until the controller has written down what it knew at a moment; killed before, it forgets that."""
    # a change of any job makes it write
    twin.must("exec", site, "sbatch -H -o /dev/null --wrap true")
    saved = "stat -c %Y /var/spool/slurmctld/job_state"
    wait_until(
        lambda: int(twin.must("exec", f"root@{site}-login", saved)) > moment,
        lambda: "the controller does not save its jobs",
    )


def test_a_server_that_is_gone_refuses_and_keeps_what_is_open(twin: Twin, held: str) -> None:
    twin.must("cut", "lumi", "sshd")
    assert "Connection refused" in twin.ssh("lumi").stderr
    assert twin.ssh("lumi", options=held).stdout.strip() == "lumi-login"
    assert twin.must("heal", "lumi").strip() == "lumi: sshd"
    assert twin.ssh("lumi").returncode == 0


def beside(options: str, line: str) -> str:
    """A line of shell at ops that runs while a session over a connection to lumi is held."""
    return (
        f"ssh {options} lumi 'touch began; sleep 600' >/dev/null 2>&1 </dev/null & first=$!; "
        f"while ! ssh lumi 'test -e began'; do sleep 0.1; done; "
        f"{line}; code=$?; kill $first; ssh lumi 'rm -f began'; exit $code"
    )


def test_sessions_run_out(twin: Twin, held: str) -> None:
    twin.must("cut", "lumi", "sessions")
    few = "-o BatchMode=yes -o ControlPath=/tmp/few"
    twin.must("exec", "ops", "ssh -M -N -f -o ControlPath=/tmp/few lumi")
    assert twin.ssh("lumi", options=few).returncode == 0
    ask = "-o ProxyCommand=false lumi hostname"
    # the second of two has no place; without a way of its own it fails
    refused = twin.run("exec", "ops", beside(few, f"ssh {few} {ask}"))
    assert "Session open refused by peer" in refused.stderr
    assert refused.stdout == ""
    twin.must("exec", "ops", f"ssh {few} -O exit lumi")
    # a connection from before has as many as ever
    assert twin.must("exec", "ops", beside(held, f"ssh {held} {ask}")).strip() == "lumi-login"
    twin.must("heal", "lumi")


def test_a_clock_that_is_wrong_is_seen_by_jobs_and_by_the_check(twin: Twin) -> None:
    def ahead(text: str) -> float:
        return float(text) - time.time()

    twin.must("cut", "lumi-login", "clock")
    assert 3500 < ahead(twin.ssh("lumi", "date +%s").stdout) < 3700
    findings = json.loads(twin.run("exec", "ops", "ml-suite hosts check lumi --json").stdout)
    assert {f["name"]: f["verdict"] for f in findings}["clock"] == "differs"
    twin.must("cut", "lumi-c1", "clock")
    assert 3500 < ahead(twin.must("exec", "lumi", "srun -w lumi-c1 -t1 date +%s")) < 3700
    assert -60 < ahead(twin.must("exec", "lumi", "srun -w lumi-c2 -t1 date +%s")) < 60
    for host in ("lumi-login", "lumi-c1"):
        twin.must("heal", host)
        assert -60 < ahead(twin.must("exec", host, "date +%s")) < 60


def test_a_full_disk_takes_nothing_and_keeps_what_it_has(twin: Twin) -> None:
    twin.must("exec", "jupiter-c1", "echo kept > $SCRATCH/kept")
    twin.must("cut", "jupiter", "disk")
    for folder in ("$SCRATCH", "/e/scratch", "/e/project1"):
        done = twin.run("exec", "jupiter-c1", f"head -c 100000 /dev/zero > {folder}/large")
        assert "No space left on device" in done.stderr
    assert twin.must("exec", "jupiter", "cat $SCRATCH/kept") == "kept\n"
    twin.must("heal", "jupiter")
    twin.must("exec", "jupiter-c1", "head -c 1000000 /dev/zero > $SCRATCH/large")


def test_what_cannot_be_cut_is_refused(twin: Twin) -> None:
    assert twin.run("cut", "lumi", "cert").returncode == 2
    assert twin.run("cut", "nowhere").returncode == 2
    assert twin.run("cut", "router").returncode == 2
    refused = twin.run("cut", "lumi", "slurmd")
    assert refused.returncode == 2
    assert "lumi-c1, lumi-c2" in refused.stderr
    assert twin.run("cut", "lumi-c1", "sessions").returncode == 2


def test_up_again_changes_nothing(twin: Twin) -> None:
    def pids() -> dict[str, int]:
        hosts = json.loads(twin.must("status", "--json"))["hosts"]
        return {name: host["pid"] for name, host in hosts.items()}

    before = pids()
    twin.must("up", "--no-binds")
    assert pids() == before
    # and takes nothing away
    settings = Folder(twin.folder).settings
    assert settings.services
    assert settings.accounting
    assert str(twin.repository) in settings.binds


def _inside(spaces: set[str], before: int) -> list[str]:
    """Processes that live in these namespaces and began before a moment, in ticks since boot.

    A number of a namespace that is gone may belong to a new one, hence the moment.
    """
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            name, _, rest = (entry / "stat").read_text().rpartition(")")
            words = rest.split()
            own = {str((entry / "ns" / kind).readlink()) for kind in ("mnt", "net", "pid")}
        except OSError:
            continue
        if own & spaces and words[0] not in "ZX" and int(words[19]) <= before:
            found.append(name)
    return found


def _ticks() -> int:
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def _mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text().splitlines()


def _links() -> set[str]:
    return {path.name for path in Path("/sys/class/net").iterdir()}


def test_a_second_twin_beside_the_first_leaves_nothing(twin: Twin) -> None:
    folder = Path(tempfile.mkdtemp(prefix="twin-"))
    second = Twin(folder, twin.repository)
    mounts, links, kinds = _mounts(), _links(), ("mnt", "net", "pid")
    inner: set[str] = set()
    try:
        second.must("up", "--no-binds")
        second.must("cut", "lumi", "half")
        assert "timed out" in second.ssh("lumi", options="-o BatchMode=yes -o ConnectTimeout=4").stderr
        assert twin.ssh("lumi").returncode == 0
        hosts = json.loads(second.must("status", "--json"))["hosts"]
        inner = {
            str(Path(f"/proc/{host['pid']}/ns/{kind}").readlink())
            for host in hosts.values()
            for kind in kinds
        }
        assert len(inner) == len(hosts) * 3
        # a host that somebody else ended, and a daemon that is in the middle of something
        os.kill(hosts["jupiter-c1"]["pid"], 9)
        second.must("exec", "lumi", "sbatch -o /dev/null --wrap 'sleep 300'")
        ending = _ticks()
        assert _inside(inner, ending)
        assert f"{len(hosts) - 1} hosts ended" in second.must("down")
    finally:
        second.run("down")
    assert not _inside(inner, ending)
    assert _mounts() == mounts
    assert _links() == links
    assert all(
        host["pid"] is None for host in json.loads(second.run("status", "--json").stdout)["hosts"].values()
    )
    assert twin.ssh("lumi").returncode == 0
    second.must("down", "--purge")
    assert sorted(path.name for path in folder.iterdir()) == ["lock"]
    shutil.rmtree(folder)
