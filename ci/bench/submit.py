"""One submission to a remote Slurm by ``hosts/job.py`` against one by troika, at the same site of the twin.

What one submission costs: ssh sessions and new TCP connections as the site's sshd logs them, and seconds until Slurm
has the job. troika once as its README configures a Slurm cluster, once more with its ssh over the connection that
``ml-suite hosts login`` keeps open. All of it over the twin's network, which has no delay, and over one where every
round trip takes 40 ms, as between two countries. On a twin that is up (``bash ci/twin.sh up --services``).

    python ci/bench/submit.py [SUBMISSIONS]
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from twin_commands import ROOT, SITES, Operator, inside, twin

SITE = "lumi"
FOLDER = "submissions"
"""On ops, in the home folder."""
_OURS = """
import json, subprocess, sys, time
from pathlib import Path
from ml_suite import library
from ml_suite.home import home
from ml_suite.hosts import jobhost, mux, reach
from ml_suite.hosts.jobfile import SUBMITTED, JobFiles
from ml_suite.hosts.jobhost import Ask, JobHost, JobHosts

asked = json.load(sys.stdin)
here = Path("submissions").absolute()
package = Path(library.__file__).parent
library_here = library.install_library(home())
files = here / "files"
files.mkdir(parents=True, exist_ok=True)
(files / "resolved.json").write_text("{}")
work = Path("/scratch") / asked["account"] / "ml-suite"
host = JobHost(
    work=work, python=Path("/usr/bin/python3"), library=work / "lib" / library_here.name, library_here=library_here,
    files=work / "suites" / "bench" / "files" / "f0", files_here=files, files_names=("resolved.json",),
    server="ecflow.ops.twin",
    resources={"train": Ask(gpus_per_node=1, walltime="10m", partition="dev-g", account=asked["account"])},
)
JobHosts(home=home(), suite="bench", work=here / "work", hosts={asked["site"]: host}).save(files / "hosts.json")
seconds, returned = [], []
for n in range(asked["first"], asked["first"] + asked["count"]):
    name = f"ours{asked['run']}_{n}"
    job = JobFiles(here / f"{name}.job1", here / f"{name}.1")
    head = {"facts": files / "hosts.json", "host": asked["site"], "resources": "train"}
    exports = {"ECF_PORT": 1, "ECF_HOST": "localhost", "ECF_NAME": f"/bench/{name}", "ECF_PASS": "no", "ECF_TRYNO": 1}
    lines = [f"#: {key} {value}" for key, value in head.items()] + [f"export {k}='{v}'" for k, v in exports.items()]
    job.script.write_text("\\n".join(["#!/bin/bash", *lines, "true", ""]))
    begun = time.perf_counter()
    program = package / "hosts" / "job.py"
    words = [sys.executable, "-I", "-S", str(program), "submit", "slurm", str(job.script), str(job.output)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    returned.append(time.perf_counter() - begun)
    while (found := job.remote) is None or found.state != SUBMITTED:
        if time.perf_counter() - begun > 120:
            sys.exit(job.beside(".submit").read_text())
        time.sleep(0.002)
    seconds.append(time.perf_counter() - begun)
print(json.dumps({"seconds": seconds, "returned": returned}))
"""
_THEIRS = """
import json, subprocess, sys, time
from pathlib import Path

asked = json.load(sys.stdin)
here = Path("submissions").absolute()
site = {"type": "slurm", "connection": "ssh", "host": asked["site"], "copy_script": True,
        "at_startup": ["check_connection"], "pre_submit": ["create_output_dir"], "at_exit": ["copy_submit_logfile"]}
if asked["socket"]:
    site["ssh_options"] = ["-S", asked["socket"], "-o", "ControlMaster=no"]
    # scp knows no -S for this
    site["scp_options"] = ["-o", "ControlPath=" + asked["socket"], "-o", "ControlMaster=no"]
config = here / "troika.json"
config.write_text(json.dumps({"sites": {asked["site"]: site}}))
seconds = []
for n in range(asked["first"], asked["first"] + asked["count"]):
    name = f"theirs{asked['run']}_{n}"
    job = here / f"{name}.job1"
    head = ["--job-name=theirs", "--account=" + asked["account"], "--partition=dev-g", "--time=10", "--gpus-per-node=1"]
    job.write_text("\\n".join(["#!/bin/bash", *(f"#SBATCH {line}" for line in head), "true", ""]))
    output = f"/scratch/{asked['account']}/troika/{name}.1"
    words = [sys.executable, "-m", "troika", "-c", str(config), "submit", "-u", asked["user"], "-o", output]
    begun = time.perf_counter()
    done = subprocess.run([*words, asked["site"], str(job)], capture_output=True, text=True)
    seconds.append(time.perf_counter() - begun)
    if done.returncode:
        sys.exit(done.stderr)
print(json.dumps({"seconds": seconds}))
"""

_SLOW = """
import queue, socket, sys, threading, time
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

def pump(read, write):
    waiting = queue.Queue()
    def out():
        while (item := waiting.get())[1]:
            time.sleep(max(0.0, item[0] - time.monotonic()))
            write(item[1])
        s.shutdown(socket.SHUT_WR) if write == s.sendall else None
    thread = threading.Thread(target=out)
    thread.start()
    while True:
        data = read(65536)
        waiting.put((time.monotonic() + float(sys.argv[3]), data))
        if not data:
            return thread.join()

def to_ssh(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()

threading.Thread(target=pump, args=(sys.stdin.buffer.read1, s.sendall), daemon=True).start()
pump(s.recv, to_ssh)
"""
ROUND_TRIP = 0.04


@dataclass(frozen=True)
class Cost:
    """Of one submission, the mean but for seconds: their median."""

    sessions: float
    connections: float
    seconds: float
    returned: float
    """Seconds until the command came back."""


def measure(script: str, environment: str, asked: dict[str, object], count: int) -> Cost:
    """Submit once unmeasured, then COUNT times."""
    inside("ops", f"mkdir -p {FOLDER} && cat >{FOLDER}/measure.py", stdin=script)

    def submit(first: int, number: int) -> dict[str, list[float]]:
        text = json.dumps({**asked, "first": first, "count": number})
        answer: dict[str, list[float]] = json.loads(
            inside("ops", f"{environment} {FOLDER}/measure.py", stdin=text).splitlines()[-1]
        )
        return answer

    # the first one brings what stays at the host
    submit(0, 1)
    before = _logged()
    found = submit(1, count)
    sessions, connections = (new - old for new, old in zip(_logged(), before, strict=True))
    seconds = statistics.median(found["seconds"])
    returned = statistics.median(found.get("returned", found["seconds"]))
    return Cost(sessions / count, connections / count, seconds, returned)


def _logged() -> tuple[int, int]:
    log = inside(f"root@{SITE}-login", "sleep 0.5; cat /var/log/twin-sshd.log")
    return log.count("Starting session: "), log.count("Connection from ")


def bring_troika() -> str:
    """Put troika where ops' Python finds it; the folder."""
    python = Path(
        subprocess.run(
            ["bash", str(ROOT / "ci/bench/peers.sh")], check=True, capture_output=True, text=True
        ).stdout.strip()
    )
    packages = python.parents[1] / "lib/python3.11/site-packages"
    home = Path(json.loads(twin("status", "--json"))["folder"]) / "homes/ops/ops"
    target = home / "peers"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for path in packages.iterdir():
        if path.name.lower().startswith(("troika", "yaml", "_yaml", "pyyaml")):
            shutil.copytree(path, target / path.name)
    return "/home/ops/peers"


def reopen(delay: float) -> str:
    """Open the connection anew, DELAY seconds each way; the socket by which ssh uses it."""
    config = "~/.ssh/config"
    block = f"Host {SITE}\n ProxyCommand python3.11 ~/{FOLDER}/slow.py %h %p {delay}\n" if delay else ""
    inside("ops", f"mkdir -p {FOLDER} && cat >{FOLDER}/slow.py", stdin=_SLOW)
    inside(
        "ops",
        f"[ -e {config}.kept ] || cp {config} {config}.kept; cat - {config}.kept >{config}",
        stdin=block,
    )
    ways = f'import ml_suite.hosts.mux as m, ml_suite.hosts.reach as r; way = r.known("{SITE}"); '
    inside("ops", f"python3.11 -c '{ways} m.close_master(way)'", check=False)
    Operator().log_in(SITE)
    return inside("ops", f"python3.11 -c '{ways} print(m.socket_path(way))'").strip()


def compare(peers: str, delay: float, count: int) -> None:
    """Measure all three over one network, and print."""
    socket = reopen(delay)
    asked: dict[str, object] = {"site": SITE, "account": SITES[SITE][1], "user": "lumiml", "socket": ""}
    # no job is one that was submitted before
    asked["run"] = time.time_ns()
    theirs = f"PYTHONPATH={peers} python3.11"
    ours = measure(_OURS, "python3.11", asked, count)
    usual = measure(_THEIRS, theirs, asked, count)
    over = measure(_THEIRS, theirs, {**asked, "socket": socket, "run": time.time_ns()}, count)
    print(f"round trip {1000 * 2 * delay:.0f} ms")
    for name, cost in (
        ("job.py submit slurm, open connection", ours),
        ("troika 0.2.7, as in its README", usual),
        ("troika 0.2.7, over the open connection", over),
    ):
        print(
            f"  {name}: {cost.sessions:.1f} sessions, {cost.connections:.1f} new connections, {cost.seconds:.2f} s "
            f"until Slurm has the job ({cost.returned:.2f} s until the command returns)"
        )
    print(
        f"  RATIO sessions: {over.sessions:.0f} / {ours.sessions:.0f} = {over.sessions / ours.sessions:.1f}"
    )
    ratio = over.seconds / ours.seconds
    print(
        f"  RATIO seconds, both over the open connection: {over.seconds:.2f} / {ours.seconds:.2f} = {ratio:.1f}"
    )


def main() -> None:
    """Measure over both networks."""
    count = int(sys.argv[1] if len(sys.argv) > 1 else 5)
    peers = bring_troika()
    # troika makes no folder above the one of its output
    inside(SITE, f"mkdir -p /scratch/{SITES[SITE][1]}")
    try:
        for delay in (0.0, ROUND_TRIP / 2):
            compare(peers, delay, count)
    finally:
        reopen(0.0)


if __name__ == "__main__":
    main()
