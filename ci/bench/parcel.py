"""The parcel model of suites/aerosol against pyrcel 2.0, member by member and in samples per CPU-second.

usage: python ci/bench/parcel.py [--members 60] [--rounds 3] [--bins 80] [--rtol 1e-4] [--million] [--record FILE]

Both get the same members (Sobol points of suites/aerosol) with the same bins, one thread each. In every round pyrcel
solves its share one after the other, as its own `find_smax` does (vmapped it is slower: a batch runs to its slowest
member), at its default tolerance of 1e-7 and, for fairness, at 1e-4; then ours solves 4,096 members. Compilation is
left out on both sides; medians and range over the rounds. --million makes the whole data set with make.py on
NUMBA_NUM_THREADS threads. --record leaves pyrcel's answers as JSON: tests/suites/aerosol/pyrcel.json is made that way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SUITE = HERE.parents[1] / "suites" / "aerosol"
TRAINING = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    / "ml-suite"
    / "anemoi"
    / "bin"
    / "python"
)

# ours, one JSON document a line: {"first": n, "count": n, "rtol": x} in, results and CPU-seconds out
OURS = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np
from parcel.arg2000 import arg2000
from parcel.labels import activated_fractions
from parcel.model import ascents
from parcel.sampling import Members, first
x = first(int(sys.argv[2]), 1)
bins = int(sys.argv[3])
ascents(Members.of(x[:2]), bins)
print(json.dumps({"x": x[:int(sys.argv[4])].tolist()}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    members = Members.of(x[order["first"]:order["first"] + order["count"]])
    start = time.process_time()
    out = ascents(members, bins, order["rtol"])
    cpu = time.process_time() - start
    def fractions(s, t):
        return activated_fractions(np.array(s), np.array(t), members.radius, members.kappa).tolist()
    answer = {"cpu": cpu, "smax": out.supersaturation.tolist(), "temperature": out.temperature.tolist(),
              "status": out.status.tolist()}
    if "peer" in order:
        answer["fractions"] = fractions(out.supersaturation, out.temperature)
        answer["peer_fractions"] = fractions(*order["peer"])
        answer["arg"] = arg2000(members)[0].tolist()
    print(json.dumps(answer), flush=True)
"""

# pyrcel, the same way: the state is put into equilibrium and solved to the event dS/dt = 0, or the end of the window
PEER = """
import json, os, sys, time
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
import jax, numpy as np
from diffrax import RESULTS
from scipy.stats import norm
from pyrcel.activation import arg2000
from pyrcel.equilibrate import equilibrate_initial_state
from pyrcel.integrator import _solve_to_smax, atol_vector
from pyrcel.updraft import ConstantV
SIGMA = np.array([1.8, 1.6, 1.8, 1.6])
each = int(sys.argv[1]) // 4
edges = np.linspace(-4.0, 4.0, each + 1)
weights = np.diff(norm.cdf(edges)); weights /= weights.sum()
places = 0.5 * (edges[1:] + edges[:-1])
atol = atol_vector(4 * each)
equilibrate = jax.jit(equilibrate_initial_state)
def solve(x, rtol):
    x = np.asarray(x, dtype=float)
    dry = (x[8:12, None] * 1e-6 * np.exp(places * np.log(SIGMA)[:, None])).ravel()
    number = (x[4:8, None] * 1e6 * weights).ravel()
    kappa = np.repeat(x[12:16], each)
    w = x[3] * 0.01
    end = (2450.0 * (1.0 - x[2]) + 1000.0) / w
    y0 = equilibrate(x[0], x[2] - 1.0, x[1] * 100.0, dry, kappa, number)
    found = _solve_to_smax(y0, (dry, number, kappa, 1.0, ConstantV(w)), end, rtol, atol, 20000)
    good = bool((found.result == RESULTS.successful) | (found.result == RESULTS.event_occurred))
    return float(found.ys[-1][6]), float(found.ys[-1][2]), good, bool(found.ts[-1] < end)
first = True
for line in sys.stdin:
    order = json.loads(line)
    if first:
        solve(order["x"][0], order["rtol"]); first = False
    out, cpu = [], []
    for x in order["x"]:
        start = time.process_time(); out.append(solve(x, order["rtol"])); cpu.append(time.process_time() - start)
    def baseline(x):
        x = np.asarray(x, dtype=float)
        return float(arg2000(x[3] * .01, x[0], x[1] * 100, x[8:12], SIGMA, x[4:8], x[12:16])[0])
    print(json.dumps({"cpu": sum(cpu), "out": out, "arg": [baseline(x) for x in order["x"]]}), flush=True)
"""

MANY = 4096


