"""Export a network for use in another program: ONNX with its normalisation inside, checked and timed.

``python -m ml_suite.trainers.mlp.export --weights W --setup S --out network.onnx --json`` takes inputs in their own
units under the name `inputs` ([samples, inputs], float32) and gives `outputs`. The file is compared with the weights
on validation samples before it gets its name, and says in its metadata where it comes from.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite import atomic
from ml_suite.errors import MlSuiteError, StudyError
from ml_suite.trainers.mlp import data, files, predict
from ml_suite.trainers.mlp.protocol import Setup
from ml_suite.trainers.mlp.settings import parameters

INPUTS, OUTPUTS = "inputs", "outputs"
TOLERANCE = 1e-5
"""Largest difference between exported network and weights, relative to the largest output or 1."""
OPSET = 17
_SAMPLES = 4096
_BATCHES = (1, 1024)


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: str
    parameters: int
    difference: float
    """Largest absolute difference from the weights over `samples`."""
    samples: int
    seconds: dict[str, float]
    """Median time of a call on one core by number of samples in it."""
    metadata: dict[str, str]


def onnx(weights: Path, setup: Setup, out: Path, study: Mapping[str, str] | None = None) -> Exported:
    """Write the network of kept weights as ONNX; needs onnx and onnxruntime.

    Parameters
    ----------
    study
        More metadata, such as the names of study and software.

    Raises
    ------
    StudyError
        If weights or data cannot be read, or the exported network does not compute the same.
    """
    header, arrays = files.load_weights(weights)
    if header["arrays"]["sha256"] != setup.arrays.sha256:
        raise StudyError(
            f"{weights} was trained on other data than {setup.arrays.path}",
            f"Its data have the SHA-256 {header['arrays']['sha256']}.",
        )
    metadata = _metadata(header, setup, study or {})
    model = _model(header, arrays, metadata)
    x, _ = data.table(setup.arrays)
    chosen = data.members("validation", predict.member(setup, "validation"), len(x))
    some = x[chosen[:_SAMPLES]]
    session = _session(model)
    difference = _compare(session, header, arrays, some)
    seconds = {str(n): _time(session, some, n) for n in _BATCHES}
    atomic.write(out, model)
    return Exported(str(out), parameters(header["widths"]), difference, len(some), seconds, metadata)


def _metadata(header: Mapping[str, Any], setup: Setup, study: Mapping[str, str]) -> dict[str, str]:
    """Where the network comes from; all text."""
    import numpy as np

    told = {k: str(header[k]) for k in ("trial", "replicate", "seed", "metric", "value", "step", "precision")}
    told |= {"dataset_sha256": header["arrays"]["sha256"], "widths": json.dumps(header["widths"])}
    told["settings"] = json.dumps(header["settings"], sort_keys=True)
    with np.load(setup.arrays.path, allow_pickle=False) as stored:
        for kind, array in (("input", setup.arrays.inputs), ("output", setup.arrays.targets)):
            if f"{array}_names" in stored.files:
                told[f"{kind}_names"] = json.dumps([str(n) for n in stored[f"{array}_names"]])
    return told | {k: str(v) for k, v in study.items()}


def _model(header: Mapping[str, Any], arrays: Mapping[str, Any], metadata: Mapping[str, str]) -> bytes:
    """Graph: normalisation, then one Gemm and activation a layer."""
    from onnx import TensorProto, checker, helper, numpy_helper

    widths = header["widths"]
    nodes, constants, given = [], [], INPUTS
    if "mean" in arrays:
        constants += [numpy_helper.from_array(arrays[k], k) for k in ("mean", "std")]
        nodes.append(helper.make_node("Sub", [INPUTS, "mean"], ["shifted"]))
        nodes.append(helper.make_node("Div", ["shifted", "std"], ["normalised"]))
        given = "normalised"
    last = len(widths) - 2
    for i in range(last + 1):
        constants += [numpy_helper.from_array(arrays[k], k) for k in (f"w{i}", f"b{i}")]
        kind = {"sigmoid": "Sigmoid", "linear": "Identity"}[header["output"]] if i == last else "Relu"
        nodes.append(helper.make_node("Gemm", [given, f"w{i}", f"b{i}"], [f"z{i}"], transB=1))
        given = OUTPUTS if i == last else f"h{i}"
        nodes.append(helper.make_node(kind, [f"z{i}"], [given]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["samples", width])
        for name, width in ((INPUTS, widths[0]), (OUTPUTS, widths[-1]))
    ]
    graph = helper.make_graph(nodes, "mlp", ends[:1], ends[1:], constants)
    model = helper.make_model(
        graph, producer_name="ml-suite", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8
    )
    helper.set_model_props(model, dict(metadata))
    checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _session(model: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _compare(session: Any, header: dict[str, Any], arrays: dict[str, Any], x: Any) -> float:
    import numpy as np

    wanted = predict.forward(header, arrays, x)
    (made,) = session.run([OUTPUTS], {INPUTS: x})
    difference = float(np.abs(made - wanted).max())
    if not difference <= TOLERANCE * max(1.0, float(np.abs(wanted).max())):  # also when it is NaN
        raise StudyError(
            f"the exported network differs from its weights by {difference:g}",
            "Report this; nothing was written.",
        )
    return difference


def _time(session: Any, x: Any, rows: int) -> float:
    """Median seconds of a call with so many samples, by the clock: what a caller waits."""
    import numpy as np

    given = {INPUTS: np.resize(x, (rows, x.shape[1]))}
    times: list[float] = []
    end = time.perf_counter() + 0.5
    while len(times) < 10 or (time.perf_counter() < end and len(times) < 1000):
        begin = time.perf_counter()
        session.run([OUTPUTS], given)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main() -> int:
    """Run from the command line."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    parser = argparse.ArgumentParser(description="Export kept weights as ONNX.")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--setup", type=Path, required=True, help="what the worker was started with (JSON)")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.onnx)")
    parser.add_argument(
        "--study", type=json.loads, default={}, help="more metadata as a JSON object of texts"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    options = parser.parse_args()
    try:
        setup = Setup.model_validate_json(options.setup.read_bytes())
        made = onnx(options.weights, setup, options.out, options.study)
    except (MlSuiteError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(dataclasses.asdict(made)))
    else:
        single, many = (made.seconds[str(n)] * 1e6 for n in _BATCHES)
        print(f"{made.path}: {made.parameters} parameters, differs by {made.difference:.1g} from the weights")
        print(
            f"one core: {single:.1f} us for one sample, {many / _BATCHES[1]:.2f} us a sample in calls of {_BATCHES[1]}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
