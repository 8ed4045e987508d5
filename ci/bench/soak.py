"""Child commands of many jobs through spool and relay, while relays and ssh connections are killed at random.

On a twin that is up with its services (``bash ci/twin.sh up --services``). For each site one Slurm job on a compute
node plays JOBS jobs of an ecFlow suite at the same time; each leaves its child commands by the shim, and a relay on
ops says them to the ecFlow server. What the server's log holds at the end is compared with what was left: an init, an
event or a complete that is missing was lost, one that is there twice was done twice. Exit code 1 if there is any.

    python ci/bench/soak.py [--hosts leonardo,jupiter] [--jobs 50] [--commands 2000] [--seconds 90]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from soak_inside import KEEP, LOAD, PLAY, STATES
from twin_commands import ROOT, SITES, Operator, inside, twin

SUITE = "soak"
FOLDER = "soak"
"""On ops, in the home folder; on sites, in SCRATCH."""
INTERVAL = 0.5
DRAIN = 240.0
"""Seconds after the last command within which the server must have heard everything."""

_ECFLOW = 'eval "$(ml-suite services env)"; '
_LINE = re.compile(r"^MSG:\[.*?\] chd:(init|event|meter|label|complete|abort)\b(.*?) ?(/\S+)\s*$")


@dataclass
class Result:
    """What became of the commands of one host."""

    commands: int
    said: int = 0
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    """Seconds from the job to the server, of init, event and complete."""
    seconds: float = 0.0
    """From the first command that was left to the last that was heard."""
    busiest: int = 0
    """Commands heard within one second."""
    kills: Counter[str] = field(default_factory=Counter)


class Ears(threading.Thread):
    """Notes when each line comes to the server's log."""

    def __init__(self, log: Path) -> None:
        super().__init__(daemon=True)
        self._log = log.open()
        self._log.seek(0, os.SEEK_END)
        self._stop_asked = threading.Event()
        self.heard: list[tuple[float, str, str, str]] = []
        """Time, task, verb, argument."""

    def run(self) -> None:
        rest = ""
        while not self._stop_asked.wait(0.02):
            now = time.time()
            *lines, rest = (rest + self._log.read()).split("\n")
            for line in lines:
                if (found := _LINE.match(line)) and found[3].startswith(f"/{SUITE}/"):
                    self.heard.append((now, found[3], found[1], found[2].strip()))

    def stop(self) -> None:
        """Listen to the end of what is there."""
        time.sleep(0.2)
        self._stop_asked.set()
        self.join()


class Killer(threading.Thread):
    """Kills the relay and the connection of one host at random moments."""

    def __init__(self, host: str, seconds: float, relays: int, masters: int, operator: Operator) -> None:
        super().__init__(daemon=True)
        self._host, self._operator = host, operator
        kinds = ["relay"] * relays + ["connection"] * masters
        # the connection can be opened again while there is still something to say
        ends = {"relay": seconds, "connection": 0.6 * seconds}
        self._plan = sorted((random.uniform(0.05, 1.0) * ends[kind], kind) for kind in kinds)
        self.kills: Counter[str] = Counter()

    def run(self) -> None:
        begun = time.monotonic()
        for moment, kind in self._plan:
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            pid = f"cat ~/{FOLDER}/relay-{self._host}.pid"
            if kind == "connection":
                state = f"$ML_SUITE_HOME/ssh/{self._host}.control.master.json"
                pid = f"sed 's/.*\"pid\": *//; s/,.*//' {state}"
            if "killed" in inside("ops", f"kill -9 $({pid}) && echo killed", check=False):
                self.kills[kind] += 1
            if kind == "connection" and SITES[self._host][0] == "totp":
                self._operator.log_in(self._host)


