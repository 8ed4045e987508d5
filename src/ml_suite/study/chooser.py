"""How a pilot goes on, and which subset and how many candidates it leads to: `subset: auto` and `keep: auto`.

The pilot trains the same configurations twice at a small share of the data and at twice that share, and some of them,
the anchors, on everything. From that follows the regret to expect for each share and number of candidates, and their
cost. The share grows by two until a search within the budget is good enough, or until a larger share would not rank
trials better than the noise of training lets it, or until the budget is spent.

Choosing the size of the data by what it tells about larger sizes goes back to FABOLAS (Klein et al. 2017), which models
loss and cost over subset size, and to the extrapolation of learning curves (Domhan et al. 2015); giving more to fewer
is successive halving and Hyperband (Jamieson and Talwalkar 2016; Li et al. 2018), asynchronously ASHA (Li et al. 2020).
Here the question is only how far the ranking can be trusted. Subsets are random: coresets (Mirzasoleiman et al. 2020,
CRAIG; Killamsetty et al. 2021, GLISTER) choose samples by their gradients, and do not keep the data's distribution.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml_suite.study import copula, cost, evidence, regret
from ml_suite.study.contract import Cuts
from ml_suite.study.evidence import Basis, Sized
from ml_suite.study.losses import Scale
from ml_suite.study.regret import Search, Simulated
from ml_suite.study.speed import Rate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR = 0.05
"""Difference of tau by which a ranking counts as good as the noise of training lets it be."""

SHARES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.4)
"""Shares that a pilot begins with."""

ANCHORS = 12
"""Most configurations of a pilot that are trained on everything."""

PART = 0.45
"""Most of the budget that the pilot may spend; the search needs the rest."""

SAFE = 0.87
"""Part of the budget that is planned with: how long trainings take is only known on the average."""

FEW = 4
"""Candidates for which there must be room before the pilot spends more."""


@dataclass(frozen=True)
class Aim:
    """What the search is to reach, and what it may cost."""

    trials: int
    configurations: int
    """Of the pilot."""
    budget: float
    """Most that pilot and search may cost, as a part of the one step."""
    regret: float
    """That is accepted: 0.1 is 10 % worse than the best."""
    confidence: float
    first: float
    """Smallest share of the pilot."""
    subset: float | None = None
    """Stated share; None: it is chosen."""
    kept: int | None = None
    """Stated number of candidates; None: it is chosen."""
    extra: int = 0
    """Further trainings on everything in step 2: controls and other seeds of finalists."""
    finalists: int = 0
    replicates: int = 1
    epochs: float = 1.0
    """Epochs of step 2 as a part of those of step 1."""
    left: float = 1.0
    """Part of the epochs of step 1 that rungs leave."""
    cuts: Cuts | None = None
    """Among the candidates."""
    length: int = 1
    """Epochs of a candidate."""

    def search(self, kept: int) -> Search:
        """Return the search with a number of candidates."""
        keep = self.cuts.keep if self.cuts else 1.0
        return Search(self.trials, kept, min(self.finalists, kept), self.replicates, keep)

    def trainings(self, kept: int) -> float:
        """Whole trainings on everything that a number of candidates takes in all."""
        absent = max(0, self.finalists - cost.survivors(self.cuts, self.length, kept))
        again = self.extra - absent * (self.replicates - 1)
        return kept * cost.epochs_left(self.cuts, self.length, kept) + again


@dataclass(frozen=True)
class Part:
    """Trainings that a pilot needs next."""

    share: float
    replicate: int
    """Another one is trained on another subset, with other seeds."""
    trials: tuple[int, ...] | None = None
    """None: all configurations."""


@dataclass(frozen=True)
class Option:
    """A search that could be made."""

    share: float
    kept: int
    basis: Basis
    simulated: Simulated
    high: float
    """End of the regret's interval."""
    cost: float
    """Of pilot and search, as a part of the one step."""


@dataclass(frozen=True)
class Decision:
    """The search to make."""

    option: Option | None
    """None: nothing can be said about any."""
    good: bool
    """Its regret is accepted, within the budget."""
    cheapest: float | None = None
    """Cost of the cheapest search with this pilot, as a part of the one step; None: not known."""


