"""The certificate in words that a scientist can act on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ml_suite.quantities import format_fraction
from ml_suite.study import chooser, copula, evidence, regret
from ml_suite.study.evidence import Basis, Sized
from ml_suite.study.judgement import Realised
from ml_suite.study.losses import Scale
from ml_suite.study.regret import Evidence, Search


@dataclass(frozen=True)
class Told:
    """What is known of a search."""

    subset: float
    search: Search
    scale: Scale
    metric: str
    accepted: float
    confidence: float
    basis: Basis
    high: float | None
    """End of the predicted interval of the regret; None: nothing is predicted."""
    realised: Realised | None


def sentence(told: Told, sizes: Sequence[Sized], known: Sequence[Evidence]) -> str:
    """Say whether the subset is enough, what would be, and what step 2 has shown."""
    said = _predicted(told, sizes, known)
    if told.realised is None:
        return said
    return (
        f"{said} After step 2: trial {told.realised.winner} is within {_amount(told.realised.high, told)} of the best "
        f"of all {told.search.trials:,} with {percent(told.confidence)} confidence."
    )


def warnings(told: Told, sizes: Sequence[Sized]) -> list[str]:
    """What a person should know before believing the sentence."""
    listed = []
    size = evidence.at(sizes, told.subset)
    replicate = evidence.replicate(size, told.confidence)
    full = evidence.between(size, evidence.at(sizes, 1.0), told.confidence) if told.subset < 1 else None
    if replicate and full and full.tau < replicate.low:
        listed.append(
            f"the subset agrees with itself (tau {replicate.tau:.2f}) but less with everything (tau {full.tau:.2f}): "
            "it prefers other configurations than all of the data do"
        )
    if told.basis == "extrapolated":
        listed.append(
            "no training on everything: what small sizes say of it is extrapolated, and may be wrong"
        )
    if told.high is not None and told.realised and told.realised.median > told.high:
        listed.append(
            f"the winner's regret after step 2 ({_amount(told.realised.median, told)}) is above the predicted "
            f"interval ({_amount(told.high, told)}): the pilot was too optimistic"
        )
    return listed


def _predicted(told: Told, sizes: Sequence[Sized], known: Sequence[Evidence]) -> str:
    share, sure = percent(told.subset), percent(told.confidence)
    if told.high is None:
        return _missing(evidence.at(sizes, told.subset), share)
    keeping = f"keeping {told.search.kept:,} of {told.search.trials:,}"
    if told.high <= told.accepted:
        said = f"{share} is enough: {keeping} loses at most {_amount(told.high, told)} with {sure} confidence"
    else:
        said = (
            f"{share} is too small: {keeping} may lose up to {_amount(told.high, told)} ({sure} confidence), more than "
            f"the {_amount(told.accepted, told)} that is accepted; {_advice(told, known)}"
        )
    return said + ("; no training on everything backs this yet." if told.basis == "extrapolated" else ".")


def _advice(told: Told, known: Sequence[Evidence]) -> str:
    """What would be enough: more candidates, or a larger subset."""
    larger = f"use {percent(min(1.0, 2 * told.subset))}"
    for factor in (2, 4):
        kept = min(told.search.trials, factor * told.search.kept)
        found = regret.predict(known, replace(told.search, kept=kept))
        if chooser.high(found, told.scale, told.confidence) <= told.accepted:
            return f"keep {kept:,}, or {larger}"
    return larger


def _missing(size: Sized | None, share: str) -> str:
    if size is None:
        return f"There is not enough to judge by: no pilot was trained at {share}."
    if size.points < copula.MINIMUM:
        return (
            f"There is not enough to judge by: {size.points} configurations of the pilot have a value at {share}, "
            f"{copula.MINIMUM} are needed."
        )
    return f"There is not enough to judge by: the pilot compares {share} with no larger size."


def percent(share: float) -> str:
    """Write a share for a person.

    >>> percent(0.05)
    '5 %'
    """
    return format_fraction(float(f"{share:.3g}")).replace("%", " %")


def _amount(amount: float, told: Told) -> str:
    if not told.scale.relative:
        return f"{amount:.3g} of {told.metric}"
    if 100 * amount < 0.1:
        return "0.1 %"
    return f"{100 * amount:.1f} %" if 100 * amount < 2 else f"{100 * amount:.0f} %"
