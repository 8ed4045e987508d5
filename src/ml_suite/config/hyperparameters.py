"""Compare the search space and the overrides with the composed training configuration."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ml_suite.config import wording
from ml_suite.config.composed import Composed, SchemaError
from ml_suite.config.deployment import Deployment
from ml_suite.config.findings import Finding, Severity
from ml_suite.config.hpo import Dimension
from ml_suite.config.source import Keys, Source

BATCH = "dataloader.batch_size.training"
LEARNING_RATES = ("training.optimization.lr", "training.lr.rate")

_INSTEAD = {
    "training.max_epochs": "write training.epochs, or hpo.step1.epochs",
    "training.max_steps": "it follows from the epochs and the samples: write training.epochs",
    "system.hardware.num_gpus_per_node": "write training.resources",
    "system.hardware.num_nodes": "write training.resources",
}

_LONGEST = 64
"""Values in a list that is tried; longer ones are no different to a schema."""


def candidates(deployment: Deployment) -> list[tuple[str, Any]]:
    """Values to try: every choice, both ends of a range, and a point between them when it is continuous.

    Where a hyperparameter has several values, lists of each of these, as short and as long as they can be.
    """
    if deployment.hpo is None:
        return []
    space = deployment.hpo.space
    return [(key, value) for key, dim in space.items() for _, value in _trial_values(dim, space)]


def _trial_values(dimension: Dimension, space: Mapping[str, Dimension]) -> Iterator[tuple[Keys, Any]]:
    """Values with their place below the dimension."""
    count = space[dimension.per].int if dimension.per is not None and dimension.per in space else None
    if count is None:
        yield from _single_values(dimension)
        return
    for below, value in _single_values(dimension):
        for number in dict.fromkeys(count):
            yield below, [value] * min(number, _LONGEST)


def _single_values(dimension: Dimension) -> Iterator[tuple[Keys, Any]]:
    if dimension.choice is not None:
        yield from ((("choice", i), value) for i, value in enumerate(dimension.choice))
        return
    kind = dimension.kind
    low, high = getattr(dimension, kind)
    yield (kind, 0), low
    yield (kind, 1), high
    if kind != "int" and low < high:
        # some number that is neither round nor whole, for keys that are
        yield (kind,), math.sqrt(low * high) if kind == "log" else low + (high - low) * 0.3819
    return


def check(deployment: Deployment, source: Source, composed: Composed) -> Iterator[Finding]:
    """Everything that the composed configuration says against the deployment; SOURCE is its file."""
    where: Keys = ("training", "config")
    name = deployment.training.config or ""
    if composed.refused:
        first, *rest = composed.refused.splitlines()
        hint = " ".join(" ".join(rest).split())[:400] or None
        yield source.finding(Severity.ERROR, where, f"anemoi-training {composed.version}: {first}", hint)
        return
    yield from _keys(deployment, source, composed)
    for key in composed.unsettable:
        message = f"{name} has no {key}, which every training sets"
        yield source.finding(
            Severity.ERROR, where, message, "the one dataset of the configuration is named `data`"
        )
    for error in composed.errors[:5]:
        message = f"{name} does not fit the schema of anemoi-training {composed.version}: {_told(error)}"
        yield source.finding(Severity.ERROR, where, message)
    if composed.max_epochs is None and deployment.training.epochs is None:
        message, hint = f"{name} does not say how many epochs a training has", "write training.epochs"
        yield source.finding(Severity.ERROR, where, message, hint)
    if deployment.hpo is not None:
        yield from _ranges(deployment, source, composed)
    yield from _layouts(deployment, source, composed)


def _keys(deployment: Deployment, source: Source, composed: Composed) -> Iterator[Finding]:
    """Keys that do not exist, are a group, or are set by every training itself."""
    version = f"{deployment.training.config} (anemoi-training {composed.version})"
    space = deployment.hpo.space if deployment.hpo else {}
    places: list[Keys] = [("hpo", "space", key) for key in space]
    places += [("training", "overrides", key) for key in deployment.training.overrides]
    for path in places:
        key = str(path[-1])
        if key in composed.own:
            message = f"ml-suite sets {key} for each training"
            yield source.finding(Severity.ERROR, path, message, _INSTEAD.get(key, "leave it out"), key=True)
        elif key in composed.unknown or (key in space and key not in composed.keys):
            message = f"{key} is not a key of {version}"
            yield source.finding(Severity.ERROR, path, message, _did_you_mean(key, composed), key=True)
        elif key in space and composed.keys[key].type == "dict":
            inner = [
                k for k in composed.keys if k.startswith(f"{key}.") and k.count(".") == key.count(".") + 1
            ]
            message = f"{key} is a group of keys, not a value"
            yield source.finding(Severity.ERROR, path, message, f"it has {', '.join(inner[:6])}", key=True)


def _did_you_mean(key: str, composed: Composed) -> str | None:
    """Key that was probably meant: same last word somewhere else, or nearly the same letters."""
    values = [k for k, fact in composed.keys.items() if fact.type != "dict"]
    last = key.rpartition(".")[2]
    same = [k for k in values if k.rpartition(".")[2] == last]
    near = difflib.get_close_matches(key, same or values, 1, cutoff=0.3 if same else 0.6)
    if near and near[0] in _INSTEAD:
        return _INSTEAD[near[0]]
    return f"did you mean '{near[0]}'?" if near else None


def _ranges(deployment: Deployment, source: Source, composed: Composed) -> Iterator[Finding]:
    """Values of the space that the schema refuses."""
    assert deployment.hpo is not None
    places: dict[tuple[str, str], Keys] = {}
    for key, dimension in deployment.hpo.space.items():
        for below, value in _trial_values(dimension, deployment.hpo.space):
            places.setdefault((key, repr(value)), ("hpo", "space", key, *below))
    told = set()
    for candidate in composed.candidates:
        where = places.get((candidate.key, repr(candidate.value)))
        if not candidate.errors or where is None or where[:4] in told:
            continue
        reason = _told(candidate.errors[0], candidate.key)
        message = f"{candidate.key} cannot be {candidate.value!r}: {reason}"
        hint = "use `int: [low, high]` for whole numbers" if len(where) == 4 else None
        told.add(where[:4] if len(where) == 4 else where)
        given = deployment.hpo.space[candidate.key]
        severity = Severity.ERROR
        if given.when:
            # tried without what it depends on, beside which it may well be right
            severity, conditions = Severity.WARNING, ", ".join(given.when)
            hint = f"this was tried alone; it may be right where {conditions} have the values that it needs"
        elif given.per is not None and hint is None:
            hint = f"each trial gives a list here; leave out `per: {given.per}` for one value"
        yield source.finding(severity, where, message, hint)


def _told(error: SchemaError, key: str = "") -> str:
    """A schema's complaint in our words; it names the place when that is not KEY."""
    own = {"interpolation", "schema", "key"}
    if error.type in own:
        return str(error.ctx.get("error", error.type))
    where = ".".join(part for part in error.loc if "." not in part and not part[:1].isupper())
    if error.type == "missing":
        return f"{where} is required"
    if error.type == "extra_forbidden":
        return f"{where} is not known"
    plain = wording.worded(error.type, error.ctx)
    return f"{plain} ({where})" if where not in ("", key) else plain


