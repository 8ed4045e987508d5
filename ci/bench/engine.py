"""The training loop of trainer mlp, in fp32 and bf16, against KerasTuner's RandomSearch, side by side.

``.venv/bin/python ci/bench/engine.py [--trials N] [--raw FILE]``: KerasTuner draws the configurations from the paper's
space (1 to 20 layers, 8 to 2048 wide) and trains each; then our workers train the same ones on the same samples with
the same rule (at most 20 epochs, patience of 5). CPU-seconds of each process, one thread, read by the kernel's clock.
``--report FILE`` shows the figures of an earlier or of a stopped run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ml_suite.home import cache
from ml_suite.study.arrays import Arrays
from ml_suite.trainers.mlp import settings
from ml_suite.trainers.mlp.protocol import Answer, Order, Setup

HERE = Path(__file__).resolve().parent
SAMPLES, EPOCHS, PATIENCE, BATCH = 2500, 20, 5, 1024
SMALL = 5e9
"""FLOP of an epoch below which a network is small."""
GOALS = {"total": 3.5, "small": 20.0, "peak": 0.75, "median": 0.05, "spearman": 0.95}
ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}

PEAK = """
import sys, time, torch
torch.set_num_threads(1)
kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
a = {k: torch.randn(2048, 2048).to(t) for k, t in kinds.items()}
o = {k: torch.empty_like(t) for k, t in a.items()}
for line in sys.stdin:
    kind, best = line.strip(), 1e9
    torch.mm(a[kind], a[kind], out=o[kind])
    for _ in range(3):
        begin = time.process_time()
        torch.mm(a[kind], a[kind], out=o[kind])
        best = min(best, time.process_time() - begin)
    print(2 * 2048**3 / best, flush=True)