def first_share(samples: int, batch: int) -> float:
    """Smallest share that a pilot begins with: two batches and 100 samples at least.

    >>> first_share(300_000, 1024)
    0.01
    """
    least = max(2 * batch, 100) / samples
    return next((share for share in SHARES if share >= least), SHARES[-1])


def after(sizes: Sequence[Sized], aim: Aim, rate: Rate | None, spent: float, scale: Scale) -> Part | Decision:
    """Say what the pilot trains next, or how it ends.

    Parameters
    ----------
    sizes
        What it has trained so far.
    rate
        Seconds of a training; None before two sizes are there.
    spent
        Seconds of the pilot so far.
    """
    if (missing := _rest(sizes, aim)) is not None:
        return missing
    if rate is None:
        return Decision(None, good=False)
    if (anchors := _anchors(sizes, aim, rate, spent)) is not None:
        return anchors
    decision = decide(sizes, aim, rate, spent, scale)
    largest = max(s.share for s in sizes if s.share < 1)
    if decision.good or aim.subset is not None or _saturated(sizes, aim.confidence):
        return decision
    # twice at the largest share so far, once at twice that
    each = aim.configurations * (largest * rate.full + rate.overhead)
    more = each + aim.configurations * (2 * largest * rate.full + rate.overhead)
    step1 = aim.trials * (largest * rate.full + rate.overhead) * aim.left
    least = step1 + aim.trainings(FEW) * _candidate(aim, rate)
    most = SAFE * aim.budget * one_step(aim, rate)
    if 2 * largest > 0.5 or spent + more > min(PART * most, most - least):
        return decision
    return Part(largest, 1)


def decide(sizes: Sequence[Sized], aim: Aim, rate: Rate, spent: float, scale: Scale) -> Decision:
    """Choose the cheapest search whose regret is accepted, or else the best within the budget."""
    options = [
        found
        for share in (s.share for s in sizes if s.share < 1)
        if aim.subset is None or math.isclose(share, aim.subset)
        for found in _options(sizes, share, aim, rate, spent, scale)
    ]
    if not options:
        return Decision(None, good=False)
    budget = SAFE * aim.budget
    within = [o for o in options if o.cost <= budget] or [min(options, key=lambda o: o.cost)]
    good = [o for o in within if o.high <= aim.regret and o.cost <= budget]
    cheapest = min(o.cost for o in options)
    if good:
        return Decision(min(good, key=lambda o: (o.cost, o.high)), good=True, cheapest=cheapest)
    return Decision(min(within, key=lambda o: (o.high, -o.kept)), good=False, cheapest=cheapest)


def high(simulated: Simulated, scale: Scale, confidence: float) -> float:
    """End of the regret's interval at a confidence.

    The quantile is taken in the middle between the confidence and one: what a pilot of a few dozen configurations does
    not see makes the simulated distribution too narrow by about that much (docs/certificate.md has the measurement).
    """
    import numpy as np

    return float(np.quantile(scale.regret(simulated.regret), (1 + confidence) / 2))


def _rest(sizes: Sequence[Sized], aim: Aim) -> Part | None:
    """Return what is missing at the shares that have begun: two trainings each, one at the largest."""
    first = aim.subset or aim.first
    shares = [s.share for s in sizes if s.share < 1]
    if not shares:
        return Part(first, 0)
    for share in shares:
        size = evidence.at(sizes, share)
        assert size is not None
        if len(size.losses) < 2 and (share == first or evidence.at(sizes, 2 * share)):
            return Part(share, 1)
    largest = max(shares)
    size = evidence.at(sizes, largest)
    assert size is not None
    if len(size.losses) > 1 and 2 * largest <= 1 and evidence.at(sizes, 2 * largest) is None:
        return Part(2 * largest, 0)
    return None


def _anchors(sizes: Sequence[Sized], aim: Aim, rate: Rate, spent: float) -> Part | None:
    """Return the trainings on everything that the budget allows, once."""
    if evidence.at(sizes, 1.0) is not None:
        return None
    count = affordable(aim, rate, spent, aim.subset or min(s.share for s in sizes))
    if count < regret.LEAST:
        return None
    return Part(1.0, 0, tuple(evidence.anchors(sizes, count)))


