"""The certificate in words that a scientist can act on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Context

from ml_suite.quantities import format_fraction
from ml_suite.study import chooser, copula, evidence, regret
from ml_suite.study.evidence import Basis, Sized
from ml_suite.study.judgement import Realised, Unjudged
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
    judged: Realised | Unjudged | None
    """What step 2 says of the winner; None before there is one."""


def sentence(told: Told, sizes: Sequence[Sized], known: Sequence[Evidence]) -> str:
    """Say whether the subset is enough, what would be, and what step 2 has shown."""
    said = _predicted(told, sizes, known)
    if told.judged is None:
        return said
    every = f"the best of all {told.search.trials:,}"
    if isinstance(told.judged, Unjudged):
        return (
            f"{said} After step 2: trial {told.judged.winner} won; how near it is to {every} is not judged: "
            f"{told.judged.reason}."
        )
    return (
        f"{said} After step 2: trial {told.judged.winner} is within {_bound(told.judged.high, told)} of {every} with "
        f"{percent(told.confidence)} confidence."
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
    if told.high is not None and isinstance(told.judged, Realised) and told.judged.median > told.high:
        after, before = _apart(told.judged.median, told.high, told)
        listed.append(
            f"the winner's regret after step 2 ({after}) is above the predicted interval ({before}): the pilot was too "
            "optimistic"
        )
    return listed


def _predicted(told: Told, sizes: Sequence[Sized], known: Sequence[Evidence]) -> str:
    share, sure = percent(told.subset), percent(told.confidence)
    if told.high is None:
        return _missing(evidence.at(sizes, told.subset), share)
    keeping = f"keeping {told.search.kept:,} of {told.search.trials:,}"
    if told.high <= told.accepted:
        said = f"{share} is enough: {keeping} loses at most {_bound(told.high, told)} with {sure} confidence"
    else:
        said = (
            f"{share} is too small: {keeping} may lose up to {_bound(told.high, told)} ({sure} confidence), more than "
            f"the {_stated(told.accepted, told)} that is accepted; {_advice(told, known)}"
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


def upward(share: float, digits: int = 0) -> str:
    """Write a share for a person, rounded up.

    >>> upward(0.0412), upward(0.07), upward(0.412), upward(0.0412, digits=1)
    ('4.2 %', '7 %', '42 %', '4.12 %')
    """
    places = (1 if 100 * share < 20 else 0) + digits
    # 0.07 is 7.000000000000001 %
    up = math.ceil(round(100 * share * 10**places, 6)) / 10**places
    text = f"{up:,.{places}f}"
    return f"{text.rstrip('0').rstrip('.') if places else text} %"


def _bound(amount: float, told: Told, digits: int = 0) -> str:
    """Write the end of an interval: rounded up, for what is promised must hold, and what is too much must look so."""
    if not told.scale.relative:
        up = float(Context(3 + digits, ROUND_CEILING).create_decimal(repr(amount)))
        return f"{up:.{3 + digits}g} of {told.metric}"
    return upward(max(0.001, amount), digits)


def _apart(larger: float, smaller: float, told: Told) -> tuple[str, str]:
    """Write two amounts with as many digits as tell them apart."""
    for digits in range(9):
        texts = _bound(larger, told, digits), _bound(smaller, told, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _stated(amount: float, told: Told) -> str:
    """Write what the study file says, as it says it."""
    return f"{100 * amount:.6g} %" if told.scale.relative else f"{amount:.6g} of {told.metric}"