def _layouts(deployment: Deployment, source: Source, composed: Composed) -> Iterator[Finding]:
    """Step 2 can keep the global batch and learning rate that step 1 searched."""
    training, hpo = deployment.training, deployment.hpo
    jobs: list[tuple[Keys, int]] = [(("training", "resources", "gpus"), training.resources.gpus)]
    if hpo is not None:
        steps = (("step1", hpo.step1.resources), ("step2", hpo.step2.resources))
        jobs += [(("hpo", name, "resources", "gpus"), r.gpus) for name, r in steps if r is not None]
    for path, gpus in jobs:
        if composed.gpus_per_model and gpus % composed.gpus_per_model:
            message = f"{gpus} GPUs do not divide into models of {composed.gpus_per_model} GPUs"
            yield source.finding(Severity.ERROR, path, message, "see system.hardware.num_gpus_per_model")
    if hpo is None:
        return
    first = (hpo.step1.resources or training.resources).replicas
    second = (hpo.step2.resources or training.resources).replicas
    if first == second:
        return
    where: Keys = ("hpo", "step2", "resources") if hpo.step2.resources else ("training", "resources")
    for batch in _batches(hpo.space.get(BATCH), composed):
        if batch * first % second:
            message = (
                f"step 1 searches a batch of {batch * first} samples ({batch} on each of {first} replicas), "
                f"which {second} replicas cannot share"
            )
            hint = (
                "choose numbers of GPUs and a batch size that divide, or step 2 trains another configuration"
            )
            yield source.finding(Severity.ERROR, (*where, "gpus"), message, hint)
            return
    message = (
        f"step 1 trains on {first} replicas and step 2 on {second}: "
        "batch size and learning rate are divided by the ratio, so that both are the same configuration"
    )
    yield source.finding(Severity.NOTE, (*where, "gpus"), message)


def _batches(dimension: Dimension | None, composed: Composed) -> list[int]:
    if dimension is None or dimension.per is not None:
        size = composed.batch_size.get("training")
        return [size] if size else []
    if dimension.choice is not None:
        return [value for value in dimension.choice if isinstance(value, int)]
    return list(range(dimension.int[0], dimension.int[1] + 1)) if dimension.int else []
