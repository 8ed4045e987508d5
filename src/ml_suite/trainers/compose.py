"""Compose an anemoi-training configuration as ``anemoi-training train`` does, and check it with its schema.

``python -m ml_suite.trainers.compose CONFIG [OVERRIDE ...] [--values JSON] [--candidates JSON]`` runs in the
training environment and prints one JSON object: what a deployment has to know of the configuration, without a
dataset.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATASET = "data"
"""Anemoi's name of the dataset in a training that has one."""

SPLITS = ("training", "validation", "test")

PLACEHOLDERS = {"system.input.dataset": "/dataset.zarr", "system.output.root": "/output"}
"""Keys that a configuration may leave open, because every training sets them; they get these values here."""

OWN = (
    *PLACEHOLDERS,
    "system.hardware.num_nodes",
    "system.hardware.num_gpus_per_node",
    *(f"dataloader.{split}.datasets.{DATASET}.{end}" for split in SPLITS for end in ("start", "end")),
    "training.max_epochs",
    "training.max_steps",
    "training.run_id",
    "diagnostics.log.mlflow.enabled",
    "diagnostics.enable_progress_bar",
)
"""Keys that the trainer sets for every training, beside what a study states."""


def override(key: str, value: Any) -> str:
    r"""Write a key and its value in the grammar of Hydra's command line.

    >>> override("model.num_channels", 16), override("a", [1.5, None]), override("b", {"c": 'x: "y"'})
    ('model.num_channels=16', 'a=[1.5, null]', 'b={c: "x: \\"y\\""}')
    """
    return f"{key}={_grammar(value)}"


def _grammar(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_grammar(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_grammar(item)}" for key, item in value.items()) + "}"
    # a backslash counts only before a quote: https://hydra.cc/docs/advanced/override_grammar/basic
    escaped = re.sub(
        r'(\\*)("|$)', lambda m: f"{m[1]}{m[1]}\\{m[2]}" if m[2] else f"{m[1]}{m[1]}", str(value)
    )
    return f'"{escaped}"'


def compose(config: Path, overrides: list[str]) -> Any:
    """Compose a Hydra configuration; the file's folder goes before the current one and anemoi-training's own.

    Returns
    -------
    omegaconf.DictConfig
        With `PLACEHOLDERS` where the file leaves those keys open, interpolations unresolved.
    """
    import hydra
    from omegaconf import OmegaConf

    with hydra.initialize_config_dir(version_base=None, config_dir=str(config.absolute().parent)):
        composed = hydra.compose(config_name=config.stem, overrides=overrides)
    for key, value in PLACEHOLDERS.items():
        if OmegaConf.is_missing(*_parent(composed, key)):
            OmegaConf.update(composed, key, value)
    return composed


def _parent(composed: Any, key: str) -> tuple[Any, str]:
    from omegaconf import OmegaConf

    above, _, last = key.rpartition(".")
    return OmegaConf.select(composed, above), last


def validate(composed: Any) -> list[dict[str, Any]]:
    """Check with anemoi-training's schema: a list of {loc, type, ctx, input}, empty when it passes."""
    from anemoi.training.schemas.base_schema import BaseSchema
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from pydantic import ValidationError

    resolved = copy.deepcopy(composed)
    try:
        OmegaConf.resolve(resolved)
        BaseSchema(**resolved)
    except OmegaConfBaseException as error:
        return [_plain((), "interpolation", {"error": _first_line(error)}, None)]
    except ValidationError as error:
        return [_plain(e["loc"], e["type"], e.get("ctx", {}), e.get("input")) for e in error.errors()]
    except Exception as error:
        # the schema's own code runs on values that nobody foresaw
        return [_plain((), "schema", {"error": f"{type(error).__name__}: {_first_line(error)}"}, None)]
    return []


def _plain(loc: tuple[Any, ...], kind: str, ctx: dict[str, Any], given: Any) -> dict[str, Any]:
    context = {k: v if isinstance(v, int | float | str) else str(v) for k, v in ctx.items()}
    return {"loc": [str(part) for part in loc], "type": kind, "ctx": context, "input": repr(given)}


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]


def candidate(composed: Any, key: str, value: Any) -> dict[str, Any]:
    """Set one hyperparameter and check: {key, value, errors}; only the errors that this value brings."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    changed = copy.deepcopy(composed)
    try:
        OmegaConf.update(changed, key, value)
    except OmegaConfBaseException as error:
        return {
            "key": key,
            "value": value,
            "errors": [_plain((), "key", {"error": _first_line(error)}, value)],
        }
    errors = validate(changed)
    # a union reports every member that does not match: those that name the value are about it
    own = [e for e in errors if e["input"] == repr(value)]
    return {"key": key, "value": value, "errors": (own or errors)[:3]}


def leaves(node: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Every dotted key of a plain tree with its value, mappings included, lists as a whole."""
    if at:
        yield at, node
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, f"{at}.{key}" if at else str(key))


