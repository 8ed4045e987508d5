"""The scheme of E3SM and many other models, as a baseline: Abdul-Razzak and Ghan (2000, doi:10.1029/1999JD901161).

An algebraic fit to parcel models for the maximum of supersaturation, with the dilute form of the critical
supersaturation. The coefficients are pyrcel's, see LICENSE-pyrcel.txt; they agree to rounding.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfc

from parcel import constants as c
from parcel.labels import kelvin_lengths
from parcel.sampling import SIGMA, Members


def _growth(temperature: np.ndarray, pressure: np.ndarray, saturation: np.ndarray) -> np.ndarray:
    """Growth coefficient G without kinetic effects, m2 s-1."""
    rt = c.GAS_CONSTANT * temperature
    diffusivity = 1e-4 * 0.211 / (pressure * 1.01325e-5) * (temperature / 273.0) ** 1.94
    conductivity = 1e-3 * (4.39 + 0.071 * temperature)
    by_vapour = c.WATER_DENSITY * rt / (saturation * diffusivity * c.WATER_MOLAR_MASS)
    latent = c.LATENT_HEAT * c.WATER_MOLAR_MASS / rt - 1.0
    return np.asarray(
        1.0 / (by_vapour + c.LATENT_HEAT * c.WATER_DENSITY * latent / (conductivity * temperature))
    )


def critical_supersaturation(temperature: np.ndarray, radius: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Dilute limit, s_c^2 = 4 A^3 / (27 kappa r_d^3)."""
    return np.asarray(np.sqrt(4.0 * kelvin_lengths(temperature) ** 3 / (27.0 * kappa * radius**3)))


def arg2000(members: Members) -> tuple[np.ndarray, np.ndarray]:
    """Maximum supersaturation [samples] and activated fractions [samples, modes]."""
    temperature, pressure = members.temperature[:, None], members.pressure[:, None]
    rt = c.GAS_CONSTANT * temperature
    celsius = temperature - c.FREEZING
    saturation = 611.2 * np.exp(17.67 * celsius / (celsius + 243.5))
    alpha = c.GRAVITY * (
        c.WATER_MOLAR_MASS * c.LATENT_HEAT / (c.HEAT_CAPACITY * rt * temperature) - c.AIR_MOLAR_MASS / rt
    )
    gamma = rt / (saturation * c.WATER_MOLAR_MASS) + c.WATER_MOLAR_MASS * c.LATENT_HEAT**2 / (
        c.HEAT_CAPACITY * c.AIR_MOLAR_MASS * temperature * pressure
    )
    forcing = alpha * members.updraft[:, None] / _growth(temperature, pressure, saturation)
    critical = critical_supersaturation(temperature, members.radius, members.kappa)
    width = np.log(SIGMA)
    f, g = 0.5 * np.exp(2.5 * width**2), 1.0 + 0.25 * width
    zeta = 2.0 / 3.0 * kelvin_lengths(temperature) * np.sqrt(forcing)
    eta = forcing**1.5 / (2.0 * np.pi * c.WATER_DENSITY * gamma * members.number)
    terms = (f * (zeta / eta) ** 1.5 + g * (critical**2 / (eta + 3.0 * zeta)) ** 0.75) / critical**2
    highest = 1.0 / np.sqrt(terms.sum(axis=1))
    fractions = 0.5 * erfc(2.0 * np.log(critical / highest[:, None]) / (3.0 * np.sqrt(2.0) * width))
    return highest, fractions
