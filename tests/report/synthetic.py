"""Studies that look like real ones, made from a seed in a moment: the error falls with size, luck blurs the order."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from ml_suite.study.arrays import ArrayPlan, Arrays, Members
from ml_suite.study.certificate import certify
from ml_suite.study.contract import (
    Candidate,
    Choice,
    HistoryPoint,
    Rungs,
    Selection,
    Shortlist,
    TrialResult,
    TrialState,
)
from ml_suite.trainers.mlp import predict

START = datetime(2026, 3, 1, tzinfo=UTC)
SPACE = {
    "layers": {"int": [1, 20]},
    "units": {"choice": [8, 16, 32, 64, 128, 256, 512, 1024, 2048], "per": "layers"},
    "learning_rate": {"log": [1e-4, 1e-2]},
    "activation": {"choice": ["relu", "elu", "leaky_relu"]},
    "batch": {"choice": [256, 1024, 4096]},
}


def write(folder: Path, trials: int = 400, keep: int = 24, seed: int = 0, finished: bool = True) -> Path:
    """Write the folder of a study."""
    rng = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    _plan(trials, keep).save(folder / "plan.json")
    first = [_training(rng, trial, 1, _params(rng), 0.05) for trial in range(trials)]
    _record(folder / "step1" / "0-of-1.jsonl", first)
    if not finished:
        return folder
    ranked = sorted((r for r in first if r.state is TrialState.COMPLETE), key=lambda r: r.value or 0)
    middle = len(ranked) // 2
    chosen = [(r, "ranked") for r in ranked[:keep]] + [(r, "control") for r in ranked[middle : middle + 5]]
    candidates = [
        Candidate(rank=i, trial=r.trial, params=r.params, value=r.value, role=role)
        for i, (r, role) in enumerate(chosen, 1)
    ]
    states = {s: n for s in TrialState if (n := sum(r.state is s for r in first))}
    Shortlist(study="aerosol-0001", candidates=candidates, states=states).save(folder / "shortlist.json")
    second = [_training(rng, c.trial, 2, c.params, 1.0) for c in candidates]
    best = sorted(second[:keep], key=lambda r: r.value or 0)[:3]
    again = [_training(rng, r.trial, 2, r.params, 1.0, seed) for r in best for seed in (1, 2)]
    _record(folder / "step2" / "0-of-1.jsonl", second + again)
    means = {r.trial: [r.value, *(a.value for a in again if a.trial == r.trial)] for r in best}
    winner = min(best, key=lambda r: sum(means[r.trial][1:]))
    selection = Selection(
        study="aerosol-0001",
        trial=winner.trial,
        step=2,
        params=winner.params,
        value=sum(means[winner.trial][1:]) / 2,
        step1_value=next(c.value for c in candidates if c.trial == winner.trial),
        result=winner,
        replicates=means[winner.trial],
        judged="the mean of 2 further seeds",
        warnings=["trial 7, a control, reached 0.0001"],
    )
    selection.save(folder / "selection.json")
    _predictions(folder, seed)
    rng = random.Random(seed + 1)
    some = [r for r in first[:60] if r.state is TrialState.COMPLETE][:40]
    sizes = [(0.05, 0, some), (0.05, 1, some), (0.1, 0, some), (1.0, 0, some[::4])]
    pilot = {
        (share, n): [_training(rng, r.trial, 2, r.params, share, n) for r in chosen]
        for share, n, chosen in sizes
    }
    for (share, n), results in pilot.items():
        _record(folder / "pilot" / f"{100 * share:g}%-{n}" / "0-of-1.jsonl", results)
    certify(_plan(trials, keep), pilot, first, second + again, selection).save(folder / "certificate.json")
    return folder


def _plan(trials: int, keep: int) -> ArrayPlan:
    sizes = {"training": 210_000, "subset": 10_500, "validation": 60_000, "test": 30_000}
    return ArrayPlan(
        study="aerosol-0001",
        suite="aerosol",
        metric="val_mse",
        direction="minimize",
        seed=0,
        space=SPACE,
        trials=trials,
        keep=keep,
        subset=0.05,
        shards=1,
        epochs={"step1": 60, "step2": 100},
        rungs=Rungs(at=[4, 12], keep=0.5, cohort=16),
        choice=Choice(controls=5, finalists=3, replicates=3),
        trainer="mlp",
        software={"torch": "2.13.0", "numpy": "2.4.1"},
        arrays=Arrays(
            path=Path("/data/aerosol.npz"),
            inputs="x",
            targets="y",
            sha256="0" * 64,
            samples=300_000,
            shape=(16, 4),
        ),
        members={name: Members(count=n, sha256="0" * 64) for name, n in sizes.items()},
        normalisation="training",
        precision={"step1": "bf16", "step2": "fp32"},
        settings={},
    )


def _params(rng: random.Random) -> dict[str, object]:
    layers = rng.randint(1, 20) if rng.random() < 0.6 else rng.randint(1, 6)
    return {
        "layers": layers,
        "units": [rng.choice(SPACE["units"]["choice"]) for _ in range(layers)],
        "learning_rate": 10 ** rng.uniform(-4, -2),
        "activation": rng.choice(SPACE["activation"]["choice"]),
        "batch": rng.choice(SPACE["batch"]["choice"]),
    }


def _weights(units: list[int]) -> int:
    widths = [16, *units, 4]
    return sum((a + 1) * b for a, b in pairwise(widths))


def _training(
    rng: random.Random, trial: int, step: int, params: dict, share: float, replicate: int = 0
) -> TrialResult:
    weights, layers = _weights(params["units"]), params["layers"]
    narrow = min(params["units"])
    # quality of the configuration itself, then data, then luck
    score = 0.9 * max(0.0, 4.3 - math.log10(weights)) + 0.35 * max(0, 3 - layers) + 0.04 * max(0, layers - 8)
    score += 0.35 * (math.log10(params["learning_rate"]) + 3.0) ** 2 + (
        0.5 if narrow <= 8 and layers > 4 else 0
    )
    score += {"relu": 0.0, "elu": 0.06, "leaky_relu": 0.03}[params["activation"]]
    final = 10 ** (-3.4 + 0.55 * score - 0.75 * math.log10(share) * 0.6 + rng.gauss(0, 0.025))
    stuck = rng.random() < 0.01 * max(0, layers - 4)
    if stuck:
        final = rng.uniform(0.04, 0.055)
    final = min(final, 0.06)
    length = 100 if step == 2 else 60
    epochs = min(length, int(rng.uniform(0.5, 1.2) * length)) if not stuck else rng.randint(6, 12)
    state, reason, value = TrialState.COMPLETE, "", final
    chance = rng.random()
    if step == 1 and chance < 0.012:
        state, reason, value, epochs = TrialState.DIVERGED, "val_mse is not finite after epoch 2", None, 2
    elif step == 1 and chance < 0.02:
        state, reason, value, epochs = TrialState.FAILED, "out of memory", None, 0
    elif step == 1 and final > 0.01 and chance < 0.7:
        state, reason, epochs = TrialState.PRUNED, "not among the best 8 of its cohort", rng.choice([4, 12])
    speed = rng.uniform(3, 8)
    history = [
        HistoryPoint(
            epoch=e,
            step=e * math.ceil(share * 205),
            value=float(f"{final + (0.055 - final) * math.exp(-e / speed) * rng.uniform(0.85, 1.15):.7g}"),
        )
        for e in range(1, epochs + 1)
    ]
    if state is TrialState.PRUNED or (value is not None and history):
        value = min(p.value for p in history)
    seconds = 2.0 + epochs * share * (3.0 + weights * 6e-5) * rng.uniform(0.9, 1.1)
    begin = START + timedelta(seconds=trial * 11)
    return TrialResult(
        study="aerosol-0001",
        trial=trial,
        step=step,
        replicate=replicate,
        state=state,
        reason=reason,
        params=params,
        metric="val_mse",
        value=value,
        best=value,
        history=history,
        seconds=round(seconds, 3),
        cpu_seconds=round(seconds * 0.98, 3),
        parameters=weights,
        epochs=epochs,
        inference_seconds=(2e-6 + layers * 1.5e-6 + weights * 9e-11) * rng.uniform(0.95, 1.1)
        if state is TrialState.COMPLETE
        else None,
        started=begin,
        ended=begin + timedelta(seconds=seconds),
        host="localhost",
    )


def _record(path: Path, results: list[TrialResult]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(r.model_dump_json() + "\n" for r in results))


def _predictions(folder: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.clip(rng.beta(0.5, 0.6, (30_000, 4)), 0, 1)
    truth[:, 2] = 1 - truth[:, 2] ** 6
    noise = rng.standard_t(3, truth.shape) * np.array([0.008, 0.02, 0.002, 0.03])
    emulated = np.clip(truth + noise * np.sqrt(truth * (1 - truth) + 0.01), 0, 1)
    scheme = np.clip(truth**1.3 * rng.uniform(0.7, 1.05, truth.shape), 0, 1)
    for name, predicted in (("predictions", emulated), ("predictions-scheme", scheme)):
        np.savez_compressed(folder / f"{name}.npz", **predict.binned(truth, predicted))
