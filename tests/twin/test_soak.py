"""The relay under kills, and the bench that counts what it loses."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from types import ModuleType

import pytest

from tests.twin.conftest import LIMIT, Twin

T = "/soak/h/t0"


@pytest.fixture
def soak(repository: object, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(f"{repository}/ci/bench")
    return importlib.import_module("soak")


SENT = [
    (T, 1.0, "init", "7"),
    (T, 2.0, "meter", "m 1"),
    (T, 3.0, "label", "l step 2"),
    (T, 4.0, "event", "e3"),
]
SENT.append((T, 5.0, "complete", ""))
HEARD = [(1.5, T, "init", ""), (2.5, T, "meter", "m 1"), (4.5, T, "event", "e3 1"), (5.5, T, "complete", "")]
STATES = {T: ("complete", 1, "step 2")}


def test_what_is_whole_is_found_whole(soak: ModuleType) -> None:
    result = soak.compare(SENT, HEARD, STATES)
    assert (result.lost, result.twice, result.disordered) == ([], [], [])
    assert result.delays == [0.5, 0.5, 0.5]


def test_every_kind_of_damage_is_found(soak: ModuleType) -> None:
    assert soak.compare(SENT, HEARD[:2] + HEARD[3:], STATES).lost == [f"{T} event e3"]
    assert soak.compare(SENT, [*HEARD, (9.0, T, "complete", "")], STATES).twice == [f"{T} complete "]
    late = [HEARD[0], (9.0, T, "event", "e3 1"), HEARD[3]]
    assert soak.compare(SENT, late, STATES).disordered == [f"{T} complete "]
    assert "step 1" in soak.compare(SENT, HEARD, {T: ("complete", 1, "step 1")}).lost[0]
    assert "active" in soak.compare(SENT, HEARD, {T: ("active", 1, "step 2")}).lost[0]


@pytest.mark.twin
def test_nothing_is_lost_or_done_twice_while_relays_and_connections_are_killed(twin: Twin) -> None:
    options = ["--hosts", "leonardo,marenostrum5", "--jobs", "12", "--commands", "240", "--seconds", "14"]
    command = [sys.executable, str(twin.repository / "ci/bench/soak.py"), *options, "--relays", "4"]
    done = subprocess.run(
        command, env=twin.environment, capture_output=True, text=True, timeout=4 * LIMIT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for host in ("leonardo", "marenostrum5"):
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"{host}: "))
        assert "240 commands of 12 jobs" in line
        assert "lost 0, twice 0, out of order 0" in line
        assert int(re.search(r"relay (\d+) times", line)[1]) >= 2  # type: ignore[index]
        assert "connection 1 times" in line
