"""Freeze a study: its identity, and what may change once trials are finished."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any, TypeVar

from ml_suite.config.deployment import Deployment
from ml_suite.config.hpo import Hpo, Pilot
from ml_suite.errors import StudyError
from ml_suite.quantities import part_of
from ml_suite.study.contract import SearchPlan, StudyPlan

EXTENT = frozenset({"trials", "keep", "shards", "choice"})
"""How far a study goes; trials that are finished stay valid when these change."""

Plan = TypeVar("Plan", bound=SearchPlan)

SINGLE = "single"
"""Sampling of a training without a search."""


def identity(fields: dict[str, Any]) -> str:
    """Study id: first 16 digits of the SHA-256 over everything that decides what a trial does."""
    told = {key: value for key, value in fields.items() if key not in {*EXTENT, "study"}}
    for data in ("dataset", "arrays"):
        if data in told:
            told[data] = _placeless(told[data])
    if "members" in told:
        told["members"] = {name: _placeless(part) for name, part in told["members"].items()}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _placeless(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key != "path"}


def freeze(**fields: Any) -> StudyPlan:
    """Make the plan with its id; the arguments are the fields of `StudyPlan` without `study`."""
    return identified(StudyPlan(study="", **fields))


def identified(draft: Plan) -> Plan:
    """Return the plan with the id that it has by its other fields."""
    return draft.model_copy(update={"study": identity(draft.model_dump(mode="json"))})


def shards(deployment: Deployment, hpo: Hpo) -> int:
    """Jobs of step 1: as stated, else as many as the hosts take at once; never more than trials, or cohorts of them."""
    names = hpo.step1.hosts or list(deployment.hosts)
    wanted = hpo.step1.shards or sum(deployment.hosts[name].limit for name in names)
    rungs = hpo.step1.rungs
    return min(wanted, math.ceil(hpo.step1.trials / rungs.cohort) if rungs else hpo.step1.trials)


def rounds(hpo: Hpo) -> int:
    """Rounds of step 1: one, unless a sampler sees results; whole cohorts are drawn together."""
    if isinstance(hpo.sampling, str):
        return 1
    cohort = hpo.step1.rungs.cohort if hpo.step1.rungs else 1
    number = drawn = 0
    while drawn < hpo.step1.trials:
        size = math.ceil((hpo.step1.trials - drawn) / max(1, hpo.sampling.rounds - number))
        drawn += math.ceil(size / cohort) * cohort
        number += 1
    return number


def candidates(hpo: Hpo) -> int:
    """Trainings of step 2 before its finalists: those that are kept or drawn between them, and the controls."""
    chosen = most_kept(hpo) if hpo.step2.narrow is None else 1 + hpo.step2.narrow
    return chosen + hpo.step2.controls


def most_kept(hpo: Hpo) -> int:
    """Trials that are kept; where a pilot decides how many, those that its budget would pay at the usual cost."""
    if hpo.step2.keep != "auto":
        return hpo.keep_count
    budget = (hpo.pilot or Pilot()).budget
    return max(1, min(hpo.step1.trials, part_of(hpo.step1.trials, budget)))


def changes(old: SearchPlan, new: SearchPlan) -> list[str]:
    """Say what differs, ``KEY: OLD -> NEW``, for a person."""
    before, after = _flat(old.model_dump(mode="json")), _flat(new.model_dump(mode="json"))
    keys = [*before, *(key for key in after if key not in before)]
    return [
        f"{key}: {before.get(key, 'none')} -> {after.get(key, 'none')}"
        for key in keys
        if key != "study" and before.get(key) != after.get(key)
    ]


def require_same(
    old: SearchPlan, new: SearchPlan, finished: int, folder: Path, again: str = "deploy"
) -> None:
    """Refuse another study where trials of the old one are finished.

    Parameters
    ----------
    again
        What the user does after undoing a change.

    Raises
    ------
    StudyError
        With what changed and what to do.
    """
    if not finished:
        return
    if old.study == new.study:
        _require_whole_cohorts(old, new)
        return
    told = changes(old, new)
    shown = "; ".join(told[:5]) + (f"; {len(told) - 5} more" if len(told) > 5 else "")
    raise StudyError(
        f"the study {old.study} has {finished} finished trials and would become another one: {shown}",
        f"Undo the change and {again} again, or start anew: mv {folder} {folder}.{old.study}",
    )


def _require_whole_cohorts(old: SearchPlan, new: SearchPlan) -> None:
    """Refuse other members of a cohort whose cuts are made: run from the start its trials would end otherwise."""
    if old.rungs is None or old.trials == new.trials:
        return
    fewer, size = min(old.trials, new.trials), old.rungs.cohort
    if fewer % size:
        raise StudyError(
            f"trials cannot change from {old.trials} to {new.trials}: the cohort of trials {fewer - fewer % size} to "
            f"{fewer - 1} is cut with other members then, and some of them have finished",
            f"With rungs, trials grow by whole cohorts of {size}: undo the change, or start anew in another folder.",
        )


def _flat(node: Any, at: str = "") -> dict[str, Any]:
    if isinstance(node, dict) and node:
        return {
            k: v for key, value in node.items() for k, v in _flat(value, f"{at}.{key}".lstrip(".")).items()
        }
    return {at: node}
