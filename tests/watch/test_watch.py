"""What an operator sees: hosts that open and close, and a relay that is always there."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

from ml_suite.hosts import limits, mux
from ml_suite.hosts.jobfile import alive, start_time
from ml_suite.relay.__main__ import _parser, _state
from ml_suite.relay.pull import Spool, here
from ml_suite.relay.relay import Relay
from ml_suite.server.address import Address
from ml_suite.server.client import connect
from ml_suite.watch import OPEN
from ml_suite.watch.keep import revive
from ml_suite.watch.registry import Watched
from tests.hosts.sshd_fixture import NAME, Sshd, descendants
from tests.relay.conftest import Job
from tests.watch.conftest import NEAR, Rig, wait

HOST = f"/ml_suite/{NAME}"
RELAY = f"{HOST}/relay"


def test_a_valid_certificate_opens_the_host_within_a_minute(rig: Rig, certified: Sshd) -> None:
    rig.deploy("demo", Watched(NAME), **{NAME: certified.way})
    wait(lambda: rig.limit() == OPEN, "open limit", 70)
    assert rig.meter(HOST, "minutes") in (659, 660)
    assert rig.label(HOST, "state").startswith("ready, 1")
    assert rig.red() == []


def test_an_ended_certificate_holds_back_and_a_new_one_lets_go(rig: Rig, certified: Sshd) -> None:
    rig.deploy("demo", Watched(NAME), Watched(NEAR), **{NAME: certified.way})
    wait(lambda: rig.limit() == rig.limit(NEAR) == OPEN, "open limits", 70)
    certified.sign("-2h", "-1h")
    # the connection outlives its certificate: commands run, so nothing is held back
    rig.look()
    assert rig.label(HOST, "state") == "ready-expired: step ssh login EMAIL"
    assert rig.limit() == OPEN
    mux.close_master(certified.way)
    before = certified.connections

    assert "bighost is closed: needs-human: step ssh login EMAIL" in rig.look()
    assert rig.limit() == 0
    assert rig.meter(HOST, "minutes") == 0
    assert rig.label(HOST, "state") == "needs-human: step ssh login EMAIL"
    assert [event.value() for event in rig.node(HOST).events] == [True]
    # told once, however often it is looked at, and nobody knocks
    assert "is closed" not in rig.look()
    assert certified.connections == before
    log = "\n".join(rig.client.get_log(500).splitlines())
    assert log.count("ml_suite: bighost is closed") == 1

    rig.user_suite("demo", far=NAME, near=NEAR)
    wait(lambda: rig.state("/demo/near") == "submitted", "the other host's task")
    assert rig.state("/demo/far") == "queued"
    assert rig.red() == []

    certified.sign("-1m", "+5h")
    # nothing else is done: the next minute does it
    rig.client.resume(f"{HOST}/login")
    wait(lambda: rig.state("/demo/far") == "submitted", "the task after the renewal", 75)
    assert rig.limit() == OPEN
    # the limit opens first, so that no task waits for a word to a person
    ready = ("ready, 5 h", "ready, 4 h 59")
    wait(lambda: rig.label(HOST, "state").startswith(ready), "the word that it is ready")
    assert rig.red() == []


def test_a_host_that_is_down_is_closed_and_not_asked_oftener_than_it_bears(rig: Rig, sshd: Sshd) -> None:
    way = replace(sshd.way, wait=8.0)
    rig.deploy("demo", Watched(NAME), **{NAME: way})
    wait(lambda: rig.limit() == OPEN, "open limit", 70)
    mux.close_master(way)
    sshd.stop()
    wait(lambda: not mux.listening(way), "end of the connection")
    assert "is closed: down" in rig.look()
    for _ in range(2):
        rig.look()
    text = rig.label(HOST, "state")
    assert text.startswith("down: bighost cannot be reached")
    assert "next attempt in" in text
    assert limits.read(way.file("attempts.json")).failures == 1
    assert rig.red() == []
    sshd.start()


def test_a_killed_relay_runs_again_by_itself(rig: Rig, certified: Sshd, spool: Path) -> None:
    rig.deploy("demo", Watched(NAME, (str(spool),)), **{NAME: certified.way})
    shell = rig.shell(RELAY)
    wait(lambda: rig.label(RELAY, "counts") == "0 said, 0 waiting, 0 parked", "counts", 30)
    assert rig.label(RELAY, "trouble") == "none"
    # the relay itself
    (relay,) = [pid for pid in descendants(shell) if b"ml_suite.relay" in command_line(pid)]
    os.kill(relay, signal.SIGKILL)
    wait(lambda: not alive(shell, start_time(shell) or -1), "end of the job")
    second = rig.shell(RELAY)
    assert second != shell
    # its keeper and its shell: nobody is left to tell ecFlow, and the relay ends by itself
    running = rig.job(RELAY).running
    assert running is not None
    wait(lambda: relays(second), "the second relay")
    (orphan,) = relays(second)
    for pid in (running.keeper, second):
        os.kill(pid, signal.SIGKILL)
    wait(lambda: not Path(f"/proc/{orphan}").exists(), "end of the orphan", 20)
    assert revived(rig) == [f"{RELAY} had no job any more: queued again"]
    rig.shell(RELAY)
    wait(lambda: rig.label(RELAY, "trouble") == "none", "its first pass")
    assert rig.red() == []


def test_a_relay_stays_stopped_only_when_it_is_suspended(rig: Rig, certified: Sshd, spool: Path) -> None:
    rig.deploy("demo", Watched(NAME, (str(spool),)), **{NAME: certified.way})
    rig.shell(RELAY)
    rig.client.kill(RELAY)
    wait(lambda: rig.state(RELAY) == "aborted", "the kill")
    revived(rig)
    rig.shell(RELAY)
    rig.client.suspend(RELAY)
    rig.client.kill(RELAY)
    wait(lambda: rig.state(RELAY) != "active", "the kill")
    assert revived(rig) == []
    assert not rig.runs(RELAY)
    rig.client.resume(RELAY)
    assert revived(rig) == [f"{RELAY} had ended: queued again"]
    rig.shell(RELAY)


def test_a_second_relay_waits_and_is_not_red(rig: Rig, certified: Sshd, spool: Path) -> None:
    options = _parser().parse_args(["--spool", str(spool), "--host", NAME])
    first = Relay(Spool(spool, here), _state(options), Address("localhost", rig.port, "test"))
    rig.deploy("demo", Watched(NAME, (str(spool),)), **{NAME: certified.way})
    wait(lambda: rig.label(RELAY, "trouble").startswith("another relay works in"), "the reason", 40)
    shell = rig.shell(RELAY)
    first.close()
    wait(lambda: rig.label(RELAY, "trouble") == "none", "its turn", 30)
    assert rig.shell(RELAY) == shell
    assert rig.node(RELAY).get_int_try_no() == 1


def test_everything_is_as_before_when_the_server_starts_from_its_checkpoint(
    rig: Rig, certified: Sshd, spool: Path
) -> None:
    rig.deploy("demo", Watched(NAME, (str(spool),)), Watched(NEAR), **{NAME: certified.way})
    wait(lambda: rig.limit() == OPEN, "open limit", 70)
    certified.sign("-2h", "-1h")
    mux.close_master(certified.way)
    rig.look()
    shell = rig.shell(RELAY)
    rig.client.checkpt()
    rig.crash()
    assert rig.limit() == 0
    assert rig.limit(NEAR) == OPEN
    assert rig.label(HOST, "state") == "needs-human: step ssh login EMAIL"
    assert rig.shell(RELAY) == shell
    assert "is closed" not in rig.look()
    # the machine too: the jobs are gone, and the server goes on from a checkpoint in which they run
    running = rig.job(RELAY).running
    assert running is not None
    rig.client.checkpt()
    rig.process.kill()
    rig.process.wait()
    for pid in (running.keeper, *relays(shell), shell):
        os.kill(pid, signal.SIGKILL)
    rig.start()
    wait(lambda: rig.runs(RELAY), "the relay after the reboot", 150)
    assert rig.red() == []


def test_an_older_checkpoint_without_the_relay_ends_with_one_relay(
    rig: Rig, certified: Sshd, spool: Path
) -> None:
    rig.deploy("demo", Watched(NAME, (str(spool),)), **{NAME: certified.way})
    rig.client.suspend("/ml_suite")
    wait(lambda: rig.runs(RELAY), "the relay")
    shell = rig.shell(RELAY)
    wait(lambda: rig.label(RELAY, "trouble") == "none", "its first pass")
    # as a checkpoint from before its submission would have it
    rig.client.requeue([RELAY], "force")
    rig.client.checkpt()
    rig.crash()
    rig.client.resume("/ml_suite")
    wait(lambda: not Path(f"/proc/{shell}").exists(), "end of the first relay", 40)
    wait(lambda: rig.runs(RELAY) and rig.label(RELAY, "trouble") == "none", "the second relay", 90)
    assert rig.red() == []


def test_a_second_deployment_keeps_the_hosts_of_the_first(rig: Rig, certified: Sshd, spool: Path) -> None:
    ways = {NAME: certified.way}
    first = rig.deploy("demo", Watched(NAME, (str(spool),)), **ways)
    assert first is not None
    wait(lambda: rig.limit() == OPEN, "open limit", 70)
    rig.user_suite("demo", far=NAME)
    shell = rig.shell(RELAY)
    assert rig.deploy("demo", Watched(NAME, (str(spool),)), **ways) is None

    assert rig.deploy("other", Watched(NEAR), Watched(NAME, (f"{spool}2",)), **ways) is not None
    assert rig.limit() == OPEN
    assert rig.shell(RELAY) == shell
    other = next(n.name() for n in rig.node(HOST).nodes if n.name().startswith("relay_"))
    rig.shell(f"{HOST}/{other}")
    wait(lambda: rig.limit(NEAR) == OPEN, "the other host's limit", 70)

    # the first suite leaves the host, the second one stays
    rig.user_suite("other", far=NAME)
    assert rig.deploy("demo") is not None
    names = [n.name() for n in rig.node(HOST).nodes]
    assert names == ["login", "relay", "sweep", "courier", "transfers"]
    wait(lambda: not Path(f"/proc/{shell}").exists(), "end of the relay that nobody wants", 40)
    wait(lambda: rig.label(RELAY, "trouble") == "none", "the relay of the second suite", 90)
    assert rig.red() == []


def revived(rig: Rig) -> list[str]:
    return revive(connect(Address("localhost", rig.port, "test")), rig.home, lambda _: time.sleep(1))


def relays(shell: int) -> list[int]:
    return [pid for pid in descendants(shell) if b"ml_suite.relay" in command_line(pid)]


def command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_what_a_job_says_is_said_and_counted(rig: Rig, certified: Sshd, spool: Path) -> None:
    rig.deploy("demo", Watched(NAME, (str(spool),)), **{NAME: certified.way})
    wait(lambda: rig.limit() == OPEN, "open limit", 70)
    rig.user_suite("demo", far=NAME)
    wait(lambda: rig.state("/demo/far") == "submitted", "the task")
    task = rig.node("/demo/far")
    job = Job(spool, "/demo/far", task.get_jobs_password(), task.get_int_try_no())
    job("--init=77")
    job("--complete")
    Job(spool, "/gone/t")("--complete")
    wait(lambda: rig.state("/demo/far") == "complete", "what the job said")
    wait(lambda: rig.label(RELAY, "counts") == "2 said, 0 waiting, 1 parked", "counts", 30)
    assert rig.label(RELAY, "delay") in ("at most 2 s", "at most 3 s", "at most 4 s")
    assert "parked gone.t" in rig.job(RELAY).output.read_text()
    # while nobody can log in, what was fetched waits for nothing and what was not stays where it is
    certified.sign("-2h", "-1h")
    mux.close_master(certified.way)
    wait(lambda: "step ssh login EMAIL" in rig.label(RELAY, "trouble"), "the reason", 40)
    assert rig.runs(RELAY)
