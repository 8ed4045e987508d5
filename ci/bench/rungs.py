#!/usr/bin/env python3
"""Step 1 with rungs against plain step 1, and the whole search against the authors' way.

usage: ci/bench/rungs.py [--quick] [--data NAME ...] [--seeds N] [--share P] [--keep K] [--engine FILE]

The same trainings, once to their end and once cut by rungs: CPU-seconds, and the best true value among the K best of
either (true: mean over seeds on everything, from the truth of ci/bench/certificate.py). Then the whole search for the
same shortlist length: step 1 and step 2 as the authors' programs do it (no rungs; 200 epochs without early stopping
where the others have 100; KerasTuner) against ours (rungs; early stopping). What KerasTuner costs is measured by
ci/bench/engine.py: give its raw rows with --engine, or the figure below is used. Prints::

    RATIO rungs cost: PLAIN / RUNGS = X
    RATIO rungs regret: RUNGS / PLAIN = X
    RATIO end to end, without KerasTuner: AUTHORS / OURS = X
    RATIO end to end: AUTHORS / OURS = X
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from certificate import FULL, RUNGS, VALIDATED, Setting, Truth, points
from nets import DATA, Nets, Trained

from ml_suite.study import halving
from ml_suite.study.halving import Course

PATIENCE = 5
"""Epochs of step 2 without a better value after which ours stops."""

KERASTUNER = 5.7
"""CPU of KerasTuner and Keras for that of trainer mlp in bf16, same configurations and epochs, over the paper's space:
the first 35 trials of its process, which grows slower with each (9.3 over 200); used without --engine."""

ENOUGH = 30
"""Rows of the engine's bench that make a ratio."""


@dataclass(frozen=True)
class Case:
    """One search, with and without rungs."""

    data: str
    seed: int
    plain: float
    """CPU-seconds of step 1."""
    rungs: float
    regret_plain: float
    regret_rungs: float
    """Best true value among those kept, relative to the best of all."""
    same: float
    """Part of the shortlist that is the same."""
    step2: float
    """CPU-seconds of step 2, to the last epoch."""
    step2_stopped: float
    lost: float
    """Mean part of its value that a candidate loses by stopping early."""


def search(nets: Nets, truth: Truth, seed: int, share: float, keep: int) -> Case:
    """Both ways of one search."""
    draw, count = 10 * seed, truth.setting.trials
    found = {i: nets.train(i, share, draw, 100 + draw) for i in range(count)}
    ends: dict[int, int] = {}
    for start in range(0, count, RUNGS.cohort):
        cohort = range(start, min(start + RUNGS.cohort, count))
        ends |= halving.ends({i: Course(points(found[i])) for i in cohort}, RUNGS, "minimize")
    plain = sorted(found, key=lambda i: found[i].best)[:keep]
    left = sorted((i for i in found if i not in ends), key=lambda i: found[i].best)[:keep]
    full = [nets.train(i, 1.0, 0, FULL + 1) for i in left]
    stops = [stopped(f) for f in full]
    return Case(
        data=nets.data.name,
        seed=seed,
        plain=sum(f.seconds for f in found.values()),
        rungs=sum(f.seconds * ends.get(i, len(f.history)) / len(f.history) for i, f in found.items()),
        regret_plain=min(mean(truth, i) for i in plain) / truth.best,
        regret_rungs=min(mean(truth, i) for i in left) / truth.best,
        same=len(set(plain) & set(left)) / keep,
        step2=sum(f.seconds for f in full),
        step2_stopped=sum(f.seconds * s / len(f.history) for f, s in zip(full, stops, strict=True)),
        lost=statistics.fmean(min(f.history[:s]) / f.best - 1 for f, s in zip(full, stops, strict=True)),
    )


def mean(truth: Truth, trial: int) -> float:
    """True value of a trial."""
    return statistics.fmean(truth.values[trial])