class Child:
    """A program that answers one JSON document a line."""

    def __init__(self, python: Path, source: str, *arguments: object) -> None:
        one = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")}
        self.process = subprocess.Popen(
            [str(python), "-c", source, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **one},
        )

    def read(self) -> dict:
        """The next answer."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("a program of the benchmark ended early")
        return json.loads(line)

    def ask(self, **order: object) -> dict:
        """One order and its answer."""
        assert self.process.stdin
        print(json.dumps(order), file=self.process.stdin, flush=True)
        return self.read()

    def close(self) -> None:
        """End it."""
        self.process.stdin.close()
        self.process.wait()


def _rate(name: str, rates: list[float]) -> float:
    middle = statistics.median(rates)
    print(f"{name:46s} {middle:10,.2f} samples per CPU-second ({min(rates):,.2f} to {max(rates):,.2f})")
    return middle


def _quantiles(values: list[float]) -> str:
    ordered = sorted(values)
    at = [ordered[min(len(ordered) - 1, int(q * len(ordered)))] for q in (0.5, 0.95)]
    return f"median {at[0]:.1e}, 95 % {at[1]:.1e}, max {ordered[-1]:.1e}"


def _compare(name: str, answer: dict, peer: list, arg: list | None, members: list) -> None:
    good = [i for i, (smax, _, solved, _) in enumerate(peer) if solved and smax == smax]
    activated = [i for i in good if peer[i][3]]
    relative = [abs(answer["smax"][i] / peer[i][0] - 1) for i in activated]
    fractions = [
        max(abs(a - b) for a, b in zip(answer["fractions"][i], answer["peer_fractions"][i], strict=True))
        for i in good
    ]
    print(
        f"{name}: pyrcel failed in {len(peer) - len(good)} of {len(peer)}, ours in "
        f"{sum(s > 1 for s in answer['status'])}; compared {len(good)}, of them {len(activated)} with a maximum"
    )
    print(f"  |d S_max| / S_max  {_quantiles(relative)}")
    print(f"  |d fraction|       {_quantiles(fractions)}")
    for i in sorted(good, key=lambda i: -fractions[good.index(i)])[:3]:
        print(
            f"    worst: member {members[i]}, S_max {answer['smax'][i]:.3e} and {peer[i][0]:.3e}, "
            f"status {answer['status'][i]}, maximum in pyrcel: {peer[i][3]}"
        )
    if arg:
        worst = max(abs(a / b - 1) for a, b in zip(answer["arg"], arg, strict=True))
        print(f"  baseline ARG2000   max relative difference of S_max {worst:.1e}")


def compare(options: argparse.Namespace) -> None:
    """Both models in turn, and what they say."""
    ours = Child(options.ours, OURS, SUITE, MANY, options.bins, options.members)
    x = ours.read()["x"]
    strict, loose = (Child(options.peer, PEER, options.bins) for _ in range(2))
    share = -(-options.members // options.rounds)
    rates: dict[str, list[float]] = {"strict": [], "loose": [], "ours": [], "fine": []}
    answers: dict[str, list] = {"strict": [], "loose": []}
    baseline: list[float] = []
    for start in range(0, options.members, share):
        part = x[start : start + share]
        for name, child, rtol in (("strict", strict, 1e-7), ("loose", loose, 1e-4)):
            got = child.ask(x=part, rtol=rtol)
            rates[name].append(len(part) / got["cpu"])
            answers[name] += got["out"]
            if name == "strict":
                baseline += got["arg"]
        got = ours.ask(first=0, count=MANY, rtol=options.rtol)
        rates["ours"].append(MANY / got["cpu"])
    print(f"{options.bins} bins, one thread each, {len(rates['ours'])} rounds; load {os.getloadavg()[0]:.1f}")
    slow = _rate("pyrcel 2.0, rtol 1e-7 (its default)", rates["strict"])
    quick = _rate("pyrcel 2.0, rtol 1e-4", rates["loose"])
    fast = _rate(f"suites/aerosol, rtol {options.rtol:g}", rates["ours"])
    print(f"ratio {fast / slow:,.0f} to pyrcel's default, {fast / quick:,.0f} to pyrcel at 1e-4")
    for rtol in sorted({options.rtol, 1e-4, 1e-6}, reverse=True):
        peer = answers["strict"]
        got = ours.ask(
            first=0, count=options.members, rtol=rtol, peer=[[p[0] for p in peer], [p[1] for p in peer]]
        )
        _compare(
            f"ours at {rtol:g} against pyrcel at 1e-7", got, peer, baseline, list(range(options.members))
        )
    if options.record:
        record = {
            "bins": options.bins,
            "window": 1000.0,
            "x": x,
            "smax": [a[0] for a in answers["strict"]],
            "temperature": [a[1] for a in answers["strict"]],
            "solved": [a[2] for a in answers["strict"]],
            "maximum": [a[3] for a in answers["strict"]],
            "arg_smax": baseline,
        }
        options.record.write_text(json.dumps(record, indent=None) + "\n")
    for child in (ours, strict, loose):
        child.close()


def million(python: Path) -> None:
    """The whole data set from the command line."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        start = time.perf_counter()
        before = os.times()
        command = [python, SUITE / "make.py", Path(folder) / "million.npz", "--samples", "1000000"]
        subprocess.run([*map(str, command)], check=True)
        after = os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        print(
            f"1,000,000 samples at 128 bins: {time.perf_counter() - start:.0f} s, {cpu:.0f} CPU-seconds; "
            f"load {os.getloadavg()[0]:.1f}"
        )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--members", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bins", type=int, default=80)
    parser.add_argument("--rtol", type=float, default=1e-4)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--record", type=Path)
    parser.add_argument("--ours", type=Path, default=TRAINING, help="python with numba and scipy")
    parser.add_argument(
        "--peer", type=Path, help="python with pyrcel; default: as ci/bench/study_peers.sh installs it"
    )
    options = parser.parse_args()
    if options.million:
        million(options.ours)
        return 0
    if options.peer is None:
        peers = subprocess.run([HERE / "study_peers.sh"], check=True, stdout=subprocess.PIPE, text=True)
        options.peer = Path(peers.stdout.strip().splitlines()[-1])
    compare(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
