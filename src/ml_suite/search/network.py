"""The winner's network for use elsewhere, and how it predicts; made in the training environment."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ml_suite.search import environment
from ml_suite.search.folder import Folder
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.contract import Document, Selection
from ml_suite.trainers.mlp.protocol import Setup

Say = Callable[[str], None]

_EXPORT, _PREDICT = "ml_suite.trainers.mlp.export", "ml_suite.trainers.mlp.predict"


class Network(Document):
    """network.json: what was exported."""

    weights: str
    """SHA-256 of the weights that it was made of."""
    path: str
    parameters: int
    difference: float
    """Largest absolute difference from the weights over `samples`."""
    samples: int
    seconds: dict[str, float]
    """Median time of a call on one core, by number of samples in it."""
    metadata: dict[str, str]


def setup(plan: ArrayPlan, folder: Folder) -> Setup:
    """Return the data of a training on everything."""
    return Setup(
        arrays=plan.arrays,
        members={
            name: folder.root / path
            for name in ("training", "validation", "test")
            if (path := plan.members[name].path) is not None
        },
        normalisation=None if plan.normalisation == "none" else folder.normalisation,
        precision=plan.precision["step2"],
        settings=plan.settings,
    )


def known(folder: Folder, selection: Selection | None) -> Network | None:
    """Return what was exported of the winner; None if nothing was."""
    weights = selection.result.checkpoint if selection else None
    try:
        found = Network.load(folder.facts) if folder.network.exists() else None
    except (OSError, ValidationError):
        return None
    return found if found is not None and weights is not None and found.weights == weights.sha256 else None


def make(plan: ArrayPlan, folder: Folder, where: Path, selection: Selection, say: Say) -> Network | None:
    """Leave the winner's network as ONNX, and its predictions of the test samples.

    What is there of the same weights stays. A study is not lost for want of a library: it is told.
    """
    found = known(folder, selection)
    if found is not None and folder.predictions.exists():
        return found
    # those of an earlier winner must not be taken for this one's
    for path in folder.winner:
        path.unlink(missing_ok=True)
    weights = selection.result.checkpoint
    if weights is None or not weights.path.exists():
        say("the winner's weights are gone: no network is exported")
        return None
    given = folder.root / "setup.json"
    setup(plan, folder).save(given)
    shared = ["--weights", str(weights.path), "--setup", str(given)]
    about = {
        "study": plan.study,
        "name": plan.suite,
        **{f"software_{k}": v for k, v in plan.software.items()},
    }
    told = _run(
        where, [_EXPORT, *shared, "--out", str(folder.network), "--study", json.dumps(about), "--json"], say
    )
    _run(where, [_PREDICT, *shared, "--out", str(folder.predictions)], say)
    if told is None:
        return None
    fields: dict[str, Any] = json.loads(told)
    found = Network(weights=weights.sha256, **fields)
    found.save(folder.facts)
    return found


def _run(where: Path, words: list[str], say: Say) -> str | None:
    """Run a module of the trainer; None if it failed, which is told."""
    argv = [str(environment.python_of(where)), "-m", *words]
    done = subprocess.run(argv, env=environment.variables(0), capture_output=True, text=True, check=False)
    if not done.returncode:
        return done.stdout.strip()
    last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
    say(f"{words[0].rsplit('.', 1)[-1]} of the winner failed: {last}")
    return None