def load(hosts: list[str], jobs: int, each: int) -> dict[str, str]:
    """Load the suite; the password of each task."""
    events = [f"e{k}" for k in range(1, each - 1) if k % 3 == 0]
    asked = {"suite": SUITE, "hosts": hosts, "jobs": jobs, "each": each, "events": events}
    script = (
        f"mkdir -p {FOLDER} && cat >{FOLDER}/asked && {_ECFLOW}python3.11 {FOLDER}/load.py <{FOLDER}/asked"
    )
    inside("ops", f"mkdir -p {FOLDER} && cat >{FOLDER}/load.py", stdin=LOAD)
    inside("ops", f"cat >{FOLDER}/states.py", stdin=STATES)
    found: dict[str, str] = json.loads(inside("ops", script, stdin=json.dumps(asked)))
    return found


def place(host: str, passwords: dict[str, str], jobs: int, each: int, pause: float) -> str:
    """Give a site what its jobs need and start them; the folder of the spool."""
    folder = inside(
        host, f"rm -rf $SCRATCH/{FOLDER}; mkdir -m 700 $SCRATCH/{FOLDER}; echo $SCRATCH/{FOLDER}"
    ).strip()
    shim = ROOT / "src/ml_suite/relay/shim"
    files = {"play.sh": PLAY}
    for n in range(jobs):
        name = f"/{SUITE}/{host}/t{n}"
        variables = {"ECF_NAME": name, "ECF_PASS": passwords[name], "ECF_TRYNO": "1", "ECF_RID": str(n)}
        variables |= {"ML_SUITE_SPOOL": f"{folder}/spool", "ECF_TIMEOUT": "60"}
        lines = [f"export {key}='{value}'" for key, value in variables.items()]
        files[f"env.{n}"] = "\n".join([*lines, f'export PATH={shim}:"$PATH"', ""])
    write = (
        "import json, pathlib, sys; [pathlib.Path(k).write_text(v) for k, v in json.load(sys.stdin).items()]"
    )
    inside(host, f"umask 077; cd {folder} && python3 -c '{write}'", stdin=json.dumps(files))
    options = f"--account={SITES[host][1]} -N1 -n1 -c16 -t 00:30:00 -o {folder}/output"
    inside(host, f"sbatch {options} --wrap 'bash {folder}/play.sh {jobs} {each} {pause:.3f}'")
    return f"{folder}/spool"


def collect(host: str, jobs: int) -> Iterator[tuple[str, float, str, str]]:
    """What the jobs left: task, time, verb, argument, in the order of each job."""
    text = inside(
        host, f'cd $SCRATCH/{FOLDER} && for n in $(seq 0 {jobs - 1}); do sed "s/^/$n /" sent.$n; done'
    )
    for line in text.splitlines():
        number, moment, option, *rest = line.split(" ")
        verb, _, first = option.removeprefix("--").partition("=")
        argument = " ".join([first, *rest]).strip()
        yield f"/{SUITE}/{host}/t{number}", float(moment.replace(",", ".")), verb, argument


def compare(
    sent: list[tuple[str, float, str, str]],
    heard: list[tuple[float, str, str, str]],
    states: dict[str, tuple[str, int, str]],
) -> Result:
    """Find what was lost, done twice or out of order."""
    result = Result(len(sent), len(heard))
    arrived: dict[tuple[str, str], list[float]] = {}
    for moment, task, verb, argument in heard:
        arrived.setdefault((task, _identity(verb, argument)), []).append(moment)
    last: dict[str, float] = {}
    values: dict[str, dict[str, str]] = {}
    for task, moment, verb, argument in sent:
        if verb in ("meter", "label"):
            values.setdefault(task, {})[verb] = argument.split(" ", 1)[1]
            continue
        moments = arrived.get((task, _identity(verb, argument)), [])
        name = f"{task} {verb} {argument}"
        if not moments:
            result.lost.append(name)
            continue
        if len(moments) > 1:
            result.twice.append(name)
        if moments[0] < last.get(task, 0.0):
            result.disordered.append(name)
        last[task] = moments[0]
        result.delays.append(moments[0] - moment)
    for task, (state, meter, label) in states.items():
        wanted = ("complete", int(values[task]["meter"]), values[task]["label"])
        if (state, meter, label) != wanted:
            result.lost.append(f"{task} is {state}, {meter}, {label!r}; not {wanted}")
    if heard:
        result.seconds = heard[-1][0] - min(moment for _, moment, _, _ in sent)
        result.busiest = max(Counter(int(moment) for moment, *_ in heard).values())
    return result


