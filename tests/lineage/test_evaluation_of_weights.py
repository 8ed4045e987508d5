"""Scores of real weights against numbers made in another way."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from ml_suite.evaluation.scores import Evaluation
from ml_suite.study.contract import Selection, TrialSpec
from tests.lineage.whole import Suite

# the first test also builds the dataset and trains
pytestmark = [pytest.mark.anemoi, pytest.mark.timeout(900)]

LOSS = """
import sys
from pathlib import Path
from ml_suite.evaluation.loss import trainer_loss
from ml_suite.study.contract import Span, TrialSpec
spec = TrialSpec.load(Path(sys.argv[2]))
print(repr(trainer_loss(Path(sys.argv[1]), spec.dataset.path, spec.validation)[spec.metric]))
"""

BY_HAND = """
import json, subprocess, sys
from pathlib import Path
import netCDF4, numpy as np, yaml
from anemoi.datasets import open_dataset
checkpoint, dataset, folder, *starts = sys.argv[1:]
data = open_dataset(dataset)
dates = [str(d)[:19] for d in data.dates]
weights = np.cos(np.deg2rad(data.latitudes))
errors = {}
for start in starts:
    out = Path(folder) / "forecast.nc"
    config = {"checkpoint": checkpoint, "date": start, "lead_time": 24, "precision": "32", "allow_nans": True,
              "write_initial_state": False, "input": {"dataset": {"dataset": dataset}}, "output": {"netcdf": str(out)}}
    (Path(folder) / "run.yaml").write_text(yaml.safe_dump(config))
    program = Path(sys.executable).with_name("anemoi-inference")
    subprocess.run([program, "run", Path(folder) / "run.yaml"], check=True, capture_output=True)
    first = dates.index(start)
    with netCDF4.Dataset(out) as nc:
        for name in ("msl", "t", "u", "v", "u500", "v500"):
            column = data.name_to_index[name]
            for lead in range(4):
                truth = data[first + lead + 1][column, 0]
                forecast = nc[name][lead].filled(np.nan)
                persistence = data[first][column, 0]
                for key, field in ((name, forecast), ("p " + name, persistence)):
                    square = np.average((field - truth).astype("f8") ** 2, weights=weights)
                    errors.setdefault(key, [[], [], [], []])[lead].append(square)
print(json.dumps({name: [float(np.sqrt(np.mean(e))) for e in row] for name, row in errors.items()}))
"""


def python(suite: Suite, code: str, *arguments: object) -> str:
    done = subprocess.run(
        [suite.python, "-c", code, *map(str, arguments)],
        env={
            # the last digits depend on the kernels that OpenBLAS takes
            **{name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")},
            "PYTHONPATH": str(suite.library),
            "OMP_NUM_THREADS": "1",
            "PATH": "/usr/bin:/bin",
            "HOME": str(suite.home),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()[-1]


def scores(suite: Suite) -> Evaluation:
    return Evaluation.load(suite.tree.evaluation / "scores.json")


def test_the_loss_is_the_trainers(finished: Suite) -> None:
    """On the validation period it is, to the last digit, what the training itself reported of these weights."""
    selection = Selection.load(finished.tree.selection)
    assert selection.result.checkpoint is not None
    trial = finished.tree.trial(0, selection.trial) / "trial.json"
    assert float(python(finished, LOSS, selection.result.checkpoint.path, trial)) == selection.value
    assert scores(finished).winner.loss != selection.value
    assert scores(finished).winner.validation == selection.value


def test_rmse_is_what_the_command_line_and_numpy_give(finished: Suite, tmp_path: object) -> None:
    found = scores(finished)
    selection = Selection.load(finished.tree.selection)
    spec = TrialSpec.load(finished.tree.trial(0, selection.trial) / "trial.json")
    assert selection.result.checkpoint is not None
    assert len(found.starts) == 3
    assert found.lead_hours == [6, 12, 18, 24]
    starts = [start.isoformat() for start in found.starts]
    by_hand = json.loads(
        python(finished, BY_HAND, selection.result.checkpoint.path, spec.dataset.path, tmp_path, *starts)
    )
    assert set(found.winner.rmse) == {"msl", "t", "u", "v", "u500", "v500"}
    for name, row in found.winner.rmse.items():
        assert row == pytest.approx(by_hand[name], rel=1e-5), name
        assert found.persistence[name] == pytest.approx(by_hand[f"p {name}"], rel=1e-6), name
    assert found.units["msl"] == "Pa"


def test_figures_are_there_and_say_which_weights(finished: Suite) -> None:
    assert (finished.tree.evaluation / "rmse.png").read_bytes().startswith(b"\x89PNG")
    assert b"persistence" in (finished.tree.evaluation / "rmse.svg").read_bytes()


def test_evaluating_again_computes_nothing_and_gives_the_same(finished: Suite) -> None:
    files = sorted(finished.tree.evaluation.glob("*.*"))
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    (finished.tree.evaluation / "rmse.svg").unlink()
    output = finished.succeed("evaluate")
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in files] == before
    assert "Seed set" not in output


def test_a_period_without_room_for_a_forecast_is_a_message(finished: Suite, tmp_path: object) -> None:
    code = """
import sys
from datetime import datetime, timedelta
from pathlib import Path
from ml_suite.errors import StudyError
from ml_suite.evaluation.forecast import score_forecasts
from ml_suite.study.contract import Span
try:
    period = Span(start=datetime(1996, 1, 20), end=datetime(1996, 1, 20, 18))
    score_forecasts(Path(sys.argv[1]), Path(sys.argv[2]), period, timedelta(hours=24), 3)
except StudyError as error:
    print(str(error).replace(chr(10), ' '))
"""
    selection = Selection.load(finished.tree.selection)
    spec = TrialSpec.load(finished.tree.trial(0, selection.trial) / "trial.json")
    assert selection.result.checkpoint is not None
    told = python(finished, code, selection.result.checkpoint.path, spec.dataset.path)
    assert "Shorten evaluation.lead_time" in told


def test_weights_in_use_that_cannot_be_judged_do_not_stop_the_winner(finished: Suite, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from ml_suite.evaluation.run import evaluate
from ml_suite.evaluation.scores import Contestant, Evaluation
known = Evaluation.load(Path(sys.argv[1]))
both = [*known.request.contestants, Contestant(role="incumbent", uuid="old", sha256="0" * 64)]
request = known.request.model_copy(update={"contestants": both})
files = {"winner": Path(sys.argv[2]), "incumbent": Path(sys.argv[3])}
found = evaluate(request, files, Path(sys.argv[4]), known.winner.validation)
assert found.models == known.models, found.models
print(found.note)
"""
    (tmp_path / "old.ckpt").write_bytes(b"written by another age")
    selection = Selection.load(finished.tree.selection)
    spec = TrialSpec.load(finished.tree.trial(0, selection.trial) / "trial.json")
    assert selection.result.checkpoint is not None
    known = finished.tree.evaluation / "scores.json"
    files = selection.result.checkpoint.path, tmp_path / "old.ckpt", spec.dataset.path
    assert python(finished, code, known, *files).startswith("the incumbent could not be judged")
