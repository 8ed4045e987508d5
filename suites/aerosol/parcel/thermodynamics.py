"""Properties of moist air and the kappa-Koehler curve, compiled for single numbers.

The fits are those of pyrcel 2.0 (``pyrcel/thermo.py``), see LICENSE-pyrcel.txt.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from parcel import constants as c

# Every liberty but `nnan` and `ninf`: with those the compiler takes out the guards against NaN, and a diverging
# step would pass as a good one. `error_model` numpy: no check for division by zero, which would stop vectorising.
FAST: dict[str, Any] = {
    "fastmath": {"contract", "reassoc", "arcp", "nsz", "afn"},
    "error_model": "numpy",
    "cache": True,
}


@njit(inline="always", **FAST)
def saturation_pressure(temperature: float) -> float:
    """Saturation vapour pressure over water, Pa, of a temperature in K (Bolton 1980)."""
    celsius = temperature - c.FREEZING
    return 611.2 * math.exp(17.67 * celsius / (celsius + 243.5))


@njit(inline="always", **FAST)
def kelvin_length(temperature: float) -> float:
    """A of the Kelvin term exp(A / r): A = 2 Mw sigma / (R T rho_w), m; surface tension sigma linear in T."""
    tension = 0.0761 - 1.55e-4 * (temperature - c.FREEZING)
    return 2.0 * c.WATER_MOLAR_MASS * tension / (c.GAS_CONSTANT * temperature * c.WATER_DENSITY)


@njit(inline="always", **FAST)
def vapour_diffusivity(temperature: float, pressure: float) -> float:
    """Diffusivity of vapour in air without kinetic effects, m2 s-1 (Seinfeld and Pandis 2006, eq. 17.61)."""
    return 1e-4 * 0.211 / (pressure * 1.01325e-5) * (temperature / 273.0) ** 1.94


@njit(inline="always", **FAST)
def air_conductivity(temperature: float) -> float:
    """Thermal conductivity of air without kinetic effects, W m-1 K-1 (Seinfeld and Pandis 2006, eq. 17.71)."""
    return 1e-3 * (4.39 + 0.071 * temperature)


@njit(inline="always", **FAST)
def supersaturation_source(temperature: float) -> float:
    """Alpha of dS/dt = alpha w - gamma dw_c/dt: rise of supersaturation per metre of ascent, m-1 (Ghan et al. 2011)."""
    rt = c.GAS_CONSTANT * temperature
    cooling = c.WATER_MOLAR_MASS * c.LATENT_HEAT / (c.HEAT_CAPACITY * rt * temperature)
    return c.GRAVITY * (cooling - c.AIR_MOLAR_MASS / rt)


@njit(inline="always", **FAST)
def supersaturation_sink(temperature: float, pressure: float, saturation: float) -> float:
    """Gamma of dS/dt = alpha w - gamma dw_c/dt: loss of supersaturation per kg condensed in a kg of air."""
    warming = c.WATER_MOLAR_MASS * c.LATENT_HEAT**2 / (c.HEAT_CAPACITY * c.GAS_CONSTANT * temperature**2)
    return pressure * c.AIR_MOLAR_MASS / (c.WATER_MOLAR_MASS * saturation) + warming


@njit(inline="always", **FAST)
def growth_resistances(temperature: float, pressure: float, saturation: float) -> tuple[float, float]:
    """G_a, G_b of r dr/dt = (S - S_eq) / (G_a + G_b): diffusion of vapour and conduction of heat, s m-2."""
    rt = c.GAS_CONSTANT * temperature
    diffusivity = vapour_diffusivity(temperature, pressure)
    conductivity = air_conductivity(temperature)
    by_vapour = c.WATER_DENSITY * rt / (saturation * diffusivity * c.WATER_MOLAR_MASS)
    latent = c.LATENT_HEAT * c.WATER_MOLAR_MASS / rt - 1.0
    by_heat = c.LATENT_HEAT * c.WATER_DENSITY * latent / (conductivity * temperature)
    return by_vapour, by_heat


@njit(inline="always", **FAST)
def exp_minus_one(x: float) -> float:
    """Pade [4/4] approximant of exp(x) - 1: relative error 1e-9 below 0.6, 2e-6 at 1.5; vectorises, unlike expm1."""
    square = x * x
    return (
        x
        * (1680.0 + 40.0 * square)
        / (1680.0 + 180.0 * square + square * square - x * (840.0 + 20.0 * square))
    )


@njit(inline="always", **FAST)
def equilibrium(radius: float, dry_cubed: float, solute: float, kelvin: float) -> tuple[float, float]:
    """Supersaturation over a wet particle and its derivative by radius.

    kappa-Koehler (Petters and Kreidenweis 2007, doi:10.5194/acp-7-1961-2007, eq. 6):
    S_eq = exp(A / r) (r^3 - r_d^3) / (r^3 - r_d^3 (1 - kappa)) - 1, written without the cancellation of 1.

    Parameters
    ----------
    radius
        Wet radius r, m.
    dry_cubed
        r_d^3, m3.
    solute
        kappa r_d^3, m3.
    kelvin
        A, m.

    Returns
    -------
    tuple
        S_eq and dS_eq/dr (m-1).
    """
    water = radius * radius * radius - dry_cubed
    inverse = 1.0 / (water + solute)
    dilution = water * inverse
    curvature = kelvin / radius
    excess = exp_minus_one(curvature)
    value = dilution * excess - solute * inverse
    slope = 3.0 * radius * radius * solute * inverse * inverse - curvature / radius * dilution
    return value, (1.0 + excess) * slope
