"""The exported network, in the training environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_suite.errors import StudyError
from ml_suite.study.contract import TrialState
from ml_suite.trainers.mlp import files, predict, settings
from ml_suite.trainers.mlp.protocol import Setup
from tests.trainers.mlp.workers import Worker, order

pytestmark = pytest.mark.anemoi

READ = """
import json, sys, numpy as np, onnx, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
x = np.load(sys.argv[2])
print(json.dumps(dict(y=session.run(None, {"inputs": x})[0].tolist(),
                      meta={p.key: p.value for p in onnx.load(sys.argv[1]).metadata_props})))
"""


@pytest.fixture(scope="module")
def weights(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "best.npz"
    answer = worker.train(order(trial=3, epochs=20, weights=path))
    assert answer.state is TrialState.COMPLETE
    return path


def call(python: Path, repository: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run([str(python), *argv], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def arguments(weights: Path, setup: Setup, tmp_path: Path) -> list[str]:
    (tmp_path / "setup.json").write_text(setup.model_dump_json())
    return ["--weights", str(weights), "--setup", str(tmp_path / "setup.json")]


def test_the_exported_network_takes_physical_units(
    arguments: list[str], weights: Path, setup: Setup, tmp_path: Path, anemoi_python: Path, repository: Path
) -> None:
    out = tmp_path / "network.onnx"
    more = ["--out", str(out), "--study", '{"study": "aerosol"}', "--json"]
    done = call(anemoi_python, repository, "-m", "ml_suite.trainers.mlp.export", *arguments, *more)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["parameters"] == settings.parameters((6, 32, 16, 3))
    assert told["difference"] < 1e-6
    assert told["samples"] == 300
    assert 0 < told["seconds"]["1"] < told["seconds"]["1024"] < 0.1
    with np.load(setup.arrays.path) as z:
        x, y = z["x"][:50], z["y"][:50]
    np.save(tmp_path / "x.npy", x)
    read = call(anemoi_python, repository, "-c", READ, str(out), str(tmp_path / "x.npy"))
    assert read.returncode == 0, read.stderr
    seen: dict[str, Any] = json.loads(read.stdout)
    assert np.abs(np.array(seen["y"]) - predict.forward(*files.load_weights(weights), x)).max() < 1e-6
    assert ((np.array(seen["y"]) - y) ** 2).mean() < y.var()
    meta = seen["meta"]
    assert (meta["study"], meta["trial"], meta["seed"]) == ("aerosol", "3", "7")
    assert meta["dataset_sha256"] == setup.arrays.sha256
    assert json.loads(meta["input_names"])[0] == "in0"
    assert json.loads(meta["output_names"]) == ["one", "two", "three"]


def test_the_five_lines_of_the_documentation_run(
    arguments: list[str], weights: Path, setup: Setup, tmp_path: Path, anemoi_python: Path, repository: Path
) -> None:
    out = ["--out", str(tmp_path / "winner.onnx")]
    assert not call(
        anemoi_python, repository, "-m", "ml_suite.trainers.mlp.export", *arguments, *out
    ).returncode
    page = (repository / "docs" / "training.md").read_text()
    lines = page.partition("### The network in your own program")[2].split("```python\n")[1].split("```")[0]
    with np.load(setup.arrays.path) as z:
        np.savez(tmp_path / "samples.npz", x=z["x"][:9].astype("f8"))
        wanted = predict.forward(*files.load_weights(weights), z["x"][:5])
    code = f"import os, json; os.chdir({str(tmp_path)!r})\n{lines}\nprint(json.dumps(y.tolist()))"
    done = subprocess.run([anemoi_python, "-c", code], capture_output=True, text=True, check=True)
    assert np.array(json.loads(done.stdout)) == pytest.approx(wanted, abs=1e-6)


def test_weights_of_other_data_are_not_exported(
    setup: Setup, weights: Path, tmp_path: Path, anemoi_python: Path, repository: Path
) -> None:
    other = setup.model_copy(update={"arrays": setup.arrays.model_copy(update={"sha256": "0" * 64})})
    (tmp_path / "other.json").write_text(other.model_dump_json())
    out = tmp_path / "network.onnx"
    argv = ["--weights", str(weights), "--setup", str(tmp_path / "other.json"), "--out", str(out)]
    done = call(anemoi_python, repository, "-m", "ml_suite.trainers.mlp.export", *argv)
    assert done.returncode == 1
    assert "trained on other data" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_truth_and_prediction_are_binned(
    arguments: list[str], tmp_path: Path, weights: Path, setup: Setup, anemoi_python: Path, repository: Path
) -> None:
    out = tmp_path / "pairs.npz"
    done = call(
        anemoi_python,
        repository,
        "-m",
        "ml_suite.trainers.mlp.predict",
        *arguments,
        "--out",
        str(out),
        "--bins",
        "40",
    )
    assert done.returncode == 0, done.stderr
    truth, predicted = predict.pairs(weights, setup)
    with np.load(out) as z:
        assert z["counts"].shape == (3, 40, 40)
        assert (z["counts"].sum((1, 2)) == len(truth)).all()
        assert np.allclose(z["mse"], ((truth - predicted) ** 2).mean(0), rtol=1e-4)
        assert (z["r2"] <= 1).all()
        assert z["truth"].shape == (200, 3)
        # the first axis is the truth
        rows = np.histogram(truth[:, 0].astype(np.float64), z["edges"][0])[0]
        assert (z["counts"][0].sum(1) == rows).all()


def test_a_file_that_is_no_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"not zipped")
    with pytest.raises(StudyError, match="holds no weights"):
        files.load_weights(tmp_path / "w.npz")
