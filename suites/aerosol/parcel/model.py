"""The parcel model for many samples at once: from the inputs to the maximum of supersaturation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from parcel.ascent import ascend_all
from parcel.sampling import SIGMA, Members

REACH = 4.0
"""The bins of a mode cover so many standard deviations of its lognormal on each side."""


@dataclass(frozen=True)
class Outcome:
    """Ascents; arrays [samples]."""

    supersaturation: np.ndarray
    """Its maximum, dimensionless."""
    temperature: np.ndarray
    """K, there."""
    steps: np.ndarray
    status: np.ndarray
    """See `parcel.ascent`: 0 for a maximum inside of the window."""


def bins(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Middles (in standard deviations) and weights of `count` equal bins of a standard normal distribution."""
    edges = np.linspace(-REACH, REACH, count + 1)
    weights = np.diff(norm.cdf(edges))
    return 0.5 * (edges[1:] + edges[:-1]), weights / weights.sum()


def ascents(members: Members, count: int = 128, rtol: float = 1e-4, window: float = 1000.0) -> Outcome:
    """Maximum supersaturation of each member.

    Parameters
    ----------
    count
        Bins in all; a multiple of the number of modes.
    rtol
        Relative tolerance of a time step.
    window
        Ascent above the condensation level in which the maximum is looked for, m.

    Raises
    ------
    ValueError
        `count` is no multiple of the number of modes.
    """
    modes = len(SIGMA)
    if count <= 0 or count % modes:
        raise ValueError(f"the bins are shared by {modes} modes: {count} is no multiple of it")
    places, weights = bins(count // modes)
    n = len(members)
    highest, there = np.empty(n), np.empty(n)
    steps, status = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int8)
    ascend_all(
        members.temperature, members.pressure, members.humidity, members.updraft,
        members.radius, members.kappa, members.number,
        np.log(SIGMA), places, weights, rtol, window, highest, there, steps, status,
    )  # fmt: skip
    return Outcome(highest, there, steps, status)
