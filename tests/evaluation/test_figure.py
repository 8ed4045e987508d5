"""The figure, drawn in the training environment, where matplotlib is."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

DRAW = """
import hashlib, sys, json
from datetime import datetime
from ml_suite.evaluation import figure
from ml_suite.evaluation.scores import Evaluation
scores = Evaluation.model_validate_json(sys.argv[1])
print(json.dumps([hashlib.sha256(figure.draw(scores, kind)).hexdigest() for kind in ("png", "svg") for _ in (1, 2)]))
"""


@pytest.mark.anemoi
def test_the_same_scores_give_the_same_bytes(anemoi_python: Path, repository: Path) -> None:
    scores = {
        "request": {
            "trainer": "anemoi",
            "metric": "m",
            "direction": "minimize",
            "contestants": [{"role": "winner", "uuid": "a", "sha256": "b"}],
            "dataset": "d",
            "dataset_uuid": "e",
            "manifest": "f",
            "test": {"start": "1996-01-19", "end": "1996-01-20"},
            "lead_hours": 12,
            "forecasts": 1,
        },
        "lead_hours": [6, 12],
        "units": {"t": "K", "<v>": None},
        "persistence": {"t": [1, 2], "<v>": [1, None]},
        "models": [
            {"role": role, "uuid": "a", "sha256": "b", "loss": 1, "rmse": {"t": [1, None], "<v>": [0.5, 1]}}
            for role in ("winner", "incumbent")
        ],
    }
    done = subprocess.run(
        [anemoi_python, "-c", DRAW, json.dumps(scores)],
        env={"PYTHONPATH": str(repository / "src"), "PATH": "/usr/bin:/bin", "HOME": "/tmp"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    png, png_again, svg, svg_again = json.loads(done.stdout)
    assert png == png_again
    assert svg == svg_again
    assert png != svg
