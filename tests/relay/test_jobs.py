"""Jobs in an empty network namespace through our own headers, and a relay that is killed at random moments."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ml_suite.relay.pull import Spool, here
from ml_suite.relay.relay import Relay
from ml_suite.relay.spool import SHIM
from ml_suite.server.address import Address
from tests.relay.conftest import Suite, until

Load = Callable[..., Suite]

GOOD = """
cut -d: -f1 /proc/net/dev >"$ECF_JOBOUT_HERE.net"
for n in 1 2 3 4; do
    ecflow_client --meter=done $n &
    ecflow_client --label=info "epoch $n" "of 4"
done
ecflow_client --event=ready
"""
BUSY = """
for n in $(seq 80); do
    ecflow_client --meter=done $n
    ecflow_client --label=info "epoch $n"
    [ $n != 20 ] || ecflow_client --event=ready
    [ $n != 30 ] || ecflow_client --event=late
    [ $n != 40 ] || ecflow_client --event=late clear
    sleep 0.12
done
"""


@pytest.fixture
def jobs(load: Load, tmp_path: Path, repository: Path, server: Address, spool: Path) -> Callable[..., Suite]:
    """Run bodies between head.h and tail.h; not DIRECT: with the shim and without any network."""

    def start(bodies: dict[str, str], direct: bool = False) -> Suite:
        scripts = tmp_path / ("direct" if direct else "spooled")
        scripts.mkdir()
        for name, body in bodies.items():
            text = f"export ECF_JOBOUT_HERE='%ECF_JOBOUT%'\n{body}"
            (scripts / f"{name}.ecf").write_text(f"%include <head.h>\n{text}\n%include <tail.h>\n")
        away = f"env PATH={SHIM}:$PATH ML_SUITE_SPOOL={spool} unshare -n"
        variables = {
            "ECF_JOB_CMD": f"{'' if direct else away} bash %ECF_JOB% >%ECF_JOBOUT% 2>&1 </dev/null &",
            "ECF_SCRIPT_CMD": f"cat {scripts}/%TASK%.ecf",
            "ECF_INCLUDE": repository / "suites" / "scripts" / "include",
            "ML_SUITE_RESOLVED": "/nowhere/resolved.json",
            "ML_SUITE_HOST": "far",
            "ML_SUITE_CYCLE": "once",
            "ML_SUITE_SERVER": server.host,
            "ML_SUITE_LIB": repository / "src",
            "ML_SUITE_PYTHON": "python3",
        }
        return load(*bodies, variables=variables)

    allowed = subprocess.run(["unshare", "-n", "true"], capture_output=True, text=True, check=False)
    if allowed.returncode:
        pytest.fail(f"these tests need network namespaces of their own: {allowed.stderr}")
    return start


def test_jobs_without_any_network_end_like_others(jobs: Callable[..., Suite], relay: Relay) -> None:
    bodies = {"good": GOOD, "bad": "true\nls /nonexistent", "killed": "kill -TERM $$; sleep 5"}
    far, near = jobs(bodies), jobs(bodies, direct=True)
    for name, state in {"good": "complete", "bad": "aborted", "killed": "aborted"}.items():
        near.wait(name, state)

    def ended() -> bool:
        relay.once()
        return {far.state(name) for name in bodies} <= {"complete", "aborted"}

    until(ended, 20, str([far.snapshot(name) for name in bodies]))
    out = far.folder / far.name / far.name
    assert "eth" not in (out / "good.1.net").read_text()
    for name in ("bad", "killed"):
        assert far.snapshot(name) == near.snapshot(name)
    good = far.snapshot("good")
    assert good[:2] == ("complete", 1)
    assert good[3:] == ([("ready", True), ("late", False)], [("info", "epoch 4 of 4")], "")
    assert (out / "good.1.outcome").read_text() == "complete\nsaid\n"


def test_a_task_that_waits_for_an_event_starts_in_mid_job(jobs: Callable[..., Suite], relay: Relay) -> None:
    """Events arrive while the job runs: latency is one look."""
    suite = jobs({"t": "ecflow_client --event=ready; sleep 3"})

    def event() -> bool:
        relay.once()
        return bool(suite.snapshot("t")[3] == [("ready", True), ("late", False)])

    until(event, 10, "no event")
    assert suite.state() == "active"


def test_a_relay_that_is_killed_twenty_times_loses_and_repeats_nothing(
    jobs: Callable[..., Suite], relay_command: Callable[..., list[str]], tmp_path: Path, server: Address
) -> None:
    bodies = {f"t{n}": BUSY for n in range(4)} | {"bad": BUSY + "\nfalse\n"}
    near = jobs(bodies, direct=True)
    far = jobs(bodies)
    draw = random.Random(1)
    kills = 0
    cursor = tmp_path / "state" / "cursor"
    command = relay_command("--interval", "0.02")
    output = (tmp_path / "relay.out").open("wb")
    while kills < 20:
        seen = inode(cursor)
        process = subprocess.Popen(command, stdout=output, stderr=output)
        until(lambda seen=seen: inode(cursor) != seen, 10, (tmp_path / "relay.out").read_text())
        # in the middle of fetching, saying and marking
        time.sleep(draw.random() * 0.25)
        assert process.poll() is None, (tmp_path / "relay.out").read_text()
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        for name in bodies:
            far.wait(name, "complete", "aborted", seconds=60)
            near.wait(name, "complete", "aborted", seconds=60)
    finally:
        process.terminate()
        assert process.wait(10) == 0
        output.close()
    for name in bodies:
        assert far.snapshot(name) == near.snapshot(name), name
    for name in bodies:
        said = heard(far, name)
        once = [(verb, what) for verb, what in said if verb in ("init", "event", "complete", "abort")]
        expected = ["init", "event", "event", "event", "abort" if name == "bad" else "complete"]
        assert [verb for verb, _ in once] == expected, once
        assert [what for verb, what in once if verb == "event"] == ["ready 1", "late 1", "late 0"]
        meters = [int(what.split()[1]) for verb, what in said if verb == "meter"]
        assert meters == sorted(set(meters)), "a meter went back or was said twice"
    assert zombies(far) == []


def inode(path: Path) -> int:
    """Another one as soon as a new relay has begun to work."""
    return path.stat().st_ino if path.exists() else 0


def heard(suite: Suite, name: str) -> list[tuple[str, str]]:
    """Commands that the server took for a task.

    Of a relay that was killed before the answer came, it names the command once more, in a line of errors.
    """
    line = rf"^MSG:\[[^\]]*\] chd:(\w+) ?(.*) {re.escape(f'/{suite.name}/{name}')}(?: .*)?$"
    return re.findall(line, suite.client.get_log(100_000), re.MULTILINE)


def zombies(suite: Suite) -> list[str]:
    return [str(z.type()) for z in suite.client.zombie_get(0) if suite.name in z.path_to_task()]


def test_a_relay_that_dies_between_saying_and_marking_says_nothing_twice(
    load: Load, server: Address, spool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one moment that a random kill may miss, for every command of a job."""
    suite = load()
    job = suite.job(spool)
    for arguments in (
        ("--init=77",),
        ("--event=ready",),
        ("--meter=done", "3"),
        ("--label=info", "a b"),
        ("--event=ready", "clear"),
        ("--abort=it broke",),
    ):
        job(*arguments)

    class Killed(BaseException):
        pass

    def dies(relay: Relay, marks: int) -> bool:
        """Whether it died: after so many marks, the next command being said and not marked."""
        mark, left = relay._cursor.mark, [None] * marks

        def die(key: str, numbers: Iterable[int]) -> None:
            if not left:
                raise Killed
            left.pop()
            mark(key, numbers)

        monkeypatch.setattr(relay._cursor, "mark", die)
        try:
            relay.once()
        except Killed:
            return True
        finally:
            relay.close()
        return False

    marks, deaths = 0, 0
    # each next one marks what was in doubt, says one more command and dies
    while dies(Relay(Spool(spool, here), tmp_path / "state", server), marks):
        marks, deaths = 1, deaths + 1
    assert deaths == 6
    assert [verb for verb, _ in heard(suite, "t")] == ["init", "event", "meter", "label", "event", "abort"]
    assert zombies(suite) == []
