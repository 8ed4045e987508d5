"""Relayed child commands against one ``ecflow_client`` process for each, on the same server.

The commands are events and completes, which are never coalesced; the relay's time holds fetching, storing, saying and
marking. Then how long a command takes from the job to the server while a relay runs.

    python ci/bench/relay.py [COMMANDS]
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ecflow
from ecflow_server import running_server

from ml_suite.relay.pull import Spool, here
from ml_suite.relay.relay import Relay
from ml_suite.relay.spool import SHIM
from ml_suite.server.address import Address

JOBS = 50
INTERVAL = 1.0
PROCESSES = 300


def submitted(address: Address, name: str, home: Path) -> list[dict[str, str]]:
    """Environments of the jobs of a suite whose tasks have one event each."""
    defs = ecflow.Defs()
    suite = defs.add_suite(name)
    for key, value in {"ECF_HOME": home, "ECF_JOB_CMD": "true", "ECF_SCRIPT_CMD": "echo :"}.items():
        suite.add_variable(key, str(value))
    for n in range(JOBS):
        suite.add_task(f"t{n}").add_event("ready")
    client = ecflow.Client(address.host, address.port)
    client.load(defs)
    client.begin_suite(name)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        client.sync_local()
        tasks = list(client.get_defs().find_suite(name).nodes)
        if all(str(task.get_state()) == "submitted" for task in tasks):
            break
        time.sleep(0.2)
    return [
        {
            "PATH": os.environ["PATH"],
            "ECF_HOST": address.host,
            "ECF_PORT": str(address.port),
            "ECF_NAME": task.get_abs_node_path(),
            "ECF_PASS": task.get_jobs_password(),
            "ECF_TRYNO": "1",
            "ECF_RID": "7",
        }
        for task in tasks
    ]


def commands(each: int) -> list[tuple[str, ...]]:
    """Child commands of one job."""
    events = [("event", "ready", "clear" if n % 2 else "set") for n in range(each - 2)]
    return [("init", "7"), *events, ("complete",)]


def write(spool: Path, jobs: list[dict[str, str]], each: int) -> None:
    """Fill a spool with the files that the shim would write."""
    (spool / "new").mkdir(parents=True)
    for n, job in enumerate(jobs):
        for number, (verb, *arguments) in enumerate(commands(each), 1):
            fields = ["ml-suite spool 1", *(job[f"ECF_{k}"] for k in ("NAME", "PASS", "TRYNO", "RID"))]
            fields += [verb, str(len(arguments)), *arguments, "end"]
            path = spool / "new" / f"job{n}.1-1.{number:09d}"
            path.write_bytes("".join(f"{each}\0" for each in fields).encode())


def measure_relay(address: Address, work: Path, each: int) -> float:
    """Commands a second, everything included."""
    jobs = submitted(address, "relayed", work / "server")
    write(work / "spool", jobs, each)
    relay = Relay(Spool(work / "spool", here), work / "state", address)
    begun = time.perf_counter()
    said = 0
    while said < each * JOBS:
        report = relay.once()
        said += report.said
        assert not report.parked + report.dropped + report.trouble, report
    seconds = time.perf_counter() - begun
    relay.close()
    client = ecflow.Client(address.host, address.port)
    client.sync_local()
    assert str(client.get_defs().find_suite("relayed").get_state()) == "complete"
    return said / seconds


def measure_processes(address: Address, work: Path) -> float:
    """Commands a second with the real client."""
    jobs = submitted(address, "direct", work / "server")
    each = PROCESSES // JOBS
    begun = time.perf_counter()
    for job in jobs:
        for verb, *arguments in commands(each):
            option = f"--{verb}={arguments[0]}" if arguments else f"--{verb}"
            subprocess.run(
                ["ecflow_client", option, *arguments[1:]], env=job, check=True, capture_output=True
            )
    return each * JOBS / (time.perf_counter() - begun)


def measure_delay(address: Address, work: Path) -> tuple[list[float], list[float]]:
    """Seconds from the job to the server, and seconds that the shim takes."""
    job = submitted(address, "delay", work / "server")[0]
    spool = work / "late"
    job["ML_SUITE_SPOOL"] = str(spool)
    shim = str(SHIM / "ecflow_client")
    command = [
        sys.executable,
        "-m",
        "ml_suite.relay",
        "--spool",
        str(spool),
        "--state",
        str(work / "late-state"),
    ]
    relay = subprocess.Popen(
        [*command, "--server", str(address), "--interval", str(INTERVAL)], stdout=subprocess.DEVNULL
    )
    client = ecflow.Client(address.host, address.port)
    delays, costs = [], []
    try:
        subprocess.run([shim, "--init=7"], env=job, check=True)
        time.sleep(2)
        for n in range(10):
            time.sleep(random.random())
            begun = time.perf_counter()
            subprocess.run([shim, "--event=ready", "clear" if n % 2 else "set"], env=job, check=True)
            costs.append(time.perf_counter() - begun)
            while True:
                client.sync_local()
                task = client.get_defs().find_abs_node(job["ECF_NAME"])
                if next(iter(task.events)).value() == (n % 2 == 0):
                    break
                time.sleep(0.005)
            delays.append(time.perf_counter() - begun)
    finally:
        relay.terminate()
        relay.wait()
    return delays, costs


def main() -> None:
    """Measure and print."""
    each = int(sys.argv[1] if len(sys.argv) > 1 else 20000) // JOBS
    work = Path(tempfile.mkdtemp())
    try:
        (work / "server").mkdir()
        with running_server(work / "server") as address:
            peer = measure_processes(address, work)
            ours = measure_relay(address, work, each)
            delays, costs = measure_delay(address, work)
    finally:
        shutil.rmtree(work)
    print(
        f"relay {ours:.0f} commands/s, {each * JOBS} of {JOBS} jobs; ecflow_client processes {peer:.0f} commands/s"
    )
    print(f"RATIO relayed commands/s: {ours:.0f} / {peer:.0f} = {ours / peer:.1f}")
    print(
        f"delay with a look every {INTERVAL:.0f} s: median {statistics.median(delays):.2f} s, "
        f"longest {max(delays):.2f} s; the shim takes {1e3 * statistics.median(costs):.1f} ms"
    )


if __name__ == "__main__":
    main()