def _identity(verb: str, argument: str) -> str:
    """What makes two commands of a task the same."""
    return f"event {argument.split()[0]}" if verb == "event" else verb


def states_of(host: str) -> dict[str, tuple[str, int, str]]:
    """State, meter and label of the tasks of a host, as the server has them."""
    text = inside("ops", f"{_ECFLOW}python3.11 {FOLDER}/states.py {SUITE}")
    return {
        task: (s, m, v)
        for task, (s, m, v) in json.loads(text).items()
        if task.startswith(f"/{SUITE}/{host}/")
    }


def soak(
    hosts: list[str], jobs: int, commands: int, seconds: float, relays: int, masters: int
) -> dict[str, Result]:
    """Run it all; what became of the commands, by host."""
    operator = Operator()
    for host in hosts:
        operator.log_in(host)
    log = (
        Path(json.loads(twin("status", "--json"))["folder"])
        / "homes/ops/ops/ml-suite/services/ecflow/data/ecf.log"
    )
    each = commands // jobs
    passwords = load(hosts, jobs, each)
    ears = Ears(log)
    ears.start()
    try:
        for host in hosts:
            spool = place(host, passwords, jobs, each, max(0.0, seconds / each - 0.01))
            inside("ops", KEEP.format(folder=FOLDER, host=host, spool=spool, interval=INTERVAL))
        killers = {host: Killer(host, seconds, relays, masters, operator) for host in hosts}
        for killer in killers.values():
            killer.start()
        for host in hosts:
            _wait(lambda host=host: "ended" in inside(host, f"ls $SCRATCH/{FOLDER}"), seconds + DRAIN)
            killers[host].join()
        completes = len(hosts) * jobs
        _wait(lambda: sum(verb == "complete" for _, _, verb, _ in ears.heard) >= completes, DRAIN)
    finally:
        stop = "".join(f"kill $(cat relay-{host}.pid); " for host in hosts)
        inside("ops", f"cd {FOLDER} && touch stop; {stop}", check=False)
    ears.stop()
    found = {}
    for host in hosts:
        heard = [one for one in ears.heard if one[1].startswith(f"/{SUITE}/{host}/")]
        found[host] = compare(list(collect(host, jobs)), heard, states_of(host))
        found[host].kills = killers[host].kills
    inside("ops", f"{_ECFLOW}ecflow_client --delete=force yes /{SUITE}")
    return found


def _wait(true: object, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true() and time.monotonic() < deadline:  # type: ignore[operator]
        time.sleep(1)


def main() -> int:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--hosts", default=",".join(SITES), help="sites, separated by commas")
    parser.add_argument("--jobs", type=int, default=50, help="jobs at the same time on each site (50)")
    parser.add_argument("--commands", type=int, default=2000, help="child commands on each site (2000)")
    parser.add_argument("--seconds", type=float, default=90, help="how long jobs take to say them (90)")
    parser.add_argument("--relays", type=int, default=8, help="kills of each relay (8)")
    parser.add_argument("--masters", type=int, default=1, help="kills of each connection (1)")
    options = parser.parse_args()
    found = soak(
        options.hosts.split(","),
        options.jobs,
        options.commands,
        options.seconds,
        options.relays,
        options.masters,
    )
    bad = 0
    for host, result in found.items():
        print(
            f"{host}: {result.commands} commands of {options.jobs} jobs, {result.said} said (meters and labels are "
            f"coalesced); lost {len(result.lost)}, twice {len(result.twice)}, out of order {len(result.disordered)}; "
            f"killed: relay {result.kills['relay']} times, connection {result.kills['connection']} times; "
            f"{result.commands / result.seconds:.0f} commands/s over {result.seconds:.0f} s, busiest second "
            f"{result.busiest}; from job to server median {statistics.median(result.delays):.2f} s, "
            f"longest {max(result.delays):.1f} s"
        )
        for line in (*result.lost, *result.twice, *result.disordered)[:10]:
            print(f"  {line}")
        bad += len(result.lost) + len(result.twice) + len(result.disordered)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