def describe(composed: Any) -> dict[str, Any]:
    """Facts of a composed configuration, as JSON types."""
    tree = _tree(composed)
    keys = {
        key: {"type": type(value).__name__, "value": None if isinstance(value, dict) else _json(value)}
        for key, value in leaves(tree)
    }
    value = {key: entry["value"] for key, entry in keys.items()}
    return {
        "keys": keys,
        "periods": {split: _period(_at(tree, "dataloader", split)) for split in SPLITS},
        "batch_size": {split: value.get(f"dataloader.batch_size.{split}") for split in SPLITS},
        "learning_rate": value.get("training.optimization.lr", value.get("training.lr.rate")),
        "max_epochs": value.get("training.max_epochs"),
        "multistep_input": value.get("task.multistep_input", value.get("training.multistep_input")),
        "multistep_output": value.get("task.multistep_output", value.get("training.multistep_output")),
        "frequency": value.get("data.frequency"),
        "timestep": value.get("task.timestep", value.get("data.timestep")),
        "gpus_per_model": value.get("system.hardware.num_gpus_per_model"),
    }


def _tree(composed: Any) -> Any:
    from omegaconf import OmegaConf

    copied = copy.deepcopy(composed)
    with contextlib.suppress(Exception):  # an interpolation without a target is among the schema's errors
        OmegaConf.resolve(copied)
    return OmegaConf.to_container(copied, resolve=False)


def _at(tree: Any, *keys: str) -> Any:
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def _period(node: Any) -> dict[str, Any] | None:
    """Start and end of the first dataset below NODE."""
    if isinstance(node, dict):
        if "start" in node and "end" in node:
            return {"start": _json(node["start"]), "end": _json(node["end"])}
        return next((p for p in map(_period, node.values()) if p), None)
    if isinstance(node, list):
        return next((p for p in map(_period, node) if p), None)
    return None


def _json(value: Any) -> Any:
    if isinstance(value, list):
        return [_json(v) for v in value]
    if isinstance(value, dict):
        return {str(k): _json(v) for k, v in value.items()}
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def report(
    config: Path, overrides: list[str], values: dict[str, Any], candidates: list[tuple[str, Any]]
) -> dict[str, Any]:
    """Everything that the command prints.

    Parameters
    ----------
    values
        More overrides, by key; the keys that the configuration does not have come back as `unknown`.
    candidates
        Keys with a value to try, each alone on top of the configuration with its OVERRIDES.
    """
    from importlib.metadata import version

    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    result: dict[str, Any] = {"version": version("anemoi-training"), "unknown": [], "refused": None}
    try:
        try:
            composed = compose(config, [*overrides, *(override(k, v) for k, v in values.items())])
        except (HydraException, OmegaConfBaseException):
            composed = compose(config, overrides)
            known = {key for key, _ in leaves(_tree(composed))}
            result["unknown"] = [key for key in values if key not in known]
            composed = compose(
                config, [*overrides, *(override(k, v) for k, v in values.items() if k in known)]
            )
    except (HydraException, OmegaConfBaseException, OSError, ValueError) as error:
        return {**result, "refused": str(error).strip()}
    except Exception as error:
        # Hydra lets errors of its YAML parser through
        return {**result, "refused": f"{type(error).__name__}: {str(error).strip()}"}
    result |= describe(composed)
    result["own"] = OWN
    result["unsettable"] = [key for key in OWN if key not in result["keys"]]
    errors = validate(composed)
    result["errors"] = errors
    # an unsound configuration would blame every candidate
    values_only = {k for k, fact in result["keys"].items() if fact["type"] != "dict"}
    tried = [(k, v) for k, v in candidates if k in values_only] if not errors else []
    result["candidates"] = [candidate(composed, key, value) for key, value in tried]
    return result


def main(arguments: list[str]) -> int:
    """Print the report; see the module."""
    parser = argparse.ArgumentParser(prog="python -m ml_suite.trainers.compose", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", help="KEY=VALUE in Hydra's grammar")
    parser.add_argument("--values", type=json.loads, default={}, help='{"key": value} of overrides, JSON')
    parser.add_argument(
        "--candidates", type=json.loads, default=[], help='[["key", value], ...] to try, JSON'
    )
    given = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    talk = io.StringIO()
    with contextlib.redirect_stdout(talk):
        result = report(given.config, given.overrides, given.values, given.candidates)
    json.dump(result, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
