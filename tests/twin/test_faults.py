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

from tests.twin.conftest import Twin

pytestmark = pytest.mark.twin


@pytest.fixture(autouse=True)
def mended(twin: Twin) -> Iterator[None]:
    """What one test cut does not trouble the next."""
    yield
    for name in json.loads(twin.run("status", "--json").stdout)["cuts"]:
        twin.must("heal", name)


def states(twin: Twin, site: str) -> dict[str, str]:
    done = twin.run("status", "--json")
    found: dict[str, str] = json.loads(done.stdout)["sites"][site]["nodes"]
    return found


def wait_state(twin: Twin, site: str, node: str, wanted: set[str], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while (state := states(twin, site).get(node)) not in wanted:
        assert time.monotonic() < deadline, f"{node} is {state}"
        time.sleep(0.5)


def test_a_line_that_is_out_says_so_and_heals(twin: Twin) -> None:
    for name in ("lumi", "lumi-login"):
        twin.must("cut", name, "link")
        assert "No route to host" in twin.ssh("lumi").stderr
        assert (
            twin.must("exec", "lumi-c1", "sinfo -h | head -1 | wc -l").strip() == "1" or name == "lumi-login"
        )
        twin.must("heal", name)
        assert twin.ssh("lumi").returncode == 0


def test_a_half_dead_line_stalls_an_open_connection(twin: Twin) -> None:
    control = "-o BatchMode=yes -o ControlPath=/tmp/half"
    twin.must("exec", "ops", "ssh -M -N -f -o ControlPath=/tmp/half lumi")
    assert twin.ssh("lumi", options=control).returncode == 0
    twin.must("cut", "lumi", "half")
    # not through the pipe of this test: the master holds on to the output of a client that was killed
    stalled = f"timeout 5 ssh {control} lumi hostname >/dev/null 2>&1 </dev/null"
    assert twin.run("exec", "ops", stalled).returncode == 124
    # the master does not know
    assert "running" in twin.run("exec", "ops", "ssh -o ControlPath=/tmp/half -O check lumi").stderr
    assert twin.must("exec", "lumi-c1", "sinfo -h | wc -l").strip() != "0"
    twin.must("heal", "lumi")
    assert twin.ssh("lumi", options=control).returncode == 0
    twin.must("exec", "ops", "ssh -o ControlPath=/tmp/half -O exit lumi")


def test_a_node_that_is_off_is_noticed_and_comes_back(twin: Twin) -> None:
    twin.must("cut", "lumi-c2", "node")
    assert twin.run("status").returncode == 1
    wait_state(twin, "lumi", "lumi-c2", {"down", "down*"}, 60)
    assert twin.ssh("lumi").returncode == 0
    twin.must("heal", "lumi-c2")
    wait_state(twin, "lumi", "lumi-c2", {"idle"}, 20)
    assert twin.must("exec", "lumi", "srun -w lumi-c2 -t1 hostname").strip() == "lumi-c2"


def test_a_controller_that_was_off_knows_its_jobs(twin: Twin) -> None:
    job = twin.must("exec", "marenostrum5", "sbatch --parsable -o /dev/null --wrap 'sleep 60'").strip()
    while "RUNNING" not in twin.must("exec", "marenostrum5", f"squeue -h -j {job} -o %T"):
        time.sleep(0.2)
    wait_saved(twin, "marenostrum5", time.time())
    twin.must("cut", "marenostrum5", "node")
    twin.must("heal", "marenostrum5")
    assert twin.must("exec", "marenostrum5", f"squeue -h -j {job} -o %T").strip() == "RUNNING"
    twin.must("exec", "marenostrum5", "scancel --me")


def wait_saved(twin: Twin, site: str, moment: float) -> None:
    """Wait until the controller has written down what it knew at a moment; killed before, it forgets that."""
    # a change of any job makes it write
    twin.must("exec", site, "sbatch -H -o /dev/null --wrap true")
    deadline = time.monotonic() + 30
    saved = "stat -c %Y /var/spool/slurmctld/job_state"
    while int(twin.must("exec", f"root@{site}-login", saved)) <= moment:
        assert time.monotonic() < deadline, "the controller does not save its jobs"
        time.sleep(0.5)


def test_a_full_disk_takes_nothing_and_keeps_what_it_has(twin: Twin) -> None:
    twin.must("exec", "jupiter-c1", "echo kept > $SCRATCH/kept")
    twin.must("cut", "jupiter", "disk")
    done = twin.run("exec", "jupiter-c1", "head -c 100000 /dev/zero > $SCRATCH/large")
    assert "No space left on device" in done.stderr
    assert twin.must("exec", "jupiter", "cat $SCRATCH/kept") == "kept\n"
    twin.must("heal", "jupiter")
    twin.must("exec", "jupiter-c1", "head -c 1000000 /dev/zero > $SCRATCH/large")


def test_what_cannot_be_cut_is_refused(twin: Twin) -> None:
    assert twin.run("cut", "lumi", "cert").returncode == 2
    assert twin.run("cut", "nowhere").returncode == 2
    assert twin.run("cut", "router").returncode == 2


def test_up_again_changes_nothing(twin: Twin) -> None:
    def pids() -> dict[str, int]:
        hosts = json.loads(twin.must("status", "--json"))["hosts"]
        return {name: host["pid"] for name, host in hosts.items()}

    before = pids()
    twin.must("up", "--no-binds")
    assert pids() == before


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
        begun = time.monotonic()
        second.must("up", "--no-binds")
        assert time.monotonic() - begun < 15
        second.must("cut", "lumi", "half")
        assert "timed out" in second.ssh("lumi").stderr
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
