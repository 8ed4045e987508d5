"""Rank correlation, and what it means for the search: which rank the winner of two steps has.

Ranks of step 1 and true ranks are joined by a Gaussian copula. Its correlation follows from Kendall's tau, which is
robust against the shape of both distributions: ``rho = sin(pi tau / 2)`` (Kruskal 1958). Then the rank of the best of
``kept`` among ``trials`` is simulated: the *copula calculator*.

The calculator is too rosy at the very top, where good networks differ by less than the noise of their training;
`ml_suite.study.regret` therefore works with values, noise included, and only takes the correlations from here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml_suite.study.contract import Document

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

MINIMUM = 8
"""Pairs below which a rank correlation is not judged: with fewer its interval spans half of what is possible."""

_CELLS = 4_000_000
"""Random numbers that are held at once."""


class Agreement(Document):
    """Rank correlation of two sets of results of the same configurations."""

    points: int
    """Configurations that have a value in both."""
    tau: float
    """Kendall's tau-b."""
    low: float
    high: float
    """Ends of its interval at the stated confidence."""
    confidence: float
    rho: float
    """Correlation of the Gaussian copula."""


@dataclass(frozen=True)
class Ranks:
    """What happened to the winner in each simulated search."""

    rank: NDArray[np.int64]
    """True rank of the best of those kept, [draws]; 1 is the true best."""
    kept: NDArray[np.bool_]
    """Whether the true best was kept, [draws]."""


def kendall(first: ArrayLike, second: ArrayLike) -> float | None:
    """Kendall's tau-b over the pairs in which both are finite; None where it is not defined.

    It is not defined with fewer than three pairs, or when all values of a side are equal.

    >>> kendall([1, 2, 3, 4], [10, 20, 15, 40])
    0.6666666666666667
    """
    import numpy as np
    from scipy.stats import kendalltau

    a, b = np.asarray(first, float), np.asarray(second, float)
    known = np.isfinite(a) & np.isfinite(b)
    if known.sum() < 3:
        return None
    tau = float(kendalltau(a[known], b[known]).statistic)
    return None if math.isnan(tau) else min(1.0, max(-1.0, tau))


def resampled(first: ArrayLike, second: ArrayLike, weights: ArrayLike) -> NDArray[np.float64]:
    """Kendall's tau-b of bootstrap samples, 0 where it is not defined.

    Parameters
    ----------
    first, second
        Finite values, [points].
    weights
        How often each point is in each sample, [samples, points].
    """
    import numpy as np

    a, b, w = (np.asarray(x, float) for x in (first, second, weights))
    s, t = np.sign(a[:, None] - a), np.sign(b[:, None] - b)

    def summed(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        total: NDArray[np.float64] = ((w @ matrix) * w).sum(axis=1)
        return total

    below = np.sqrt(summed(s * s) * summed(t * t))
    found: NDArray[np.float64] = np.where(below > 0, summed(s * t) / np.where(below > 0, below, 1.0), 0.0)
    return found


def rho(tau: float) -> float:
    """Correlation of the Gaussian copula that has this tau.

    >>> rho(0.5)
    0.7071067811865476
    """
    return math.sin(math.pi * tau / 2)


def agreement(first: ArrayLike, second: ArrayLike, confidence: float = 0.9) -> Agreement | None:
    """Rank correlation with its interval; None with fewer than `MINIMUM` pairs or when it is not defined.

    The interval is Fieller's: ``atanh(tau)`` is nearly normal with variance 0.437 / (n - 4) (Fieller, Hartley and
    Pearson 1957).
    """
    import numpy as np
    from scipy.stats import norm

    a, b = np.asarray(first, float), np.asarray(second, float)
    points = int((np.isfinite(a) & np.isfinite(b)).sum())
    tau = kendall(a, b)
    if points < MINIMUM or tau is None:
        return None
    # a perfect agreement of few points does not prove a perfect one: the next pair may be in the wrong order
    most = 1 - 4 / (points * (points - 1))
    inside = min(most, max(-most, tau))
    reach = float(norm.ppf(0.5 + confidence / 2)) * math.sqrt(0.437 / (points - 4))
    low, high = math.tanh(math.atanh(inside) - reach), math.tanh(math.atanh(inside) + reach)
    return Agreement(
        points=points,
        tau=tau,
        low=min(low, tau),
        high=max(high, tau),
        confidence=confidence,
        rho=rho(tau),
    )


def simulate(correlation: float, trials: int, kept: int, draws: int = 400, seed: int = 0) -> Ranks:
    """Simulate searches in which ranks of step 1 and true ranks correlate.

    Parameters
    ----------
    correlation
        Of the Gaussian copula, -1 to 1.
    trials, kept
        Trials of step 1, and how many of them are trained on everything.

    Raises
    ------
    ValueError
        If no trial is kept, or more than there are.
    """
    import numpy as np

    if not 0 < kept <= trials:
        raise ValueError(f"{kept} of {trials} trials cannot be kept")
    random = np.random.default_rng(seed)
    noise = math.sqrt(max(0.0, 1 - correlation * correlation))
    batch = max(1, _CELLS // trials)
    ranks, hits = [], []
    for start in range(0, draws, batch):
        shape = (min(batch, draws - start), trials)
        true = random.standard_normal(shape)
        score = correlation * true + noise * random.standard_normal(shape)
        chosen = np.argpartition(score, kept - 1, axis=1)[:, :kept]
        best = np.take_along_axis(true, chosen, axis=1).min(axis=1)
        rank = (true < best[:, None]).sum(axis=1) + 1
        ranks.append(rank)
        hits.append(rank == 1)
    return Ranks(rank=np.concatenate(ranks).astype(np.int64), kept=np.concatenate(hits))
