"""Servers that die and come back, and suites of ten thousand tasks."""

from __future__ import annotations

import time
from pathlib import Path

from ml_suite.server.address import Address
from ml_suite.server.client import connect
from tests.ecflow_fixture import registered_port, start_server, stop_server
from tests.server.conftest import Bench
from tests.server.test_apply import FIRST, SECOND


def test_a_suite_survives_kill_of_the_server_and_a_deploy_after_it(tmp_path: Path) -> None:
    number = registered_port()
    process = start_server(tmp_path / "ecflow", number)
    (tmp_path / "jobs").mkdir()
    bench = Bench(connect(Address("localhost", number, "--server")), tmp_path, "phoenix")
    bench.client.restart_server()
    bench.deploy(FIRST)
    job = bench.start("/f/a")
    job.child_meter("epoch", 42)
    bench.client.checkpt()
    process.kill()
    process.wait()

    process = start_server(tmp_path / "ecflow", number)
    try:
        bench.client.restart_server()
        bench.server = connect(Address("localhost", number, "--server"))
        assert bench.prepare(FIRST).plan.empty
        bench.deploy(SECOND)
        job.child_complete()
        bench.wait(lambda: bench.submitted() == ["/phoenix/f/a", "/phoenix/f/b"])
    finally:
        stop_server(process, number)


def test_ten_thousand_tasks_are_planned_and_deployed_in_seconds(bench: Bench) -> None:
    def body(value: str) -> str:
        lines = [f"  edit V '{value}'", "  limit few 3"]
        for family in range(1000):
            lines.append(f"  family f{family}")
            for task in range(10):
                lines += [f"    task t{task}", "      meter m 0 100 100", "      inlimit few"]
            lines.append("  endfamily")
        return "\n".join(lines)

    bench.deploy(body("1"))
    job = bench.start("/f0/t0")
    bench.wait(lambda: len(bench.submitted()) == 3)
    before = bench.submitted()
    start = time.perf_counter()
    prepared = bench.prepare(body("2"))
    planned = time.perf_counter() - start
    assert [c.attribute for c in prepared.plan.changes] == ["V"]
    bench.deploy(body("2"))
    # a tenth of this on an idle machine
    assert planned < 3
    assert time.perf_counter() - start < 15
    assert bench.submitted() == before
    job.child_complete()
    assert bench.state("/f0/t0") == "complete"