"""


class Child:
    """A process that answers a line with a line, and its CPU clock."""

    def __init__(self, argv: list[str], environment: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ONE_THREAD, **(environment or {})},
        )
        self._clock = (
            ~self.process.pid << 3
        ) | 2  # of all threads of that process, in the kernel's numbering

    def ask(self, line: str) -> None:
        """Send one line."""
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hear(self) -> str:
        """Read one line."""
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended with {self.process.wait()}")
        return line

    def cpu(self) -> float:
        """CPU-seconds so far."""
        return time.clock_gettime(self._clock)

    def timed(self, line: str) -> tuple[str, float]:
        """Answer to a line, and the CPU-seconds that it took."""
        before = self.cpu()
        self.ask(line)
        return self.hear(), self.cpu() - before

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def smooth(samples: int) -> tuple[Any, Any]:
    """Samples of a smooth function of 16 inputs with 4 targets between 0 and 1."""
    draw = np.random.default_rng(7)
    x = draw.normal(size=(samples, 16)).astype(np.float32)
    mixed = np.tanh(x @ draw.normal(size=(16, 24), scale=0.3)) @ draw.normal(size=(24, 4)) + np.array(
        [2, 0, 1, 4]
    )
    return x, (1 / (1 + np.exp(-2 * mixed))).astype(np.float32)


def samples(file: Path | None, inputs: str, targets: str) -> tuple[Any, Any]:
    """Inputs and targets; without a file those of a smooth function."""
    if file is None:
        return smooth(2 * SAMPLES)
    with np.load(file) as z:
        return z[inputs][: 2 * SAMPLES].astype(np.float32), z[targets][: 2 * SAMPLES].astype(np.float32)


def prepare(folder: Path, x: Any, y: Any) -> tuple[Path, dict[str, Setup]]:
    """Write the samples for both sides: the second half is trained on."""
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    ours, peers = folder / "ours.npz", folder / "peers.npz"
    np.savez(ours, x=x, y=y)
    np.savez(peers, xt=x[SAMPLES:], yt=y[SAMPLES:], xv=x[:SAMPLES], yv=y[:SAMPLES])
    members = {"validation": np.arange(SAMPLES), "training": np.arange(SAMPLES, 2 * SAMPLES)}
    for name, numbers in members.items():
        np.save(folder / f"{name}.npy", numbers)
    digest = hashlib.sha256(ours.read_bytes()).hexdigest()
    arrays = Arrays(
        path=ours, inputs="x", targets="y", sha256=digest, samples=len(x), shape=(x.shape[1], y.shape[1])
    )
    paths = {name: folder / f"{name}.npy" for name in members}
    return peers, {
        p: Setup(arrays=arrays, members=paths, precision=p, device="cpu") for p in ("fp32", "bf16")
    }


def run(folder: Path, arguments: argparse.Namespace, tell: Callable[[dict[str, Any]], None]) -> None:
    """Let the sides take turns, trial by trial."""
    peers, setups = prepare(folder, *samples(arguments.data, arguments.inputs, arguments.targets))
    python = subprocess.run(
        ["bash", str(HERE / "study_peers.sh")], stdout=subprocess.PIPE, text=True, check=True
    )
    training = str((Path(os.environ.get("ML_SUITE_ENVIRONMENT") or cache() / "anemoi")) / "bin" / "python")
    source = {"PYTHONPATH": str(HERE.parents[1] / "src")}
    keras = Child(
        [
            python.stdout.strip(),
            str(HERE / "engine_kerastuner.py"),
            str(peers),
            str(arguments.trials),
            str(EPOCHS),
            str(folder / "kt"),
        ]
    )
    workers = {p: Child([training, "-m", "ml_suite.trainers.mlp.worker"], source) for p in setups}
    peak = Child([training, "-c", PEAK])
    steps = settings.steps(SAMPLES, BATCH)

    def order(trial: int, units: list[int]) -> str:
        params = {"layers": len(units), "units": units}
        return Order(
            trial=trial, params=params, seed=1000 + trial, epochs=EPOCHS, patience=PATIENCE * steps
        ).model_dump_json()

    try:
        for precision, worker in workers.items():
            worker.ask(setups[precision].model_dump_json())
            worker.timed(order(-1, [16, 16]))
        keras.hear()
        for trial in range(arguments.trials):
            line, seconds = keras.timed("")
            drawn = json.loads(line)
            told = {
                "units": drawn["units"],
                "kt": {**drawn, "cpu": seconds},
                "data": str(arguments.data or "smooth"),
            }
            for precision, worker in workers.items():
                line, seconds = worker.timed(order(trial, drawn["units"]))
                answer = Answer.model_validate_json(line)
                told[precision] = {"cpu": seconds, "epochs": answer.epochs, "best": answer.best}
                if trial % 5 == 0:
                    told[f"peak_{precision}"] = float(peak.timed(precision)[0])
            tell(told)
    finally:
        for child in (keras, peak, *workers.values()):
            child.end()


def show(rows: list[dict[str, Any]]) -> bool:
    """Print the figures; True when all goals are met."""
    flop = np.array([settings.flops((16, *r["units"], 4), SAMPLES, SAMPLES) for r in rows])
    side = {
        s: {k: np.array([r[s][k] for r in rows], float) for k in ("cpu", "epochs", "best")}
        for s in ("kt", "fp32", "bf16")
    }
    kt = side["kt"]
    small = flop < SMALL
    print(
        f"{len(rows)} configurations of {rows[0]['data']}, {SAMPLES} + {SAMPLES} samples; {small.sum()} are small"
    )
    print("CPU-seconds a trial, one thread: quartiles; mean; epochs; quartiles of the best validation loss")
    for name, s in side.items():
        told = "  ".join(f"{v:.3f}" for v in np.percentile(s["cpu"], [25, 50, 75]))
        loss = "  ".join(f"{v:.5f}" for v in np.percentile(s["best"], [25, 50, 75]))
        print(f"  {name:5} {told}; {s['cpu'].mean():.3f}; {s['epochs'].mean():.1f}; {loss}")
    met = True
    for name in ("fp32", "bf16"):
        s = side[name]
        equal = s["cpu"] * kt["epochs"] / s["epochs"]
        each = kt["cpu"] / equal
        whole, few = _ratio(kt["cpu"], equal), _ratio(kt["cpu"][small], equal[small])
        peaks = [r[f"peak_{name}"] for r in rows if f"peak_{name}" in r]
        rate = (flop * s["epochs"]).sum() / s["cpu"].sum()
        print(
            f"RATIO KerasTuner / {name}, all networks, equal epochs: {whole} (goal for bf16 {GOALS['total']})"
        )
        print(f"RATIO KerasTuner / {name}, below 5 GFLOP an epoch: {few} (goal {GOALS['small']:g})")
        quartiles = ", ".join(f"{q:.1f}" for q in np.percentile(each, [25, 50, 75]))
        print(f"      of a trial, quartiles: {quartiles}")
        share = rate / statistics.median(peaks)
        print(
            f"SHARE {name} of its measured peak: {rate / 1e9:.0f} of {statistics.median(peaks) / 1e9:.0f}"
            f" GFLOP/s = {share:.2f} (goal for fp32 {GOALS['peak']})"
        )
        off = np.median(s["best"]) / np.median(kt["best"]) - 1
        print(
            f"MEDIAN {name} against KerasTuner: {off:+.1%} {_median_spread(s['best'], kt['best'])}"
            f" (goal {GOALS['median']:.0%})"
        )
        met &= abs(off) <= GOALS["median"]
        met &= name != "fp32" or share >= GOALS["peak"]
        met &= name != "bf16" or whole.value >= GOALS["total"]
        met &= name != "bf16" or few.value >= GOALS["small"]
    rank = stats.spearmanr(side["fp32"]["best"], side["bf16"]["best"])[0]
    print(f"SPEARMAN bf16 against fp32 at the same seed: {rank:.3f} (goal {GOALS['spearman']})")
    return bool(met and rank >= GOALS["spearman"])


class _ratio:  # noqa: N801
    """Ratio of two sums with a bootstrap interval over the trials."""

    def __init__(self, above: Any, below: Any) -> None:
        self.value = float(above.sum() / below.sum()) if len(above) else float("nan")
        draw = np.random.default_rng(0).integers(0, max(len(above), 1), (2000, len(above)))
        many = above[draw].sum(1) / below[draw].sum(1) if len(above) else np.array([np.nan])
        self.low, self.high = np.percentile(many, [5, 95])

    def __str__(self) -> str:
        return f"{self.value:.2f} (90 %: {self.low:.2f} to {self.high:.2f})"


def _median_spread(ours: Any, theirs: Any) -> str:
    draw = np.random.default_rng(0).integers(0, len(ours), (2000, len(ours)))
    low, high = np.percentile(np.median(ours[draw], 1) / np.median(theirs[draw], 1) - 1, [5, 95])
    return f"(90 %: {low:+.1%} to {high:+.1%})"


def main() -> int:
    """Run or report; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--data", type=Path, help="samples (.npz); default: a smooth function")
    parser.add_argument("--inputs", default="x")
    parser.add_argument("--targets", default="y")
    parser.add_argument("--raw", type=Path, help="file to which each trial is appended")
    parser.add_argument("--report", type=Path, help="show the figures of such a file, and run nothing")
    arguments = parser.parse_args()
    if arguments.report:
        return 0 if show([json.loads(line) for line in arguments.report.read_text().splitlines()]) else 1
    rows: list[dict[str, Any]] = []

    def tell(row: dict[str, Any]) -> None:
        rows.append(row)
        if arguments.raw:
            with arguments.raw.open("a") as f:
                f.write(json.dumps(row) + "\n")

    with tempfile.TemporaryDirectory(dir=arguments.raw.parent if arguments.raw else None) as folder:
        run(Path(folder), arguments, tell)
    return 0 if show(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
