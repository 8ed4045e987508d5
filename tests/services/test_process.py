from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ml_suite.services.process import Process, end, identify, launch, members

_STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
time.sleep(99)
"""


def _launch(tmp_path: Path, *command: str) -> Process:
    return launch(command, dict(os.environ), tmp_path, tmp_path / "log")


def test_process_is_recognised_until_it_ends(tmp_path: Path) -> None:
    process = _launch(tmp_path, "sleep", "99")
    assert process.alive
    assert identify(process.pid) == process
    end(process)
    assert not process.alive
    assert members(process) == []


def test_recycled_number_is_never_signalled(tmp_path: Path) -> None:
    innocent = _launch(tmp_path, "sleep", "99")
    earlier = replace(innocent, start=innocent.start.rpartition(":")[0] + ":1")
    another_boot = replace(innocent, start="0000:" + innocent.start.rpartition(":")[2])
    try:
        for stale in (earlier, another_boot):
            assert not stale.alive
            end(stale, grace=0.1)
            assert innocent.alive
    finally:
        end(innocent)


def test_one_that_ignores_term_is_killed(tmp_path: Path) -> None:
    process = _launch(tmp_path, sys.executable, "-c", _STUBBORN)
    while "up" not in (tmp_path / "log").read_text():
        time.sleep(0.01)
    end(process, grace=0.3)
    assert not process.alive


@pytest.mark.parametrize("leader_first", [False, True])
def test_children_end_with_their_leader(tmp_path: Path, leader_first: bool) -> None:
    process = _launch(tmp_path, "sh", "-c", "sleep 99 & sleep 98 & wait")
    while len(members(process)) < 3:
        time.sleep(0.01)
    family = members(process)
    if leader_first:
        os.kill(process.pid, 9)
        while process.alive:
            time.sleep(0.01)
    end(process)
    assert not any(member.alive for member in family)


def test_it_outlives_its_parent(tmp_path: Path) -> None:
    code = """
import os, pathlib, sys
from ml_suite.services.process import launch
folder = pathlib.Path(sys.argv[1])
process = launch(["sleep", "99"], dict(os.environ), folder, folder / "log")
print(process.pid, process.start)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    pid, start = done.stdout.split()
    process = Process(int(pid), start)
    assert process.alive
    end(process)
    assert not process.alive


def test_log_and_files_are_private(tmp_path: Path) -> None:
    process = _launch(tmp_path, "sh", "-c", "echo hello; touch made")
    while process.alive:
        time.sleep(0.01)
    assert (tmp_path / "log").read_text() == "hello\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o600
