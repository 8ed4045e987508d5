"""A study over three machines while everything goes wrong at once: it ends as if nothing had."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass

import pytest

from tests.twin.conftest import Twin, wait_until
from tests.twin.operator import WORK, Operator

pytestmark = [pytest.mark.twin, pytest.mark.anemoi, pytest.mark.timeout(1200)]

LONGER = (
    ("epochs: 2, shards: 6", "epochs: 400, shards: 6"),
    ("trials: 24", "trials: 12"),
    ("rungs: {at: [1], cohort: 4}, trial_walltime: 5m", "trial_walltime: 14m"),
    ("patience: 200 steps, ", ""),
    ("keep: 17%", "keep: 25%"),
)
THERE = (
    *LONGER,
    ("hosts: [jupiter]", "hosts: [marenostrum5]"),
    ("  jupiter:      {account: e-mlops, limit: 2}\n", ""),
)
PIDS = """
import json
from pathlib import Path
home = Path.home() / "ml-suite"
read = lambda path: json.loads(path.read_text())["pid"] if path.exists() else None
masters = [read(home / "ssh" / f"{host}.control.master.json") for host in ("lumi", "marenostrum5")]
relay = home / "jobs/ml_suite/marenostrum5"
relays = [read(path) for path in sorted(relay.glob("relay.*.job"))[-1:]]
print(*[pid for pid in masters + relays if pid])
"""
SECONDS = 120
"""How long nothing is mended."""


@dataclass
class Rough:
    """The suite at its end."""

    operator: Operator
    log: str
    """Of the ecFlow server."""


@pytest.fixture(scope="module")
def rough(twin: Twin) -> Rough:
    """The suite, disturbed while its trials run."""
    operator = Operator(twin)
    operator.prepare()
    operator.log_in("lumi", "leonardo", "marenostrum5")
    operator.deploy("rough", *THERE)
    shards = [f"/rough/main/hpo/step1/shard_{i}" for i in range(6)]

    def all_run() -> bool:
        time.sleep(1)
        states = Counter(operator.state(path) for path in shards)
        assert not states["aborted"]
        return states["active"] + states["complete"] == 6 and states["active"] >= 4

    wait_until(all_run, lambda: operator.ops("ml-suite status rough"), 300)
    begun = time.monotonic()
    try:
        # the machine beside the server loses connections, the relay and the server itself
        pids = operator.ops("python3 -", stdin=PIDS).split()
        twin.must("exec", "ops", f"kill -9 {' '.join(pids)}")
        end_server(operator)
        # the machines lose a node, the line, the right time
        twin.must("cut", "lumi-c2", "node")
        twin.must("cut", "leonardo", "half")
        twin.must("cut", "marenostrum5-c1", "clock")
        time.sleep(max(0.0, begun + SECONDS - time.monotonic()))
    finally:
        for host in ("lumi-c2", "leonardo", "marenostrum5-c1"):
            twin.must("heal", host)
        operator.ops("ml-suite services up")
    operator.until("/rough/lag", seconds=600)
    return Rough(operator, operator.ops("cat ~/ml-suite/services/ecflow/data/ecf.log"))


def end_server(operator: Operator) -> None:
    """End the ecFlow server as a power cut would: it goes on from its last checkpoint."""
    told = json.loads(operator.ops("ml-suite services status --json"))
    pid = told["services"]["ecflow"]["pid"]
    operator.twin.must("exec", "ops", f"kill -9 {pid}")


def test_nothing_turned_red(rough: Rough) -> None:
    assert " aborted: /rough" not in rough.log
    assert rough.operator.state("/rough/main") == "complete"


def test_the_result_is_that_of_an_undisturbed_run(rough: Rough) -> None:
    rough.operator.deploy("smooth", *LONGER, alone=True)
    rough.operator.until("/smooth/lag", seconds=600)
    assert rough.operator.tables("rough") == rough.operator.tables("smooth")


def test_no_finished_trial_was_repeated(rough: Rough) -> None:
    for step, count in ((1, 12), (2, 3)):
        ended = Counter(r["trial"] for r in rough.operator.records("rough", step) if r["state"] == "complete")
        assert len(ended) == count
        assert set(ended.values()) == {1}


def test_jobs_were_submitted_again_only_where_a_node_was_lost(rough: Rough) -> None:
    found = rough.operator.ops(
        "cd ~/ml-suite/jobs/rough/main/hpo && cat step1/shard_*.job step2/candidate_*.job", timeout=60
    )
    records = [json.loads(part + "}") for part in found.replace("\n", "").split("}") if part.strip()]
    assert len(records) == 6 + 3
    for record in records:
        assert len(record["ids"]) == 1 + record["resubmissions"], record
        assert record["resubmissions"] == 0 or record["host"] == "lumi", record
        # the scheduler knows this name as often as we submitted it
        line = f"sacct -n -X -P --name={record['key']} --format=JobID -S now-1hour"
        known = rough.operator.twin.must("exec", record["host"], line).split()
        assert sorted(known) == sorted(record["ids"]), WORK[record["host"]]
