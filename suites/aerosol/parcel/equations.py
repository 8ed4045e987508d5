"""The parcel: an adiabatic volume of air that rises with a constant updraft and carries wet aerosol of many sizes.

State y = [P, T, w_v, S, r_1 ... r_n]: pressure (Pa), temperature (K), mixing ratio of vapour (kg kg-1), supersaturation
and the wet radius of each bin (m). The equations are those of pyrcel 2.0 (``pyrcel/parcel_aux.py``, see
LICENSE-pyrcel.txt; Rothenberg and Wang 2016, after Ghan et al. 2011, doi:10.1029/2011MS000074):

    dP/dt   = -rho g w
    dT/dt   = -g w / c_p + L / c_p dw_c/dt
    dw_v/dt = -dw_c/dt
    dS/dt   = alpha w - gamma dw_c/dt
    dr_i/dt = (S - S_eq(r_i)) / (r_i (G_a' + G_b'))     G' with the kinetic correction of diffusivity and conductivity
    dw_c/dt = 4 pi rho_w / rho_dry sum_i N_i r_i^2 dr_i/dt
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from parcel import constants as c
from parcel.thermodynamics import (
    FAST,
    air_conductivity,
    equilibrium,
    growth_resistances,
    kelvin_length,
    saturation_pressure,
    supersaturation_sink,
    supersaturation_source,
    vapour_diffusivity,
)

BULK = 4
"""Numbers of the state before the radii."""
P, T, VAPOUR, S = 0, 1, 2, 3
"""Their places."""


@njit(inline="always", **FAST)
def growth_coefficients(temperature: float, pressure: float, density: float) -> tuple[float, float]:
    """Numbers a0 (s m-2), a1 (s m-1) of dr/dt = (S - S_eq) / (a0 r + a1), kinetic effects included.

    With D' = D / (1 + c_D / r) and k' = k / (1 + c_k / r) both resistances are linear in 1 / r.
    """
    by_vapour, by_heat = growth_resistances(temperature, pressure, saturation_pressure(temperature))
    rt = c.GAS_CONSTANT * temperature
    diffusivity = vapour_diffusivity(temperature, pressure)
    conductivity = air_conductivity(temperature)
    vapour_jump = (
        diffusivity / c.CONDENSATION_COEFFICIENT * math.sqrt(2.0 * math.pi * c.WATER_MOLAR_MASS / rt)
    )
    heat_jump = (
        conductivity
        / (c.THERMAL_ACCOMMODATION * density * c.HEAT_CAPACITY)
        * math.sqrt(2.0 * math.pi * c.AIR_MOLAR_MASS / rt)
    )
    return by_vapour + by_heat, by_vapour * vapour_jump + by_heat * heat_jump


@njit(**FAST)
def tendencies(
    state: np.ndarray,
    updraft: float,
    dry_cubed: np.ndarray,
    solute: np.ndarray,
    number: np.ndarray,
    tendency: np.ndarray,
    by_radius: np.ndarray,
    by_supersaturation: np.ndarray,
) -> float:
    """Time derivative of a state, and what the Jacobian needs.

    Parameters
    ----------
    state
        y, see above.
    updraft
        w, m s-1.
    dry_cubed, solute, number
        r_d^3 (m3), kappa r_d^3 (m3) and concentration (m-3) of each bin.
    tendency
        Written: dy/dt.
    by_radius, by_supersaturation
        Written: the derivatives of dr_i/dt by r_i (s-1) and by S (m s-1).

    Returns
    -------
    float
        k of dS/dt = alpha w - k sum_i N_i r_i^2 dr_i/dt.
    """
    pressure, temperature, vapour, supersaturation = state[P], state[T], state[VAPOUR], state[S]
    saturation = saturation_pressure(temperature)
    density = pressure / c.DRY_AIR_CONSTANT / ((1.0 + c.VIRTUAL * vapour) * temperature)
    dry_density = (pressure - (1.0 + supersaturation) * saturation) / c.DRY_AIR_CONSTANT / temperature
    linear, constant = growth_coefficients(temperature, pressure, density)
    kelvin = kelvin_length(temperature)
    flux = 0.0
    for i in range(number.shape[0]):
        radius = state[BULK + i]
        value, slope = equilibrium(radius, dry_cubed[i], solute[i], kelvin)
        ease = 1.0 / (linear * radius + constant)
        growth = (supersaturation - value) * ease
        flux += number[i] * radius * radius * growth
        tendency[BULK + i] = growth
        by_radius[i] = -ease * (slope + linear * growth)
        by_supersaturation[i] = ease
    water = 4.0 * math.pi * c.WATER_DENSITY / dry_density
    condensation = water * flux
    sink = supersaturation_sink(temperature, pressure, saturation)
    tendency[P] = -density * c.GRAVITY * updraft
    tendency[T] = (c.LATENT_HEAT * condensation - c.GRAVITY * updraft) / c.HEAT_CAPACITY
    tendency[VAPOUR] = -condensation
    tendency[S] = supersaturation_source(temperature) * updraft - sink * condensation
    return water * sink


@njit(**FAST)
def settle(
    temperature: float,
    supersaturation: float,
    dry: np.ndarray,
    kappa: np.ndarray,
    radius: np.ndarray,
) -> None:
    """Wet radii in equilibrium with air below saturation, written to `radius` (m).

    Newton's method on the rising, concave branch of the Koehler curve, from its left: it cannot overshoot. The start is
    the radius with the Kelvin term of the dry particle.
    """
    kelvin = kelvin_length(temperature)
    for i in range(dry.shape[0]):
        dry_cubed = dry[i] ** 3
        activity = (1.0 + supersaturation) * math.exp(-kelvin / dry[i])
        wet = dry[i] * (1.0 + kappa[i] * activity / (1.0 - activity)) ** (1.0 / 3.0)
        for _ in range(50):
            value, slope = equilibrium(wet, dry_cubed, kappa[i] * dry_cubed, kelvin)
            step = (supersaturation - value) / slope
            wet += step
            if abs(step) < 1e-11 * wet:
                break
        radius[i] = wet
