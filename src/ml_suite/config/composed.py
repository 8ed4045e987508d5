"""The composed training configuration, from `ml_suite.trainers.compose` in the training environment."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

import ml_suite
from ml_suite import atomic
from ml_suite.errors import ConfigError
from ml_suite.home import cache
from ml_suite.library import install_library

SECONDS = 180
"""Composing takes 3 s; a cold file system takes longer."""


class Fact(BaseModel):
    """Frozen; keys of a later version are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Key(Fact):
    """A key of the configuration."""

    type: str
    """Name of the Python type of its value; ``dict`` is a group of keys."""
    value: Any = None


class SchemaError(Fact):
    """What anemoi-training's schema says against a value."""

    loc: tuple[str, ...]
    type: str
    ctx: dict[str, Any] = {}
    input: str
    """The value, as Python writes it."""


class Candidate(Fact):
    """A hyperparameter that was tried with one value."""

    key: str
    value: Any
    errors: tuple[SchemaError, ...]


class Period(Fact):
    """Dates as the configuration writes them."""

    start: Any = None
    end: Any = None


class Composed(Fact):
    """A composed configuration."""

    version: str
    """Of anemoi-training."""
    refused: str | None = None
    """Why it could not be composed; everything below is then empty."""
    unknown: tuple[str, ...] = ()
    """Overrides whose key it does not have."""
    unsettable: tuple[str, ...] = ()
    """Keys that every training sets and it does not have."""
    own: tuple[str, ...] = ()
    """Keys that every training sets itself."""
    errors: tuple[SchemaError, ...] = ()
    keys: dict[str, Key] = {}
    candidates: tuple[Candidate, ...] = ()
    periods: dict[str, Period | None] = {}
    batch_size: dict[str, int | None] = {}
    learning_rate: Any = None
    max_epochs: int | None = None
    multistep_input: int | None = None
    multistep_output: int | None = None
    frequency: Any = None
    timestep: Any = None
    gpus_per_model: int | None = None


def compose(
    config: Path, environment: Path, values: dict[str, Any], candidates: list[tuple[str, Any]]
) -> Composed:
    """Compose a training configuration and try values of hyperparameters, about 3 s; the same again comes from a file.

    Parameters
    ----------
    config
        Hydra YAML of anemoi-training.
    environment
        Virtual environment with anemoi-training.
    values
        Overrides of every training.
    candidates
        Keys with one value to try, each alone.

    Raises
    ------
    ConfigError
        If the environment cannot compose anything.
    """
    request = json.dumps([values, candidates])
    kept = cache() / "composed" / f"{_fingerprint(config, environment, request)}.json"
    try:
        return Composed.model_validate_json(kept.read_bytes())
    except (OSError, ValidationError):
        pass  # not there yet, or of another version
    text = _run(config, environment, values, candidates)
    try:
        composed = Composed.model_validate_json(text)
    except ValidationError as error:
        raise ConfigError(f"{environment} says nothing of {config} that can be read") from error
    with suppress(OSError):  # only to be faster the next time: full, or shared and read-only
        atomic.write(kept, text)
    return composed


def _run(config: Path, environment: Path, values: dict[str, Any], candidates: list[tuple[str, Any]]) -> str:
    command = [str(environment / "bin" / "python"), "-m", "ml_suite.trainers.compose", str(config)]
    command += ["--values", json.dumps(values), "--candidates", json.dumps(candidates)]
    try:
        with _library() as library:
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": str(library)},
                cwd=config.parent,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                stdin=subprocess.DEVNULL,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"{environment} cannot compose {config}: {error}") from error
    if done.returncode:
        last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
        raise ConfigError(f"{environment} cannot compose {config}: {last}", f"Run: {' '.join(command[:4])}")
    return done.stdout


@contextmanager
def _library() -> Iterator[Path]:
    """Folder with our own code for the training environment: kept in the cache, or gone afterwards."""
    with ExitStack() as stack:
        try:
            library = install_library(cache())
        except OSError:
            library = install_library(
                Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ml-suite-")))
            )
        yield library


def _fingerprint(config: Path, environment: Path, request: str) -> str:
    """Digest of everything that the composition depends on: texts, packages, environment variables, our own code."""
    digest = hashlib.sha256(request.encode())
    texts = [path.read_bytes() for path in sorted(config.parent.rglob("*.yaml"))]
    for text in [str(config).encode(), *texts]:
        digest.update(hashlib.sha256(text).digest())
    packages = [p.name for p in environment.glob("lib/python*/site-packages/*.dist-info")]
    wanted = ("anemoi", "hydra", "omegaconf", "pydantic")
    variables = sorted({name.decode() for text in texts for name in re.findall(rb"oc\.env:\s*(\w+)", text)})
    digest.update(
        json.dumps(
            [
                str(environment.resolve()),
                sorted(name for name in packages if name.startswith(wanted)),
                {name: os.environ.get(name) for name in variables},
            ]
        ).encode()
    )
    code = Path(ml_suite.__file__).parent / "trainers"
    for name in ("compose.py", "anemoi.py"):
        digest.update((code / name).read_bytes())
    return digest.hexdigest()