def stopped(found: Trained) -> int:
    """Epochs that are trained with patience."""
    best, at = float("inf"), 0
    for epoch, value in enumerate(found.history):
        if value < best:
            best, at = value, epoch
        elif epoch - at >= PATIENCE:
            return epoch + 1
    return len(found.history)


def kerastuner(path: Path | None) -> float:
    """CPU of KerasTuner for that of ours in bf16 at equal epochs, over the paper's space."""
    if path is None:
        return KERASTUNER
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    if len(rows) < ENOUGH:
        raise SystemExit(
            f"{path} has {len(rows)} configurations, {ENOUGH} are needed: let ci/bench/engine.py go on"
        )
    ours = sum(r["bf16"]["cpu"] * r["kt"]["epochs"] / r["bf16"]["epochs"] for r in rows)
    return float(sum(r["kt"]["cpu"] for r in rows) / ours)


def told(values: Sequence[float]) -> str:
    """Median and spread."""
    return f"{statistics.median(values):.2f} (from {min(values):.2f} to {max(values):.2f})"


def report(cases: Sequence[Case], ratio: float, measured: bool) -> bool:
    """Print the ratios; whether the goal is met."""
    for c in cases:
        print(
            f"{c.data:12} seed {c.seed}: step 1 {c.plain:.2f} / {c.rungs:.2f} CPU-s = {c.plain / c.rungs:.2f}; best "
            f"kept {c.regret_plain:.3f} plain, {c.regret_rungs:.3f} with rungs; {100 * c.same:.0f} % of the shortlist "
            "the same"
        )
    cost = [c.plain / c.rungs for c in cases]
    regret = [c.regret_rungs / c.regret_plain for c in cases]
    print(f"RATIO rungs cost: plain / rungs = {told(cost)} (goal 3)")
    print(f"RATIO rungs regret: with rungs / plain = {told(regret)} (goal 1)")
    stop = statistics.median([c.step2_stopped / c.step2 for c in cases])
    lost = statistics.median([c.lost for c in cases])
    print(
        f"step 2 with a patience of {PATIENCE} epochs: {stop:.2f} of its epochs, {100 * lost:.2f} % of the value lost"
    )
    # the authors' second step has twice the epochs and never stops
    both = [(c.plain + 2 * c.step2) / (c.rungs + c.step2_stopped) for c in cases]
    print(f"RATIO end to end, without KerasTuner: authors' way / ours = {told(both)}")
    source = "measured by ci/bench/engine.py" if measured else "an earlier measurement"
    print(
        f"RATIO end to end: authors' way / ours = {told([ratio * b for b in both])}: KerasTuner costs {ratio:.2f} "
        f"times the same training ({source})"
    )
    return statistics.median(cost) >= 3 and statistics.median(regret) <= 1.001


def main() -> int:
    """Run the bench; exit code 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description="Rungs inside step 1 against plain step 1.")
    parser.add_argument("--data", nargs="+", choices=sorted(DATA), default=VALIDATED)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.025, help="part of the data in step 1")
    parser.add_argument("--keep", type=int, default=12)
    parser.add_argument("--engine", type=Path, help="rows of ci/bench/engine.py --raw")
    parser.add_argument(
        "--quick", action="store_true", help="a small search of one data set and one seed, to try"
    )
    chosen = parser.parse_args()
    setting = Setting(trials=48, contenders=6, finalists=3) if chosen.quick else Setting()
    cases = []
    for name in ["friedman"] if chosen.quick else chosen.data:
        nets = Nets(DATA[name])
        try:
            truth = Truth(nets, setting)
            seeds = range(1 if chosen.quick else chosen.seeds)
            cases += [search(nets, truth, seed, chosen.share, chosen.keep) for seed in seeds]
        finally:
            nets.close()
    good = report(cases, kerastuner(chosen.engine), chosen.engine is not None)
    return 0 if good or chosen.quick else 1


if __name__ == "__main__":
    sys.exit(main())
