"""What a study must know of a composed anemoi-training configuration."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import ml_suite
from ml_suite.errors import StudyError
from ml_suite.quantities import duration
from ml_suite.study.contract import Span
from ml_suite.study.periods import Window
from ml_suite.trainers import anemoi
from ml_suite.trainers.compose import DATASET

_SECONDS = 300


@dataclass(frozen=True)
class Settings:
    """Settings of the configuration before any hyperparameter."""

    stated: dict[str, Any]
    """Learning rate, batch size and what else decides the length of a training, by key."""
    epochs: int | None
    periods: dict[str, Span]
    frequency: timedelta
    """Between the dates that a training reads."""
    window: Window
    divisible: bool = True
    """Blocks of the dataset can be read in its place."""


def read(config: Path, overrides: dict[str, Any], environment: Path) -> Settings:
    """Compose the configuration in the training environment.

    Raises
    ------
    StudyError
        If it cannot be composed, a key does not exist, or the schema refuses it.
    """
    composed = _compose(config, overrides, environment)
    value = {key: entry["value"] for key, entry in composed["keys"].items()}
    if f"dataloader.training.datasets.{DATASET}" not in value:
        raise StudyError(
            f"{config} reads no dataset named {DATASET!r}", "A study has one dataset of that name."
        )
    return Settings(
        stated={key: value.get(key) for key in anemoi.STATED},
        epochs=composed["max_epochs"],
        periods={name: Span.model_validate(p) for name, p in composed["periods"].items() if p},
        frequency=duration(str(composed["frequency"]).lower()),
        window=_window(config, composed, int(value.get("task.rollout.start") or 1)),
        divisible=value.get(anemoi.SOURCE) == value.get("system.input.dataset"),
    )


def _window(config: Path, composed: dict[str, Any], rollout: int) -> Window:
    inputs, outputs, timestep = (composed[k] for k in ("multistep_input", "multistep_output", "timestep"))
    if not (inputs and outputs and timestep):
        raise StudyError(
            f"{config} does not say how many dates a sample needs",
            "Set multistep_input, multistep_output and timestep of the task.",
        )
    step = duration(str(timestep).lower())
    return Window(tuple(i * step for i in range(1 - int(inputs), int(outputs) * rollout + 1)))


def _compose(config: Path, overrides: dict[str, Any], environment: Path) -> dict[str, Any]:
    python = environment / "bin" / "python"
    here = str(Path(ml_suite.__file__).parents[1])
    argv = [str(python), "-m", "ml_suite.trainers.compose", str(config), "--values", json.dumps(overrides)]
    try:
        done = subprocess.run(
            argv,
            env={**os.environ, "PYTHONPATH": here},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
        )
        composed: dict[str, Any] = json.loads(done.stdout)
    except OSError as error:
        raise StudyError(f"there is no training environment in {environment}", "Install it.") from error
    except (subprocess.SubprocessError, ValueError) as error:
        words = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise StudyError(f"{config} cannot be composed: {words[-1] if words else error}") from error
    _refuse(config, composed)
    return composed


def _refuse(config: Path, composed: dict[str, Any]) -> None:
    if composed["refused"]:
        raise StudyError(f"{config} cannot be composed: {composed['refused']}")
    if composed["unknown"]:
        names = ", ".join(composed["unknown"])
        raise StudyError(f"{config} has no key {names}", "Change training.overrides in the deployment.")
    if composed["errors"]:
        first = composed["errors"][0]
        where = ".".join(first["loc"])
        raise StudyError(f"anemoi-training refuses {config}: {where}: {first['type']} {first['ctx'] or ''}")
