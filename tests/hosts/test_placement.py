"""Which host takes a job that may run on several."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.errors import HostBusy
from ml_suite.hosts import placement, reach
from ml_suite.hosts.jobfile import ENDED, SUBMITTED, JobFiles, Remote
from ml_suite.hosts.jobhost import Ask, JobHost, JobHosts
from ml_suite.hosts.placement import Candidate, pick
from ml_suite.hosts.reach import Reach


def test_the_host_that_is_least_full_takes_the_job() -> None:
    chosen = pick([Candidate("a", busy=3, limit=4), Candidate("b", busy=4, limit=8)], "x")
    assert (chosen.host, chosen.reason) == ("b", "4 of 8 jobs there")


@pytest.mark.parametrize(
    ("obstacle", "words"),
    [
        ({"closed": "it wants a one-time code"}, "it wants a one-time code"),
        ({"lacks": "its data have not arrived"}, "its data have not arrived"),
        ({"busy": 2, "limit": 2}, "2 of 2 jobs there"),
        ({"spent": 90.0, "cost": 20.0, "budget": 100.0}, "budget spent: 90 of 100 GPU-hours"),
    ],
)
def test_a_host_that_cannot_take_it_is_passed_over_and_the_reason_told(
    obstacle: dict[str, object], words: str
) -> None:
    chosen = pick([Candidate("a", **obstacle), Candidate("b", busy=7, limit=8)], "x")
    assert chosen.host == "b"
    assert chosen.reason == f"7 of 8 jobs there; a: {words}"
    with pytest.raises(HostBusy, match=f"a: {words}"):
        pick([Candidate("a", **obstacle)], "x")


def test_equal_hosts_share_the_jobs_and_a_job_keeps_its_host() -> None:
    equal = [Candidate(name, limit=4) for name in ("a", "b", "c")]
    taken = [pick(equal, f"job {i}").host for i in range(60)]
    assert {host: taken.count(host) > 10 for host in ("a", "b", "c")} == dict.fromkeys("abc", True)
    assert taken == [pick(equal, f"job {i}").host for i in range(60)]


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobHosts:
    """Two machines: one needs a code, the other a key."""
    monkeypatch.setenv("ML_SUITE_HOME", str(tmp_path))
    for name, auth in (("coded", "totp"), ("keyed", "key")):
        way = Reach(name, address="192.0.2.1", auth=auth)
        reach.save((way, way))
    folder = Path("/w")
    host = JobHost(
        folder,
        folder,
        folder,
        folder,
        folder,
        folder,
        (),
        resources={"shard": Ask(nodes=2, gpus_per_node=4, walltime="30m")},
        limit=2,
        budget=12.0,
        needs=("mirror/x.arrived",),
    )
    return JobHosts(tmp_path, "a-study", tmp_path / "work", {"coded": host, "keyed": host})


def job(hosts: JobHosts, name: str, where: Remote | None = None) -> JobFiles:
    folder = hosts.home / "jobs" / "a_study" / "step1"
    folder.mkdir(parents=True, exist_ok=True)
    files = JobFiles(folder / f"{name}.job1", folder / f"{name}.1")
    if where:
        files.remember(where)
    return files


def test_what_is_known_beside_the_server_decides(hosts: JobHosts) -> None:
    mine = job(hosts, "mine", Remote("keyed", "k", "/w/jobs/k"))
    with pytest.raises(HostBusy) as none:
        placement.choose(["coded", "keyed"], hosts, "shard", mine)
    assert "coded: coded wants a one-time code (Run: ml-suite hosts login coded)" in none.value.message
    assert "keyed: its data have not arrived" in none.value.message

    (hosts.work / "mirror").mkdir(parents=True)
    (hosts.work / "mirror" / "x.arrived").touch()
    assert placement.choose(["coded", "keyed"], hosts, "shard", mine).host == "keyed", (
        "its own record does not count"
    )

    job(hosts, "first", Remote("keyed", "a", "/w/jobs/a", state=SUBMITTED))
    chosen = placement.choose(["coded", "keyed"], hosts, "shard", mine)
    assert chosen.reason.startswith("1 of 2 jobs there; coded:")
    job(hosts, "second", Remote("keyed", "b", "/w/jobs/b", state=SUBMITTED))
    with pytest.raises(HostBusy, match="keyed: 2 of 2 jobs there"):
        placement.choose(["keyed"], hosts, "shard", mine)

    # what is over makes room at once, before everybody has been told
    job(hosts, "second", Remote("keyed", "b", "/w/jobs/b", state=SUBMITTED, over=True))
    assert placement.choose(["keyed"], hosts, "shard", mine).reason == "1 of 2 jobs there"
    # what has ended makes room, and counts against the budget: 8 GPUs for half an hour each
    job(hosts, "second", Remote("keyed", "b", "/w/jobs/b", state=ENDED))
    with_room = placement.choose(["keyed"], hosts, "shard", mine)
    assert with_room.host == "keyed"
    job(hosts, "third", Remote("keyed", "c", "/w/jobs/c", state=ENDED))
    with pytest.raises(HostBusy, match="budget spent: 12 of 12 GPU-hours"):
        placement.choose(["keyed"], hosts, "shard", mine)
