"""What comes out: maximum supersaturation, and the fraction of each mode that it activates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import erfc
from scipy.stats import norm

from parcel import constants as c
from parcel.ascent import ascend_all
from parcel.sampling import SIGMA, Members

REACH = 4.0
"""The bins of a mode cover so many standard deviations of its lognormal on each side."""

_ITERATIONS = 40


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


def kelvin_lengths(temperature: np.ndarray) -> np.ndarray:
    """A of the Kelvin term, m; `parcel.thermodynamics.kelvin_length` for arrays."""
    tension = 0.0761 - 1.55e-4 * (temperature - c.FREEZING)
    return np.asarray(2.0 * c.WATER_MOLAR_MASS * tension / (c.GAS_CONSTANT * temperature * c.WATER_DENSITY))


def critical_radius(supersaturation: np.ndarray, temperature: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Dry radius of the particle whose Koehler maximum is this supersaturation, m; infinite where S <= 0.

    Exact for the kappa-Koehler curve, also where the well-known s_c^2 = 4 A^3 / (27 kappa r_d^3) is not: that takes the
    droplet as much larger than its dry particle, which fails below kappa of about 0.2 (Petters and Kreidenweis 2007).
    With D = (r / r_d)^3 - 1 at the maximum, its place and height are

        A / r_d = 3 kappa (1 + D)^(4/3) / (D (D + kappa))
        ln(1 + S) = 3 kappa (1 + D) / (D (D + kappa)) - ln(1 + kappa / D)

    The second is solved for ln D by Newton's method, in logarithms, where it is nearly a straight line, from the dilute
    limit D = 2 kappa / S; the first then gives r_d.

    Parameters
    ----------
    supersaturation, temperature, kappa
        Arrays that broadcast against each other; temperature in K.
    """
    s, t, k = np.broadcast_arrays(supersaturation, temperature, kappa)
    height = np.log1p(np.where(s > 0.0, s, 1.0))
    log_d = np.log(2.0 * k / height)
    for _ in range(_ITERATIONS):
        d = np.exp(log_d)
        found = 3.0 * k * (1.0 + d) / (d * (d + k)) - np.log1p(k / d)
        slope = k / (d + k) - 3.0 * k * (d * d + 2.0 * d + k) / (d * (d + k) ** 2)
        step = np.log(found / height) * found / slope
        log_d = log_d - step
        if np.max(np.abs(step), initial=0.0) < 1e-12:
            break
    d = np.exp(log_d)
    ratio = 3.0 * k * (1.0 + d) ** (4.0 / 3.0) / (d * (d + k))
    return np.where(s > 0.0, kelvin_lengths(t) / ratio, np.inf)


def activated_fractions(
    supersaturation: np.ndarray, temperature: np.ndarray, radius: np.ndarray, kappa: np.ndarray
) -> np.ndarray:
    """Part of each mode's number above the critical dry radius, [samples, modes].

    The tail of the lognormal in closed form, and no count of bins: that would be a staircase with steps of a bin's
    weight, whose mean square of about 1e-4 no emulator could get below.

    Parameters
    ----------
    supersaturation, temperature
        At the maximum, [samples]; dimensionless and K.
    radius, kappa
        Number-median dry radius (m) and hygroscopicity, [samples, modes].
    """
    critical = critical_radius(supersaturation[:, None], temperature[:, None], kappa)
    return np.asarray(0.5 * erfc(np.log(critical / radius) / (np.sqrt(2.0) * np.log(SIGMA))))
