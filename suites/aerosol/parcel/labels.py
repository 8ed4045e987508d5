"""The labels: the fraction of each mode that a supersaturation activates."""

from __future__ import annotations

import numpy as np
from scipy.special import erfc

from parcel import constants as c
from parcel.sampling import SIGMA

# five reach rounding for kappa from 1e-10 to 1.3 and S from 1e-6 to 1; their number does not depend on the data, so
# that a sample's label does not depend on its neighbours
_ITERATIONS = 8


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
        log_d = log_d - np.log(found / height) * found / slope
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
