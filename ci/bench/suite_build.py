"""Build, check and write a 10,000-task suite with its scripts: ml-suite against pyflow, the same tree, in turn.

usage: python ci/bench/suite_build.py [--tasks 10000] [--rounds 3]

Every task has a trigger on the one before it, a meter, two labels, an inlimit and three variables; ten tasks a family.
Wall seconds from the first node to the last file on disk, imports excluded, each in a process of its own.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PER_FAMILY = 10

OURS = """
import sys, time
from pathlib import Path
import ecflow
from ml_suite.config.resolved import HostPaths, Resolved
from ml_suite.suite.build import script_files
from ml_suite.suite.nodes import Task, add_task
from ml_suite.atomic import write

class Stub:
    hosts = {"local": HostPaths(work="/work", environment="/env")}
    class deployment:
        node = "bench"

tasks, out, scripts = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
start = time.perf_counter()
defs = ecflow.Defs()
suite = defs.add_suite("bench")
suite.add_limit("local", 10)
for f in range(tasks // 10):
    family = suite.add_family(f"f{f}")
    for t in range(10):
        trigger = f"t{t - 1} == complete" if t else None
        task = Task(f"t{t}", "study_shard", host="local", trigger=trigger, meters=("trials",), labels=("best",),
                    variables={"SHARD": t})
        add_task(family, task, Stub)
assert not defs.check()
for name, text in script_files(scripts).items():
    write(out / name, text)
defs.save_as_defs(str(out / "bench.def"))
print(time.perf_counter() - start)
"""

PYFLOW = """
import sys, time, warnings
warnings.simplefilter("ignore")
import pyflow as pf

tasks, out = int(sys.argv[1]), sys.argv[2]
start = time.perf_counter()
host = pf.LocalHost()
with pf.Suite("bench", host=host, files=out + "/files", home=out + "/home", limits=None) as suite:
    limit = pf.Limit("local", 10)
    for f in range(tasks // 10):
        with pf.Family(f"f{f}"):
            before = None
            for t in range(10):
                task = pf.Task(f"t{t}", script="python -m ml_suite.jobs study shard --shard $SHARD", SHARD=t,
                               HOST="local", KIND="study_shard", labels={"info": "-", "best": "-"})
                with task:
                    pf.Meter("trials", 0, 100)
                task.inlimits = limit
                if before is not None:
                    task.triggers = before.complete
                before = task
suite.check_definition()
suite.deploy_suite()
with open(out + "/bench.def", "w") as f:
    f.write(str(suite))
print(time.perf_counter() - start)
"""


def main() -> None:
    """Run both in turn and print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    peer = subprocess.run(
        ["bash", HERE / "peers.sh"], check=True, text=True, stdout=subprocess.PIPE
    ).stdout.strip()
    scripts = HERE.parents[1] / "suites" / "scripts"
    seconds: dict[str, list[float]] = {"ml-suite": [], "pyflow": []}
    for _ in range(options.rounds):
        for name, python, code in (("ml-suite", sys.executable, OURS), ("pyflow", peer, PYFLOW)):
            with tempfile.TemporaryDirectory() as out:
                done = subprocess.run(
                    [python, "-c", code, str(options.tasks), out, str(scripts)],
                    check=True,
                    text=True,
                    stdout=subprocess.PIPE,
                )
                tasks = Path(out, "bench.def").read_text().count("task t")
                assert tasks == options.tasks, f"{name} wrote {tasks} tasks"
            seconds[name].append(float(done.stdout.split()[-1]))
    for name, values in seconds.items():
        print(
            f"{name:10s} median {statistics.median(values):.2f} s  ({min(values):.2f} to {max(values):.2f})"
        )
    ours, theirs = (statistics.median(v) for v in seconds.values())
    print(
        f"RATIO suite build, {options.tasks} tasks: pyflow {theirs:.2f} s / ml-suite {ours:.2f} s = {theirs / ours:.1f}"
    )


if __name__ == "__main__":
    main()
