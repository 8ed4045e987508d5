"""What several keys of a deployment say together.

The rules read plain data that may be wrong in any way, so that their errors come with all others in one
report; a rule whose keys are wrong themselves says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from ml_suite import quantities
from ml_suite.config import search_rules
from ml_suite.config.deployment import Software, Training
from ml_suite.config.findings import Problem
from ml_suite.config.values import node_name
from ml_suite.config.wording import nearest

Data = dict[str, Any]

FEWEST = 8
"""Configurations that a pilot can judge by."""

WATCH = "ml_suite"
"""Node of the suite of `ml_suite.watch`."""


def problems(data: Data) -> Iterator[Problem]:
    """Every rule that a deployment breaks."""
    for rule in (
        _suite,
        _hosts,
        _software,
        _trainer,
        _keep,
        _shards,
        _walltimes,
        _periods,
        _twice,
        _piloted,
        _apart,
        _measured,
    ):
        yield from rule(data)
    yield from search_rules.problems(data)


def _get(data: Any, *path: str) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _share(value: Any) -> float | None:
    try:
        return quantities.fraction(value)
    except ValueError:
        return None


def _duration(value: Any) -> timedelta | None:
    try:
        return quantities.duration(value)
    except ValueError:
        return None


def _suite(data: Data) -> Iterator[Problem]:
    """The suite that watches over the machines keeps its name."""
    name = data.get("suite")
    if isinstance(name, str) and node_name(name) == WATCH:
        yield Problem(
            ("suite",), f"/{WATCH} is the suite that watches over the machines", "choose another name"
        )


def _hosts(data: Data) -> Iterator[Problem]:
    """Every host that is used is listed under ``hosts``, and none twice."""
    hosts = data.get("hosts")
    if not isinstance(hosts, dict) or not hosts:
        return
    named: list[tuple[tuple[str | int, ...], Any]] = [(("dataset", "host"), _get(data, "dataset", "host"))]
    for step in ("step1", "step2"):
        path = ("hpo", step, "hosts")
        names = _get(data, *path)
        if not isinstance(names, list):
            continue
        if not names:
            yield Problem(path, "nothing is listed here", "leave the key out to use all hosts")
        named += [((*path, i), name) for i, name in enumerate(names)]
        for i, name in enumerate(names):
            if name in names[:i]:
                yield Problem((*path, i), f"'{name}' is listed twice")
    for where, name in named:
        if isinstance(name, str) and name not in hosts:
            yield Problem(
                where, f"'{name}' is not under hosts", f"this deployment has {', '.join(map(str, hosts))}"
            )


def _software(data: Data) -> Iterator[Problem]:
    """Software comes from wheels or an image, each with its own keys, and replaces an environment that is there."""
    kinds = {"wheelhouse": ("python", "interpreter"), "image": ("options", "runtime")}
    hosts = data.get("hosts")
    for name, use in hosts.items() if isinstance(hosts, dict) else ():
        software, where = _get(use, "software"), ("hosts", name, "software")
        if not isinstance(software, dict):
            continue
        named = [kind for kind in kinds if kind in software]
        if not named and any(key not in Software.model_fields for key in software):
            continue
        if len(named) != 1:
            message = "this needs 'wheelhouse' or 'image'" if not named else "only one of the two can be"
            hint = "write {wheelhouse: requirements.txt} or {image: anemoi.sif}"
            yield Problem((*where, named[1]) if named else where, message, hint, on_key=True)
            continue
        (kind,) = named
        for key in (key for other, keys in kinds.items() if other != kind for key in keys if key in software):
            yield Problem((*where, key), f"{kind} does not use '{key}'", on_key=True)
        if "environment" in use:
            message = f"the environment is made from {kind}, so none can be named"
            yield Problem(("hosts", name, "environment"), message, "keep one of the two", on_key=True)
        python = str(software.get("python", "3.11")).partition("3.")[2]
        if python.isdigit() and int(python) < 11:
            yield Problem((*where, "python"), "jobs need Python 3.11 or newer")


def _trainer(data: Data) -> Iterator[Problem]:
    """Each trainer gets what it needs and nothing that it ignores."""
    training = data.get("training")
    if not isinstance(training, dict):
        return
    trainer = training.get("trainer", "anemoi")
    needs = {"anemoi": "config", "command": "command"}
    if trainer not in needs:
        return
    key = needs[trainer]
    other = next(k for k in needs.values() if k != key)
    if key not in training and not _probably(training, key):
        hint = {
            "config": "name a Hydra YAML of anemoi-training, or write `trainer: command`",
            "command": "write the program as a list; it gets the path of trial.json as its last argument",
        }[key]
        yield Problem(("training", key), f"trainer {trainer} needs '{key}'", hint, on_key=True)
    if other in training:
        owner = next(t for t, k in needs.items() if k == other)
        yield Problem(
            ("training", other),
            f"trainer {trainer} does not use '{other}'",
            f"write `trainer: {owner}`",
            on_key=True,
        )
    if training.get("command") == []:
        yield Problem(("training", "command"), "nothing is listed here")
    if trainer == "command" and "periods" not in training:
        message = "trainer command needs 'periods': training, validation and test dates"
        yield Problem(("training", "periods"), message, on_key=True)
    space, overrides = _get(data, "hpo", "space"), training.get("overrides")
    if isinstance(space, dict) and isinstance(overrides, dict):
        for name in space.keys() & overrides.keys():
            yield Problem(
                ("training", "overrides", name),
                f"'{name}' is fixed here and searched in hpo.space",
                "keep one of the two",
                on_key=True,
            )


def _probably(training: Data, key: str) -> bool:
    """Tell whether an unknown key is a misspelling of KEY, which is then told already."""
    known = list(Training.model_fields)
    return any(k not in known and nearest(str(k), known) == key for k in training)


def _keep(data: Data) -> Iterator[Problem]:
    """Step 2 keeps at least one trial."""
    trials, keep = _whole(_get(data, "hpo", "step1", "trials")), _share(_get(data, "hpo", "step2", "keep"))
    if trials and keep and round(trials * keep) == 0:
        share = quantities.format_fraction(keep)
        enough = next(p for p in range(1, 101) if round(trials * p / 100) >= 1)
        yield Problem(
            ("hpo", "step2", "keep"),
            f"{share} of {trials} trials is less than one: step 2 would have nothing to train",
            f"write at least {enough}%, or more trials ({math.floor(0.5 / keep) + 1})",
        )


def _piloted(data: Data) -> Iterator[Problem]:
    """A pilot has enough configurations to judge by."""
    hpo, trials = _get(data, "hpo"), _whole(_get(data, "hpo", "step1", "trials"))
    auto = "auto" in (_get(data, "hpo", "step1", "subset"), _get(data, "hpo", "step2", "keep"))
    if trials and trials < FEWEST and (auto or _get(hpo, "pilot") is not None):
        yield Problem(
            ("hpo", "step1", "trials"),
            f"a pilot cannot judge {trials} trials",
            f"write at least {FEWEST}, or leave out the pilot and state subset and keep",
        )


def _apart(data: Data) -> Iterator[Problem]:
    """A suite trains each candidate in a task of its own, so nothing is cut among them."""
    if _get(data, "hpo", "step2", "rungs") is not None:
        yield Problem(
            ("hpo", "step2", "rungs"),
            "a deployment trains each candidate in a task of its own, and cuts none of them",
            "leave it out; candidates are cut in studies of one machine: ml-suite study run",
            on_key=True,
        )


def _measured(data: Data) -> Iterator[Problem]:
    """Nothing is asked of a trainer that it cannot tell."""
    trainer = _get(data, "training", "trainer") or "anemoi"
    step2 = _get(data, "hpo", "step2")
    compares = _get(step2, "by") == "pareto" or _get(step2, "select") not in (None, "best")
    if trainer == "anemoi" and compares and _get(step2, "against") == "inference":
        message = "trainer anemoi does not measure the time of a forward pass"
        yield Problem(("hpo", "step2", "against"), message, "write `against: parameters`")
    for step in ("step1", "step2"):
        patience = _get(data, "hpo", step, "patience")
        if trainer == "command" and isinstance(patience, str) and "epoch" in patience:
            message = "only the program knows how many optimiser steps its epochs have"
            yield Problem(("hpo", step, "patience"), message, "write optimiser steps, such as `200 steps`")


def _shards(data: Data) -> Iterator[Problem]:
    """No job without a trial."""
    trials, shards = (
        _whole(_get(data, "hpo", "step1", "trials")),
        _whole(_get(data, "hpo", "step1", "shards")),
    )
    if trials and shards and shards > trials:
        yield Problem(
            ("hpo", "step1", "shards"),
            f"{shards} jobs cannot share {trials} trials",
            f"write at most {trials}",
        )


def _walltimes(data: Data) -> Iterator[Problem]:
    """No time is zero, and a trial fits its job."""
    lists = (("training",), ("hpo", "step1"), ("hpo", "step2"))
    paths = [(*path, "resources", "walltime") for path in lists]
    for path in (
        *paths,
        ("hpo", "step1", "trial_walltime"),
        ("hpo", "step1", "block"),
        ("evaluation", "lead_time"),
    ):
        if _duration(_get(data, *path)) == timedelta(0):
            yield Problem(path, "this must be longer than zero")
    job = _duration(_get(data, *paths[1])) or _duration(_get(data, *paths[0]))
    trial = _duration(_get(data, "hpo", "step1", "trial_walltime"))
    if job and trial and trial > job:
        spans = (
            f"a trial of {quantities.format_duration(trial)} in a job of {quantities.format_duration(job)}"
        )
        yield Problem(("hpo", "step1", "trial_walltime"), f"a trial must end before its job: {spans}")


def _periods(data: Data) -> Iterator[Problem]:
    """Periods run forwards and do not share dates."""
    spans: dict[str, tuple[datetime, datetime]] = {}
    for name in ("training", "validation", "test"):
        path = ("training", "periods", name)
        try:
            start, end = (datetime.fromisoformat(_get(data, *path, key)) for key in ("start", "end"))
            reversed_ = end < start
        except (TypeError, ValueError):
            continue
        if reversed_:
            yield Problem((*path, "end"), f"the {name} period ends before it starts")
            continue
        for other, (first, last) in spans.items():
            if (start.tzinfo is None) == (first.tzinfo is None) and start <= last and first <= end:
                yield Problem(
                    (*path, "start"),
                    f"the {name} period shares dates with the {other} period",
                    "scores on data that was trained on mean nothing",
                )
        spans[name] = (start, end)


def _twice(data: Data) -> Iterator[Problem]:
    """No value is listed twice in a choice."""
    space = _get(data, "hpo", "space")
    for name, dimension in space.items() if isinstance(space, dict) else ():
        values = _get(dimension, "choice")
        for i, value in enumerate(values if isinstance(values, list) else ()):
            if any(value == v and type(value) is type(v) for v in values[:i]):
                yield Problem(("hpo", "space", name, "choice", i), f"{value!r} is listed twice")
