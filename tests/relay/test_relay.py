"""The relay against a real server: what arrives, what waits, what is dropped or put aside."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import ecflow
import pytest

from ml_suite.errors import HostError, MlSuiteError
from ml_suite.relay.pull import Spool, here
from ml_suite.relay.relay import Relay
from ml_suite.server.address import Address
from tests.ecflow_fixture import registered_port, start_server, stop_server
from tests.relay.conftest import Job, Suite, until

Load = Callable[..., Suite]


def test_commands_arrive_in_order_and_meters_and_labels_coalesced(
    load: Load, relay: Relay, spool: Path
) -> None:
    suite = load()
    job = suite.job(spool)
    job("--init=77")
    relay.once()
    assert suite.state() == "active"
    for n in range(20):
        job("--meter=done", str(n))
        job("--label=info", "loss", str(n))
    job("--event=ready")
    job("--event=late")
    job("--event=late", "clear")
    job("--meter=done", "20")
    job("--complete")
    report = relay.once()
    assert (report.said, report.coalesced, report.waiting) == (7, 38, 0)
    assert suite.snapshot("t") == (
        "complete",
        1,
        [("done", 20)],
        [("ready", True), ("late", False)],
        [("info", "loss 19")],
        "",
    )
    assert str(relay.once()) == "nothing to say"
    assert list((spool / "new").iterdir()) == []


def test_what_a_relay_keeps_is_private_and_small(
    load: Load, relay: Relay, spool: Path, tmp_path: Path
) -> None:
    suite = load()
    suite.job(spool)("--init=77")
    Job(spool, path="/nowhere/t")("--abort=x")
    relay.once()
    for path in [tmp_path / "state", *(tmp_path / "state").rglob("*")]:
        assert not path.stat().st_mode & 0o077, path
    assert list((tmp_path / "state" / "inbox").iterdir()) == []


def zombies(suite: Suite) -> list[tuple[str, str, int]]:
    found = suite.client.zombie_get(0)
    return [
        (str(z.type()), str(z.last_child_cmd()), z.calls()) for z in found if suite.name in z.path_to_task()
    ]


def test_superseded_try_is_dropped_and_makes_no_zombie(load: Load, relay: Relay, spool: Path) -> None:
    suite = load()
    old = suite.job(spool)
    old("--init=77")
    old("--event=ready")
    old("--abort=too late")
    suite.client.force_state(old.path, ecflow.State.queued)
    until(lambda: suite.task().get_int_try_no() == 2 and suite.state() == "submitted", 10, "no second try")
    new = suite.job(spool, pid="88")
    new("--init=88")
    # ecFlow itself notes one when a person takes the try away
    before = zombies(suite)
    report = relay.once()
    assert (report.said, len(report.dropped)) == (1, 3)
    assert "superseded" in report.dropped[0]
    assert suite.state() == "active"
    assert zombies(suite) == before
    new("--complete")
    relay.once()
    assert suite.state() == "complete"
    assert suite.snapshot("t")[3] == [("ready", False), ("late", False)]


def test_a_job_that_the_server_tries_again_is_said_in_its_second_try(
    load: Load, relay: Relay, spool: Path
) -> None:
    suite = load(tries=2)
    first = suite.job(spool)
    first("--init=77")
    first("--abort=no luck")
    first("--label=info", "after the end")
    report = relay.once()
    assert report.said == 2
    until(lambda: suite.task().get_int_try_no() == 2, 10, "no second try")
    second = suite.job(spool, pid="78")
    second("--init=78")
    second("--complete")
    relay.once()
    assert suite.state() == "complete"


def test_unknown_task_is_put_aside_and_holds_up_nobody(
    load: Load, relay: Relay, spool: Path, tmp_path: Path
) -> None:
    suite = load()
    stranger = Job(spool, path="/deleted_suite/f/t")
    stranger("--init=1")
    stranger("--complete")
    suite.job(spool)("--init=77")
    report = relay.once()
    assert (report.said, len(report.parked), report.waiting) == (1, 2, 0)
    assert "no such task" in report.parked[0]
    assert len(list((tmp_path / "state" / "parked").glob("*.reason"))) == 2
    assert "pass1234" not in "".join(report.parked)


def test_parked_commands_can_be_tried_again(
    load: Load, server: Address, relay_command: Callable[..., list[str]], spool: Path
) -> None:
    suite = load()
    relay = Relay(Spool(spool, here), spool.parent / "state", server)
    job = suite.job(spool)
    defs = suite.client.get_defs()
    path = f"/{suite.name}"
    text = spool.parent / "suite.def"
    defs.save_as_defs(str(text), ecflow.Style.MIGRATE)
    job("--init=77")
    job("--complete")
    suite.client.delete(path, True)
    assert len(relay.once().parked) == 2
    assert len(relay.again().parked) == 2
    # the operator brings the suite back with its state
    kept = ecflow.Defs(str(text))
    suite.client.replace(path, kept, True, True)
    relay.close()
    done = subprocess.run(relay_command("--again"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 said" in done.stdout
    assert suite.state() == "complete"


def test_complete_of_a_task_that_was_aborted_meanwhile_is_for_a_person(
    load: Load, relay: Relay, spool: Path
) -> None:
    suite = load()
    job = suite.job(spool)
    job("--init=77")
    relay.once()
    suite.client.force_state(job.path, ecflow.State.aborted)
    job("--meter=done", "5")
    job("--complete")
    report = relay.once()
    assert suite.state() == "aborted"
    assert "aborted already" in report.parked[0]
    suite.client.force_state(job.path, ecflow.State.active)
    assert relay.again().said == 1
    assert suite.state() == "complete"


def test_a_halted_server_keeps_everything_waiting(load: Load, relay: Relay, spool: Path) -> None:
    suite = load()
    job = suite.job(spool)
    suite.client.halt_server()
    try:
        job("--init=77")
        job("--meter=done", "5")
        report = relay.once()
        assert report.waiting == 2
        assert "halted" in str(report)
        job("--complete")
        assert relay.once().waiting == 3
        assert list((spool / "new").iterdir()) != [], "the last one is deleted by the next round trip"
        assert relay.once().waiting == 3
        assert list((spool / "new").iterdir()) == []
    finally:
        suite.client.restart_server()
    assert relay.once().waiting == 0
    assert suite.snapshot("t")[:3] == ("complete", 1, [("done", 5)])


def test_a_server_that_does_not_answer_keeps_everything_waiting(spool: Path, tmp_path: Path) -> None:
    Job(spool)("--init=77")
    address = Address("localhost", 9, "test")
    for _ in range(2):
        relay = Relay(Spool(spool, here), tmp_path / "state", address)
        report = relay.once()
        assert report.waiting == 1
        assert "1 waiting; no ecFlow server answers" in str(report)
        relay.close()


def test_a_spool_that_cannot_be_asked_does_not_stop_what_is_here(
    load: Load, server: Address, spool: Path
) -> None:
    suite = load()
    state = spool.parent / "state"
    broken = False

    def run(script: str, given: bytes) -> bytes:
        if broken:
            raise HostError("the line is dead")
        return here(script, given)

    relay = Relay(Spool(spool, run), state, server)
    suite.client.halt_server()
    suite.job(spool)("--init=77")
    relay.once()
    broken = True
    suite.client.restart_server()
    report = relay.once()
    assert report.said == 1
    assert report.trouble == ["the line is dead"]
    relay.close()


def test_only_one_relay_serves_a_spool(relay: Relay, spool: Path, tmp_path: Path, server: Address) -> None:
    with pytest.raises(MlSuiteError, match="another relay"):
        Relay(Spool(spool, here), tmp_path / "state", server)


def test_a_number_that_was_drawn_and_never_used_holds_up_for_a_while(
    load: Load, relay: Relay, spool: Path
) -> None:
    suite = load()
    job = suite.job(spool)
    job("--init=77")
    job("--event=late")
    job("--complete")
    hidden = sorted((spool / "new").iterdir())[1]
    away = spool / "hidden"
    hidden.rename(away)
    assert relay.once().waiting == 1
    assert suite.state() == "active", "complete waits for what came before it"
    away.rename(hidden)
    assert relay.once().waiting == 0
    assert suite.snapshot("t")[3] == [("ready", False), ("late", True)]


def test_a_gap_that_stays_is_passed_over(load: Load, relay: Relay, spool: Path) -> None:
    suite = load()
    job = suite.job(spool)
    job("--init=77")
    job("--event=late")
    job("--complete")
    sorted((spool / "new").iterdir())[1].unlink()
    relay.once()
    until(lambda: relay.once().waiting == 0, 5, "it waits for ever")
    assert suite.state() == "complete"


def test_two_suites_share_one_relay(load: Load, relay: Relay, spool: Path) -> None:
    one, two = load(), load("a", "b")
    jobs = [one.job(spool), two.job(spool, "a"), two.job(spool, "b")]
    for job in jobs:
        job("--init=77")
    for job in jobs:
        job("--complete")
    assert relay.once().said == 6
    assert [one.state(), two.state("a"), two.state("b")] == ["complete"] * 3


def test_strange_files_are_put_aside(load: Load, relay: Relay, spool: Path) -> None:
    suite = load()
    suite.job(spool)("--init=77")
    (spool / "new" / "x.000000001").write_text("rubbish")
    (spool / "new" / "far.999999999").write_text("rubbish far ahead")
    (spool / "new" / "README").write_text("?")
    (spool / "new" / ".hidden").write_text("?")
    report = relay.once()
    assert report.said == 1
    assert sorted(line.split(":")[0] for line in report.parked) == ["far.999999999", "x.000000001"]
    assert report.refused >= 1


def test_command_line(load: Load, relay_command: Callable[..., list[str]], spool: Path) -> None:
    suite = load()
    job = suite.job(spool)
    job("--init=77")
    done = subprocess.run(relay_command("--once"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("1 said")
    suite.client.halt_server()
    job("--complete")
    done = subprocess.run(relay_command("--once"), capture_output=True, text=True, check=False)
    suite.client.restart_server()
    assert done.returncode == 1
    assert "1 waiting" in done.stdout
    assert "is halted" in done.stdout
    far = subprocess.run(
        [*relay_command(), "--host", "nowhere", "--once"], capture_output=True, text=True, check=False
    )
    assert far.returncode == 2
    assert "there is no host file for 'nowhere'" in far.stderr
    wrong = subprocess.run([*relay_command(), "--server", "x:y"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 5
    assert "Traceback" not in wrong.stderr


def test_a_server_that_crashed_is_told_again_what_it_forgot(spool: Path, tmp_path: Path) -> None:
    """Nothing since the checkpoint survives kill -9 of ecFlow; what jobs said since then does."""
    port = registered_port()
    process = start_server(tmp_path / "home", port)
    client = ecflow.Client("localhost", port)
    client.restart_server()
    defs = ecflow.Defs()
    top = defs.add_suite("crash")
    for key, value in {"ECF_JOB_CMD": "true", "ECF_SCRIPT_CMD": "echo :", "ECF_HOME": str(tmp_path)}.items():
        top.add_variable(key, value)
    for name in ("ended", "running"):
        task = top.add_task(name)
        task.add_event("ready")
        task.add_event("late")
        task.add_meter("done", 0, 100, 100)
        task.add_label("info", "-")
    client.load(defs)
    client.begin_suite("crash")
    suite = Suite(client, "crash", tmp_path)
    ended, running = (
        suite.job(spool, name) for name in ("ended", "running") if not suite.wait(name, "submitted")
    )
    client.checkpt()
    relay = Relay(Spool(spool, here), tmp_path / "state", Address("localhost", port, "test"))
    for job in (ended, running):
        job("--init=77")
        job("--event=late")
        job("--meter=done", "7")
        job("--label=info", "best 0.1")
        job("--event=late", "clear")
        job("--event=ready")
    ended("--complete")
    assert relay.once().waiting == 0
    before = [suite.snapshot(name) for name in ("ended", "running")]
    process.kill()
    process.wait()
    assert "no ecFlow server answers" in str(relay.once())
    process = start_server(tmp_path / "home", port)
    try:
        assert "halted" in str(relay.once()), "a server comes back halted"
        assert suite.state("ended") == "submitted", "it has forgotten"
        client.restart_server()
        assert relay.once().again == 9
        assert [suite.snapshot(name) for name in ("ended", "running")] == before
        assert relay.once().again == 0
        running("--complete")
        relay.once()
        assert suite.state("running") == "complete"
        assert zombies(suite) == []
    finally:
        relay.close()
        stop_server(process, port)
