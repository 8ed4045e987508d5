"""Commands and small files over one open connection, against a real sshd."""

from __future__ import annotations

import doctest
import os
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from ml_suite.errors import CredentialNeeded, HostBusy, HostError, HostUnreachable, OutcomeUnknown
from ml_suite.hosts import certificate, channel, limits, mux, reach, slurm_facts
from ml_suite.hosts.reach import Reach
from tests.hosts.sshd_fixture import Sshd, keygen, signal_process, wait_for

CALL = """
import sys
from ml_suite.hosts import channel
from ml_suite.hosts.reach import Reach
way = Reach(sys.argv[1], address="nowhere.invalid", wait=float(sys.argv[4]), sessions=int(sys.argv[2]))
try:
    print(channel.run(way, sys.argv[3], timeout=30).code)
except Exception as error:
    print(type(error).__name__)
"""


def call(way: Reach, script: str, sessions: int = 6) -> subprocess.Popen[str]:
    """Run a script at the host from a process of its own."""
    words = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{CALL}"]
    return subprocess.Popen(
        [*words, way.host, str(sessions), script, str(way.wait)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(
    "words",
    [
        ["printf", "%s|", "a b", "it's", '"$HOME"', "*", "", "-n", ";exit", "é"],
        ["printf", "%s|", "two\nlines"],
    ],
)
def test_an_argument_list_arrives_as_it_is(sshd: Sshd, words: list[str]) -> None:
    assert channel.run(sshd.way, words).out == "".join(f"{word}|" for word in words[2:])


@pytest.mark.parametrize("code", [0, 1, 124, 127, 255])
def test_a_command_that_fails_is_not_a_connection_that_fails(sshd: Sshd, code: int) -> None:
    done = channel.run(sshd.way, f"echo out; echo err >&2; exit {code}")
    assert done == channel.Done(code, "out\n", "err\n")


def test_a_script_may_have_lines_and_nothing_is_read_from_the_terminal(sshd: Sshd) -> None:
    script = "set -e\nfor i in 1 2; do\n  echo \"line '$i'\"\ndone\ncat\n"
    assert channel.run(sshd.way, script).out == "line '1'\nline '2'\n"
    assert channel.run(sshd.way, script, stdin="input").out.endswith("input")


def test_here_needs_no_ssh(home: Path) -> None:
    assert channel.run(Reach("local"), ["echo", "x y"]) == channel.Done(0, "x y\n", "")


def test_what_a_login_shell_writes_is_kept_apart(sshd: Sshd) -> None:
    sshd.stop()
    noisy = 'echo Welcome; echo Warning >&2; eval "$SSH_ORIGINAL_COMMAND"'
    sshd.options = [f"ForceCommand {noisy}"]
    sshd.start()
    done = channel.run(sshd.way, ["echo", "answer"])
    assert (done.out, done.noise) == ("answer\n", "Welcome\n")


def test_twenty_commands_need_one_connection(sshd: Sshd) -> None:
    for _ in range(20):
        channel.run(sshd.way, ["true"])
    assert sshd.connections == 1
    assert sshd.sessions_opened == 20


def test_a_command_over_the_open_connection_is_quick(sshd: Sshd) -> None:
    channel.run(sshd.way, ["true"])
    times = []
    for _ in range(10):
        start = time.monotonic()
        channel.run(sshd.way, ["true"])
        times.append(time.monotonic() - start)
    print(f"one command over the open connection: {1000 * sorted(times)[5]:.0f} ms")
    assert sorted(times)[5] < 1


def test_the_configuration_is_private_and_keeps_host_keys_checked(sshd: Sshd) -> None:
    config = Path(os.environ["HOME"]) / ".ssh" / "config"
    config.write_text("StrictHostKeyChecking no\nForwardAgent yes\n" + config.read_text())
    channel.run(sshd.way, ["true"])
    for path in (sshd.way.file("conf"), sshd.way.file("attempts.json"), sshd.way.file("log")):
        assert path.stat().st_mode & 0o777 == 0o600
    assert sshd.way.file("conf").parent.stat().st_mode & 0o777 == 0o700
    words = ["ssh", "-F", str(sshd.way.file("conf")), "-G", sshd.way.host]
    seen = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "forwardagent no" in seen
    assert f"port {sshd.port}" in seen
    trace = Path(f"/proc/{mux.master(sshd.way).pid}/cmdline").read_bytes()  # type: ignore[union-attr]
    assert b"StrictHostKeyChecking=yes" in trace


def test_a_long_home_folder_still_has_a_short_socket(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_SUITE_HOME", str(tmp_path / ("x" * 120)))
    path = mux.socket_path(sshd.way)
    assert len(str(path)) <= 90
    try:
        assert channel.run(sshd.way, ["echo", "in"]).out == "in\n"
        assert path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        mux.close_master(sshd.way)


def test_a_killed_master_is_replaced(sshd: Sshd) -> None:
    channel.run(sshd.way, ["true"])
    master = mux.master(sshd.way)
    assert master
    signal_process(master.pid, signal.SIGKILL)
    wait_for(lambda: mux.master(sshd.way) is None, "end of the master")
    assert channel.run(sshd.way, ["echo", "again"]).out == "again\n"
    assert sshd.connections == 2


def test_a_master_killed_under_a_command_leaves_its_outcome_unknown(sshd: Sshd, tmp_path: Path) -> None:
    channel.run(sshd.way, ["true"])
    master = mux.master(sshd.way)
    assert master
    check_unknown_when(sshd, tmp_path, lambda: signal_process(master.pid, signal.SIGKILL))


def test_an_sshd_killed_under_a_command_leaves_its_outcome_unknown(sshd: Sshd, tmp_path: Path) -> None:
    check_unknown_when(sshd, tmp_path, sshd.stop)


def check_unknown_when(sshd: Sshd, tmp_path: Path, fault: object) -> None:
    started = tmp_path / "started"

    def cut() -> None:
        wait_for(started.exists, "start of the command")
        fault()  # type: ignore[operator]

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(OutcomeUnknown, match="may have run or not"):
        channel.run(sshd.way, f"touch {started}; sleep 20", timeout=30)
    thread.join()


def test_a_half_dead_connection_hits_the_timeout_and_is_replaced(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PROBE", 0.5)
    channel.run(sshd.way, ["true"])
    for pid in sshd.sessions():
        os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(OutcomeUnknown, match="did not answer in 1 s"):
        channel.run(sshd.way, ["true"], timeout=1)
    assert time.monotonic() - start < 8
    assert channel.run(sshd.way, ["echo", "again"]).out == "again\n"
    assert sshd.connections == 2


def test_a_slow_command_does_not_end_a_good_connection(sshd: Sshd) -> None:
    with pytest.raises(OutcomeUnknown):
        channel.run(sshd.way, ["sleep", "5"], timeout=0.5)
    channel.run(sshd.way, ["true"])
    assert sshd.connections == 1


def test_six_at_once_over_all_processes_and_one_of_them_connects(sshd: Sshd, tmp_path: Path) -> None:
    script = f"echo + >>{tmp_path}/log; sleep 0.2; echo - >>{tmp_path}/log"
    calls = [call(sshd.way, script) for _ in range(20)]
    assert [one.communicate(timeout=60)[0] for one in calls] == ["0\n"] * 20
    running, most = 0, 0
    for sign in (tmp_path / "log").read_text().split():
        running += 1 if sign == "+" else -1
        most = max(most, running)
    assert 2 <= most <= 6
    assert sshd.connections == 1


def test_the_site_s_own_limit_of_sessions_makes_callers_wait(sshd: Sshd) -> None:
    sshd.stop()
    sshd.options = ["MaxSessions 2"]
    sshd.start()
    channel.run(sshd.way, ["true"])
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: channel.run(sshd.way, ["sleep", "0.1"]).code, range(8)))
    assert codes == [0] * 8
    assert sshd.connections == 1


def test_a_place_is_kept_while_the_command_of_a_killed_caller_runs(sshd: Sshd, tmp_path: Path) -> None:
    way = replace(sshd.way, sessions=1)
    channel.run(way, ["true"])
    killed = call(way, f"touch {tmp_path}/started; sleep 2", sessions=1)
    wait_for((tmp_path / "started").exists, "start of the command")
    killed.kill()
    killed.wait()
    with pytest.raises(HostBusy), limits.slot(way.file("slot"), 0.2, 1):
        pass
    with limits.slot(way.file("slot"), 10, 1):
        pass


def test_twenty_callers_of_a_closed_door_knock_once(sshd: Sshd) -> None:
    sshd.keys("")
    calls = [call(replace(sshd.way, wait=10), "true") for _ in range(20)]
    assert {one.communicate(timeout=60)[0] for one in calls} == {"CredentialNeeded\n"}
    assert sshd.connections == 1


def test_pauses_grow_and_a_success_ends_them() -> None:
    now, pauses, past = 1000.0, [], limits.Attempts()
    for _ in range(9):
        past = past.begun(now, 10).failed(now, 10, "HostUnreachable", "", None)
        pauses.append(past.pause(now))
        assert past.pause(now - 10 * limits.LONGEST_PAUSE) == 0
        now += past.pause(now)
    assert all(10 * 2**i <= pause <= 12.5 * 2**i for i, pause in enumerate(pauses[:6]))
    assert all(pause <= 1.25 * limits.LONGEST_PAUSE for pause in pauses)
    assert past.succeeded().pause(now) == 0


def test_an_attempt_that_was_killed_counts_as_failed() -> None:
    past = limits.Attempts().begun(1000.0, 10)
    assert past.pause(1000.0) >= 10


def test_connections_that_do_not_last_are_limited_too(sshd: Sshd) -> None:
    way = replace(sshd.way, wait=0.05)
    for _ in range(limits.BURST):
        channel.run(way, ["true"])
        mux.close_master(way)
    with pytest.raises(HostUnreachable, match="4 connections in 120 s"):
        channel.run(way, ["true"])
    assert sshd.connections == limits.BURST


def test_no_answer_is_unreachable_and_the_pause_says_until_when(sshd: Sshd) -> None:
    sshd.stop()
    with pytest.raises(HostUnreachable, match="Connection refused"):
        channel.run(sshd.way, ["true"])
    with pytest.raises(HostUnreachable, match=r"Connection refused.*next attempt in"):
        channel.run(replace(sshd.way, wait=30), ["true"])


def test_nothing_is_opened_where_it_is_not_wanted(sshd: Sshd) -> None:
    with pytest.raises(HostUnreachable, match="no connection is open"):
        channel.run(sshd.way, ["true"], connect=False)
    assert sshd.connections == 0


def test_a_refused_key_needs_a_person(sshd: Sshd) -> None:
    sshd.keys("")
    with pytest.raises(CredentialNeeded, match="Permission denied") as error:
        channel.run(sshd.way, ["true"])
    assert error.value.hint == "Run: ml-suite hosts login bighost"


def test_a_changed_host_key_is_refused_with_what_to_do(sshd: Sshd) -> None:
    sshd.stop()
    (sshd.folder / "host_key").unlink()
    keygen("-q", "-t", "ed25519", "-N", "", "-f", sshd.folder / "host_key")
    sshd.start()
    with pytest.raises(HostError, match="has changed") as error:
        channel.run(sshd.way, ["true"])
    assert re.search(r"delete \S+known_hosts, line 1 and run: ml-suite hosts login bighost", str(error.value))
    assert "Accepted" not in (sshd.folder / "sshd.log").read_text()


def test_an_unknown_host_key_is_refused(sshd: Sshd) -> None:
    (sshd.folder / "known_hosts").unlink()
    with pytest.raises(HostError, match=r"is not known.*\n.*ml-suite hosts login bighost"):
        channel.run(sshd.way, ["true"])


def test_files_go_and_come_back_whole(sshd: Sshd, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096
    target = tmp_path / "it's there"
    channel.put(sshd.way, data, str(target), mode=0o600)
    assert target.read_bytes() == data
    assert target.stat().st_mode & 0o777 == 0o600
    assert channel.get(sshd.way, str(target), tmp_path / "copy") == data
    assert (tmp_path / "copy").read_bytes() == data


def test_a_file_that_breaks_off_leaves_the_old_one(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "file"
    target.write_text("old")
    words = ["sh", "-c", channel._PUT, "put", str(target), "100", "644"]
    assert channel.run(sshd.way, words, stdin="half").code != 0
    assert [path.read_text() for path in target.parent.iterdir()] == ["old"]


def test_a_file_that_cannot_be_written_or_read_says_why(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(HostError, match=r"cannot be written.*nonexistent"):
        channel.put(sshd.way, "x", f"{tmp_path}/nonexistent/file")
    with pytest.raises(HostError, match=r"cannot be read.*No such file"):
        channel.get(sshd.way, f"{tmp_path}/none")


def test_an_endpoint_without_a_shell_runs_nothing(sshd: Sshd) -> None:
    with pytest.raises(HostError, match="runs no commands"):
        channel.run(replace(sshd.way, shell=False), ["true"])


@pytest.mark.parametrize("module", [certificate, channel, limits, mux, reach, slurm_facts])
def test_examples_in_the_documentation_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_nothing_but_the_standard_library_is_loaded() -> None:
    code = "import ml_suite.hosts.credentials, sys; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"pydantic", "click", "ruamel"} & set(loaded)
