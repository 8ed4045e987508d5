"""Judge the network of a finished study on the test samples, mode by mode, beside the scheme of climate models.

    python assess.py STUDY_FOLDER [--figures FOLDER]
    python assess.py --data aerosol.npz [--pyrcel pyrcel.json] --figures FOLDER

With the Python of the training environment (numpy, onnxruntime, matplotlib, and numba for --pyrcel). The first form
prints a table of errors and draws truth against prediction; the second draws what is in the data, and the parcel model
against the answers of pyrcel that ci/bench/parcel.py recorded.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from parcel.sampling import MODES, Members

Pairs = dict[str, tuple[np.ndarray, np.ndarray]]
"""Truth and prediction [samples, modes] by who predicts."""


def _scores(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean square error and R2 of each mode."""
    error = ((prediction - truth) ** 2).mean(axis=0)
    return error, 1.0 - error / truth.var(axis=0)


def table(pairs: Pairs) -> Iterator[str]:
    """Errors as a table in Markdown: MSE and R2 of each mode, and the MSE of all four."""
    yield "| | " + " | ".join(mode.name for mode in MODES) + " | all |"
    yield "|---" * (len(MODES) + 2) + "|"
    for name, (truth, prediction) in pairs.items():
        error, skill = _scores(truth, prediction)
        yield f"| {name}, MSE | " + " | ".join(f"{e:.2e}" for e in error) + f" | {error.mean():.2e} |"
        yield f"| {name}, R² | " + " | ".join(f"{s:.4f}" for s in skill) + " | |"


def predictions(folder: Path) -> Pairs:
    """Of the study's winner and of the baseline, on the test samples.

    Raises
    ------
    OSError
        A file of the study is missing.
    """
    import onnxruntime

    plan = json.loads((folder / "plan.json").read_text())
    test = np.load(folder / "members" / "test.npy")
    session = onnxruntime.InferenceSession(folder / "winner.onnx")
    with np.load(plan["arrays"]["path"]) as data:
        x, y, baseline = (data[name][test] for name in ("x", "y", "arg"))
    (output,) = session.run(None, {session.get_inputs()[0].name: x})
    truth = y.astype(np.float64)
    return {"ARG2000": (truth, baseline.astype(np.float64)), "network": (truth, output.astype(np.float64))}


def _save(figure: object, folder: Path, name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / name, dpi=90, bbox_inches="tight")  # type: ignore[attr-defined]


def draw_predictions(pairs: Pairs, folder: Path) -> None:
    """Truth against prediction, a row for each who predicts."""
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(pairs), len(MODES), figsize=(11, 2.9 * len(pairs)), squeeze=False)
    for row, (name, (truth, prediction)) in zip(axes, pairs.items(), strict=True):
        error, skill = _scores(truth, prediction)
        for i, (axis, mode) in enumerate(zip(row, MODES, strict=True)):
            axis.hexbin(
                truth[:, i], prediction[:, i], gridsize=50, bins="log", extent=(0, 1, 0, 1), cmap="viridis"
            )
            axis.plot([0, 1], [0, 1], color="0.5", linewidth=0.8)
            axis.set_title(f"{mode.name}\nMSE {error[i]:.1e}, R² {skill[i]:.3f}", fontsize=9)
            axis.set_aspect("equal")
            axis.set_xlabel("parcel model", fontsize=8)
        row[0].set_ylabel(name)
    figure.tight_layout()
    _save(figure, folder, "aerosol-predictions.png")


def draw_data(data: Path, folder: Path) -> None:
    """Distributions of the labels and of the maximum of supersaturation."""
    from matplotlib import pyplot as plt

    with np.load(data) as stored:
        y, baseline, highest, theirs = (stored[name] for name in ("y", "arg", "smax", "arg_smax"))
    figure, axes = plt.subplots(1, len(MODES) + 1, figsize=(14, 2.8))
    for i, (axis, mode) in enumerate(zip(axes, MODES, strict=False)):
        for values, label, style in (
            (y, "parcel model", {"alpha": 0.5}),
            (baseline, "ARG2000", {"histtype": "step"}),
        ):
            axis.hist(values[:, i], np.linspace(0, 1, 41), label=label, density=True, **style)
        axis.set_yscale("log")
        axis.set_title(mode.name, fontsize=9)
        axis.set_xlabel("activated fraction", fontsize=8)
    axes[0].legend(fontsize=7)
    for values, style in ((highest, {"alpha": 0.5}), (theirs, {"histtype": "step"})):
        axes[-1].hist(100.0 * values, np.geomspace(1e-3, 20, 60), density=True, **style)
    axes[-1].set_xscale("log")
    axes[-1].set_title("maximum supersaturation", fontsize=9)
    axes[-1].set_xlabel("%", fontsize=8)
    figure.tight_layout()
    _save(figure, folder, "aerosol-data.png")


def draw_pyrcel(recorded: Path, folder: Path) -> None:
    """The parcel model against pyrcel, member by member, at two tolerances."""
    from matplotlib import pyplot as plt
    from parcel.labels import activated_fractions
    from parcel.model import ascents

    peer = json.loads(recorded.read_text())
    members = Members.of(np.array(peer["x"]))
    good = np.array(peer["solved"]) & np.array(peer["maximum"])
    smax, temperature = np.array(peer["smax"]), np.array(peer["temperature"])
    theirs = activated_fractions(smax, temperature, members.radius, members.kappa)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2))
    for rtol, marker in ((1e-4, "o"), (1e-6, ".")):
        ours = ascents(members, peer["bins"], rtol, peer["window"])
        fractions = activated_fractions(ours.supersaturation, ours.temperature, members.radius, members.kappa)
        if rtol == 1e-4:
            axes[0].loglog(100 * smax[good], 100 * ours.supersaturation[good], "o", markersize=3)
            axes[0].loglog([0.01, 15], [0.01, 15], color="0.5", linewidth=0.8)
        relative = np.abs(ours.supersaturation / smax - 1.0)[good]
        axes[1].loglog(100 * smax[good], relative, marker, markersize=3, label=f"our rtol {rtol:g}")
        axes[2].semilogy(np.sort(np.abs(fractions - theirs)[good].max(axis=1)), marker, markersize=3)
    axes[0].set(xlabel="S_max of pyrcel 2.0, %", ylabel="ours, %")
    axes[1].set(xlabel="S_max of pyrcel 2.0, %", ylabel="relative difference")
    axes[1].legend(fontsize=7)
    axes[2].set(xlabel="members, sorted", ylabel="largest difference of fractions", ylim=(1e-10, 1e-2))
    axes[2].axhline(1e-3, color="0.5", linewidth=0.8)
    figure.tight_layout()
    _save(figure, folder, "aerosol-pyrcel.png")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, nargs="?", help="folder of a finished study")
    parser.add_argument("--data", type=Path, help="data set to draw")
    parser.add_argument("--pyrcel", type=Path, help="answers of pyrcel to draw")
    parser.add_argument("--figures", type=Path, help="folder for PNG files")
    options = parser.parse_args()
    if options.study is None and (options.data is None or options.figures is None):
        parser.error("name the folder of a study, or --data and --figures")
    import matplotlib

    matplotlib.use("Agg")
    try:
        if options.study:
            pairs = predictions(options.study)
            print(*table(pairs), sep="\n")
            if options.figures:
                draw_predictions(pairs, options.figures)
        if options.data:
            draw_data(options.data, options.figures)
            if options.pyrcel:
                draw_pyrcel(options.pyrcel, options.figures)
    except (OSError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
