"""What this machine trains with: its environment, cores and GPUs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import ml_suite
from ml_suite.errors import StudyError
from ml_suite.home import cache

PER_GPU = 4
"""Workers that share a GPU: small networks leave most of it idle."""

_PACKAGES = ("numpy", "scikit-learn", "torch")
_ASK = (
    "import importlib.metadata as m, json, sys\n"
    "print(json.dumps({d.metadata['Name']: d.version for n in sys.argv[1:] for d in m.distributions(name=n)}))"
)


def usual() -> Path:
    """Environment of trainings that name none."""
    return Path(os.environ.get("ML_SUITE_ENVIRONMENT") or cache() / "anemoi")


def python_of(environment: Path) -> Path:
    """Python of an environment.

    Raises
    ------
    StudyError
        If there is none.
    """
    python = environment / "bin" / "python"
    if not python.exists():
        raise StudyError(
            f"there is no training environment in {environment}",
            "Run: python3.11 -m venv "
            f"{environment} && {python} -m pip install 'ml-suite[mlp]', or name another one: training.environment.",
        )
    return python


def software(environment: Path) -> dict[str, str]:
    """Versions of the packages that train.

    Raises
    ------
    StudyError
        If the environment does not answer.
    """
    argv = [str(python_of(environment)), "-c", _ASK, *_PACKAGES]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
        found: dict[str, str] = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise StudyError(f"{argv[0]} does not answer: {error}", "Is the environment damaged?") from error
    return dict(sorted(found.items()))


_TRAINING = ("data", "device", "loop", "network", "precision", "settings")
"""Modules of trainer mlp that decide what a training gives."""


def trainer_version() -> str:
    """Digest of the code of trainer mlp: other arithmetic is another study."""
    folder = Path(ml_suite.__file__).parent / "trainers" / "mlp"
    digest = hashlib.sha256()
    for name in _TRAINING:
        digest.update((folder / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]


def gpus() -> list[str]:
    """GPUs that trainings may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [one for one in given.split(",") if one and one != "-1"]
    return [str(i) for i in range(len(list(Path("/proc/driver/nvidia/gpus").glob("*"))))]


def workers() -> int:
    """Trainings at once where nothing is stated: one per core, or some per GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, PER_GPU * len(gpus())) if gpus() else cores


def variables(slot: int) -> dict[str, str]:
    """Environment variables of a worker: our package, one thread, one of the GPUs."""
    alone = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    shared = {**os.environ, **alone, "PYTHONPATH": str(Path(ml_suite.__file__).parents[1])}
    if devices := gpus():
        shared["CUDA_VISIBLE_DEVICES"] = devices[slot % len(devices)]
    return shared
