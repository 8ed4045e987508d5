"""Deploy of a change to a running suite, plan included, against a bare ``ecflow_client --replace`` of the same suite.

The bare replace forgets every state and submits again what was running; the deploy must not. Both work on the same
suite of the same server in turn, and medians are compared.

    python ci/bench/deploy.py [TASKS [ROUNDS]]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ecflow
from ecflow_server import running_server

from ml_suite.server.client import Server, connect
from ml_suite.server.deploy import carry_out, prepare

LIMIT = 20
ACTIVE = 10


def suite(home: Path, tasks: int, value: str) -> ecflow.Defs:
    """A suite of families of ten tasks in a row; LIMIT of them run at once."""
    defs = ecflow.Defs()
    top = defs.add_suite("bench")
    top.add_variable("ECF_HOME", str(home / "jobs"))
    top.add_variable("ECF_JOB_CMD", f"echo %ECF_NAME% >> {home}/submitted")
    top.add_variable("ECF_SCRIPT_CMD", "echo :")
    top.add_variable("VALUE", value)
    top.add_limit("jobs", LIMIT)
    for i in range(tasks // 10):
        family = top.add_family(f"f{i:04d}")
        for j in range(10):
            task = family.add_task(f"t{j}")
            task.add_variable("PART", str(j))
            task.add_meter("done", 0, 100, 100)
            task.add_event("ready")
            task.add_label("info", "-")
            task.add_inlimit("jobs", "/bench")
            if j:
                task.add_trigger(f"t{j - 1} == complete")
    return defs


def settle(server: Server, home: Path) -> None:
    """Wait until LIMIT tasks are submitted, and let some of their jobs begin."""
    while True:
        found = server.fetch("bench")
        assert found is not None
        ready = [n for n in found.nodes.values() if n.kind == "task" and n.state in ("submitted", "active")]
        if len(ready) == LIMIT:
            break
        time.sleep(0.1)
    for node in ready[:ACTIVE]:
        if node.state == "submitted":
            server.tell(server.child(node.path, node.facts["passwd"], node.tries, "1").child_init)
    # the server submits about once a second; nothing more may be under way
    time.sleep(1.2)


def submissions(home: Path) -> int:
    """How many jobs the server has started."""
    return (home / "submitted").read_text().count("\n")


def deploy(server: Server, home: Path, tasks: int, value: str) -> None:
    """Build, compare and apply, as the command does."""
    fresh = connect(server.address)
    carry_out(
        prepare(fresh, home, suite(home, tasks, value), "bench", {"scripts/task.ecf": f": {value}\n"}), {}
    )


def main(tasks: int, rounds: int) -> int:
    """Print the ratio; the exit code tells whether a task was submitted again or the goal was missed."""
    ours, peers, again = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "jobs").mkdir()
        with running_server(home) as address:
            server = connect(address)
            deploy(server, home, tasks, "0")
            for number in range(1, rounds + 1):
                settle(server, home)
                before = submissions(home)
                start = time.perf_counter()
                deploy(server, home, tasks, str(number))
                ours.append(time.perf_counter() - start)
                time.sleep(1.2)
                again += submissions(home) - before
                file = home / "peer.def"
                suite(home, tasks, f"peer {number}").save_as_defs(str(file))
                command = ["ecflow_client", f"--port={server.address.port}", "--replace=/bench", str(file)]
                start = time.perf_counter()
                subprocess.run([*command, "parent", "force"], check=True, stdout=subprocess.DEVNULL)
                peers.append(time.perf_counter() - start)
                # a replaced suite starts by itself only when it is begun
                ecflow.Client("localhost", server.address.port).begin_suite("bench", True)
    mine, theirs = statistics.median(ours), statistics.median(peers)
    print(f"deploy of a change to {tasks} tasks, median of {rounds}: {mine:.3f} s (all: {rounded(ours)})")
    print(f"ecflow_client --replace of the same, median of {rounds}: {theirs:.3f} s (all: {rounded(peers)})")
    print(f"tasks submitted again by deploy: {again}")
    print(f"RATIO deploy {tasks} tasks: deploy with plan / ecflow_client --replace = {mine / theirs:.2f}")
    return 0 if again == 0 and mine / theirs <= 10 else 1


def rounded(seconds: list[float]) -> str:
    """Numbers for a person."""
    return " ".join(f"{s:.3f}" for s in seconds)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]]
    sys.exit(main(*(given + [10_000, 5][len(given) :])))
