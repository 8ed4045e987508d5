"""Coordinate a search of 10,000 trials: ml-suite's record against Optuna's journal and SQLite storages, in turn.

usage: python ci/bench/coordination.py [--trials 10000] [--journal 2000] [--sqlite 300] [--rounds 3]

The space is the paper's: the number of layers (1 to 20) and the width of each (9 choices), 1 + 20 parameters. Training
is left out: a trial is drawn, its value is recorded so that it outlives a crash, and at the end all trials are read
back into one table. Optuna draws at random, as we do. CPU seconds (user and system) of a process of its own each, on
one thread, imports excluded. Optuna is measured on fewer trials and scaled up in proportion, which favours it: what one
of its trials costs grows with the trials that are there, as the figures for the first and the last fifth show.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

WIDTHS = [8, 16, 32, 64, 128, 256, 512, 1024, 2048]

OURS = """
import json, sys, time
from datetime import UTC, datetime
from pathlib import Path
from ml_suite.study import planning, record, trials
from ml_suite.study.contract import SearchPlan, TrialResult, TrialState

count, folder = int(sys.argv[1]), Path(sys.argv[2])
marks = [time.process_time()]
space = {"layers": {"int": [1, 20]}, "units": {"choice": json.loads(sys.argv[3]), "per": "layers"}}
plan = planning.identified(SearchPlan(
    study="", suite="bench", metric="loss", direction="minimize", seed=0, space=space, trials=count, keep=50,
    subset=0.05, shards=1, epochs={"step1": 1}, trainer="mlp", software={}))
drawn = [trials.parameters(plan, trial) for trial in trials.of_shard(plan, 0)]
marks.append(time.process_time())
with record.Record(folder / "step1" / "000.jsonl") as file:
    for trial, params in enumerate(drawn):
        now = datetime.now(UTC)
        file.add([TrialResult(study=plan.study, trial=trial, step=1, state=TrialState.COMPLETE, params=params,
                              metric="loss", value=1 / (trial + 1), started=now, ended=now, host="bench")])
marks.append(time.process_time())
merged = record.merge((folder / "step1").glob("*.jsonl"), plan.study)
(folder / "step1.csv").write_text(record.table(merged))
marks.append(time.process_time())
assert len(merged) == count
print(json.dumps([b - a for a, b in zip(marks, marks[1:])]))
"""

OPTUNA = """
import csv, json, sys, time
from pathlib import Path
import optuna
from optuna.storages import JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

optuna.logging.set_verbosity(optuna.logging.ERROR)
kind, count, folder, widths = sys.argv[4], int(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
url = f"sqlite:///{folder}/optuna.db"
storage = RDBStorage(url) if kind == "sqlite" else JournalStorage(JournalFileBackend(f"{folder}/optuna.log"))
sampler = optuna.samplers.RandomSampler(seed=0)
study = optuna.create_study(storage=storage, sampler=sampler, study_name="bench")
marks = [time.process_time()]
for number in range(count):
    trial = study.ask()
    for i in range(trial.suggest_int("layers", 1, 20)):
        trial.suggest_categorical(f"units[{i}]", widths)
    study.tell(trial, 1 / (number + 1))
    if (number + 1) % (count // 5) == 0:
        marks.append(time.process_time())
storage = RDBStorage(url) if kind == "sqlite" else JournalStorage(JournalFileBackend(f"{folder}/optuna.log"))
found = optuna.load_study(storage=storage, study_name="bench").get_trials(deepcopy=False)
names = ["layers", *(f"units[{i}]" for i in range(20))]
with open(folder / "step1.csv", "w") as file:
    rows = csv.writer(file)
    rows.writerow(["trial", "value", *names])
    rows.writerows([t.number, t.value, *(t.params.get(name, "") for name in names)] for t in found)
marks.append(time.process_time())
assert len(found) == count
print(json.dumps([b - a for a, b in zip(marks, marks[1:])]))
"""


def measure(code: str, count: int, *more: str) -> list[float]:
    """CPU seconds of the parts of one run."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR", "/var/tmp")) as folder:
        done = subprocess.run(
            [sys.executable, "-c", code, str(count), folder, json.dumps(WIDTHS), *more],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: list[float] = json.loads(done.stdout)
    return found


def spread(values: list[float], digits: int = 2) -> str:
    """Median with the lowest and the highest."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main() -> None:
    """Print each with its parts, and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--journal", type=int, default=2_000, help="trials that the journal is measured on")
    parser.add_argument("--sqlite", type=int, default=300, help="trials that SQLite is measured on")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    peers = {"journal": options.journal, "sqlite": options.sqlite}
    ours: list[list[float]] = []
    theirs: dict[str, list[list[float]]] = {kind: [] for kind in peers}
    for _ in range(options.rounds):
        ours.append(measure(OURS, options.trials))
        for kind, count in peers.items():
            theirs[kind].append(measure(OPTUNA, count, kind))
    total = [sum(parts) for parts in ours]
    print(
        f"CPU seconds, {options.trials:,} trials of 1 + 20 parameters, "
        f"{options.rounds} rounds, median (lowest to highest)"
    )
    print(f"ml-suite                  {spread(total)}")
    for name, values in zip(
        ("draw", "record, each on disk", "merge and table"), zip(*ours, strict=True), strict=True
    ):
        print(f"  {name:22}  {spread(list(values), 3)}")
    for kind, count in peers.items():
        scaled = [sum(parts) * options.trials / count for parts in theirs[kind]]
        first, last = (
            statistics.median(parts[i] for parts in theirs[kind]) / (count // 5) * 1000 for i in (0, 4)
        )
        print(
            f"optuna {kind:18} {spread(scaled, 1)}: measured {count:,} trials, scaled by {options.trials / count:.0f}"
        )
        print(f"  a trial                 {first:.2f} ms in the first fifth, {last:.2f} ms in the last")
        pairs = [b / a for a, b in zip(total, scaled, strict=True)]
        print(f"  optuna / ml-suite       {spread(pairs, 1)}")


if __name__ == "__main__":
    main()