def affordable(aim: Aim, rate: Rate, spent: float, share: float) -> int:
    """Trainings on everything that the budget has room for beside a search."""
    search = aim.trials * (share * rate.full + rate.overhead) * aim.left
    candidates = aim.trainings(aim.kept or FEW) * _candidate(aim, rate)
    most = SAFE * aim.budget * one_step(aim, rate)
    allowed = min(most - spent - search - candidates, 0.22 * most)
    return max(0, min(ANCHORS, int(allowed / (rate.full * aim.epochs + rate.overhead))))


def _saturated(sizes: Sequence[Sized], confidence: float) -> bool:
    """Tell whether a larger share would rank no better: tau(p, 2p) is that of two trainings at 2p, or close to it."""
    shares = sorted(s.share for s in sizes if s.share < 1)
    for share in shares:
        larger = evidence.at(sizes, 2 * share)
        across = evidence.between(evidence.at(sizes, share), larger, confidence)
        ceiling = evidence.replicate(larger, confidence)
        # a ceiling that is low is no reason to stop: the trainings at that size are still noisy
        if across and ceiling and across.tau >= ceiling.tau - NEAR and ceiling.tau >= 0.75:
            return True
    return False


def _options(
    sizes: Sequence[Sized], share: float, aim: Aim, rate: Rate, spent: float, scale: Scale
) -> list[Option]:
    known, basis = evidence.evidence(sizes, share)
    if not known:
        return []
    most = _most(aim, rate, spent, share)
    options: list[Option] = []
    for kept in reversed([min(aim.kept, aim.trials)] if aim.kept else _numbers(most)):
        simulated = regret.predict(known, aim.search(kept), draws=400)
        costs = price(aim, rate, spent, share, kept)
        # keeping less is never better: what the simulation says otherwise is its own noise
        end = max(high(simulated, scale, aim.confidence), options[-1].high if options else 0.0)
        options.append(Option(share, kept, basis, simulated, end, costs))
    return options


def _most(aim: Aim, rate: Rate, spent: float, share: float) -> int:
    """Most candidates that the budget pays; one at least."""
    dearer = (k for k in range(2, aim.trials + 1) if price(aim, rate, spent, share, k) > SAFE * aim.budget)
    return next(dearer, aim.trials + 1) - 1


def price(aim: Aim, rate: Rate, spent: float, share: float, kept: int) -> float:
    """Cost of pilot and search as a part of the one step's."""
    step1 = aim.trials * (share * rate.full + rate.overhead) * aim.left
    return part(aim, rate, spent + step1 + aim.trainings(kept) * _candidate(aim, rate))


def part(aim: Aim, rate: Rate, spent: float) -> float:
    """Work as a part of the one step's."""
    whole = one_step(aim, rate)
    return spent / whole if whole > 0 else math.inf


def one_step(aim: Aim, rate: Rate) -> float:
    """Work of training every trial once on everything, like a candidate."""
    return aim.trials * (rate.full * aim.epochs + rate.overhead)


def _candidate(aim: Aim, rate: Rate) -> float:
    """Seconds of a training of step 2."""
    return rate.full * aim.epochs * rate.dear + rate.overhead


def _numbers(most: int) -> list[int]:
    """Numbers of candidates that are tried: steps of about a third."""
    numbers, number = [], 1
    while number < most:
        numbers.append(number)
        number = max(number + 1, round(number * 1.35))
    return [*numbers, most]


def correlations(
    sizes: Sequence[Sized], share: float, confidence: float
) -> tuple[float, float, float] | None:
    """Copula correlation of step 1's ranking with everything, and the ends of its interval; None when not known.

    From the anchors where there are enough, else by extrapolation, and never better than that.
    """
    import numpy as np

    found = evidence.transfers(sizes, share)
    direct = (
        evidence.between(evidence.at(sizes, share), evidence.at(sizes, 1.0), confidence)
        if share < 1
        else None
    )
    if found is None:
        return (direct.rho, copula.rho(direct.low), copula.rho(direct.high)) if direct else None
    draws: NDArray[np.float64] = found[0] * found[1]
    tails = (1 - confidence) / 2
    rho, low, top = (float(x) for x in np.quantile(draws, [0.5, tails, 1 - tails]))
    if direct is None:
        return rho, low, top
    # both are uncertain: the middle of the two, and the lower of the lower ends
    return (rho + direct.rho) / 2, min(low, copula.rho(direct.low)), max(top, direct.rho)
