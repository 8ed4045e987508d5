"""One ascent from below cloud base to the maximum of supersaturation, and many of them in parallel."""

from __future__ import annotations

import numpy as np
from numba import njit, prange

from parcel import constants as c
from parcel.equations import BULK, S, T, settle, tendencies
from parcel.rosenbrock import GAMMA, STAGES, advance, factorise, stages
from parcel.thermodynamics import FAST, saturation_pressure

MAXIMUM, RISING, STUCK, ENDLESS = 0, 1, 2, 3
"""How an ascent ended: past the maximum; at the top without one above 0; step too small; too many steps."""
LIFTING = 2450.0
"""Rise of the condensation level with 1 - relative humidity, m: a parcel at 80 % needs about 490 m."""
FALLEN = 0.97
"""Part of its maximum under which S is taken as past it."""
MAXIMUM_STEPS = 20_000


@njit(inline="always", **FAST)
def peak(
    before: float, after: float, slope_before: float, slope_after: float, step: float
) -> tuple[float, float]:
    """Place in [0, 1] and height of the maximum of the cubic through both ends of a step with their slopes."""
    square = 6.0 * (before - after) / step + 3.0 * (slope_before + slope_after)
    linear = 6.0 * (after - before) / step - 2.0 * (2.0 * slope_before + slope_after)
    place = 1.0
    if abs(square) > 1e-30:
        root = linear * linear - 4.0 * square * slope_before
        if root > 0.0:
            root = np.sqrt(root)
            place = (-linear - root) / (2.0 * square)
            if not (0.0 <= place <= 1.0 and 2.0 * square * place + linear <= 0.0):
                place = (-linear + root) / (2.0 * square)
    place = min(1.0, max(0.0, place))
    rest = 1.0 - place
    height = (
        (1.0 + 2.0 * place) * rest * rest * before
        + place * place * (3.0 - 2.0 * place) * after
        + step * place * rest * (rest * slope_before - place * slope_after)
    )
    return place, height


@njit(**FAST)
def ascend(
    temperature: float,
    pressure: float,
    humidity: float,
    updraft: float,
    dry: np.ndarray,
    kappa: np.ndarray,
    number: np.ndarray,
    rtol: float,
    window: float,
) -> tuple[float, float, int, int]:
    """Integrate one parcel to its maximum of supersaturation.

    The running maximum is kept until S has fallen to 97 % of it, or the top is reached: with a weak updraft dS/dt is
    zero within the tolerance long before the maximum, so that its first change of sign is no sign of the end.

    Parameters
    ----------
    temperature, pressure, humidity, updraft
        At the start: K, Pa, relative humidity below 1, m s-1.
    dry, kappa, number
        Dry radius (m), hygroscopicity and concentration (m-3) of each bin.
    rtol
        Relative tolerance of a step.
    window
        Ascent above the (roughly known) condensation level, m.

    Returns
    -------
    tuple
        Maximum supersaturation, temperature there (K), steps, and how it ended.
    """
    bins = dry.shape[0]
    dry_cubed = dry**3
    solute = kappa * dry_cubed
    state, after = np.empty(BULK + bins), np.empty(BULK + bins)
    tendency, results = np.empty(BULK + bins), np.zeros((STAGES, BULK + bins))
    work, spare = np.empty((2, BULK + bins)), np.empty((2, bins))
    by_radius, by_supersaturation, row, pivot = np.empty(bins), np.empty(bins), np.empty(bins), np.empty(bins)

    vapour_pressure = saturation_pressure(temperature)
    state[0], state[1] = pressure, temperature
    state[2] = humidity * c.MASS_RATIO * vapour_pressure / (pressure - vapour_pressure)
    state[3] = humidity - 1.0
    settle(temperature, state[S], dry, kappa, state[BULK:])

    highest, there, found = state[S], temperature, False
    end = (LIFTING * (1.0 - humidity) + window) / updraft
    now = 0.0
    step = min(0.1, 0.002 * end)
    coupling = tendencies(state, updraft, dry_cubed, solute, number, tendency, by_radius, by_supersaturation)
    for count in range(1, MAXIMUM_STEPS + 1):
        corner = factorise(
            state, tendency, number, by_radius, by_supersaturation, coupling, 1.0 / (step * GAMMA), row, pivot
        )
        stages(
            state, tendency, step, updraft, dry, dry_cubed, solute, number,
            corner, row, pivot, by_supersaturation, work, spare, results,
        )  # fmt: skip
        error = advance(state, results, dry, rtol, after)
        if error > 1.0:
            step *= max(0.2, 0.9 * error ** (-1.0 / 3.0)) if error < 1e30 else 0.3
            if step < 1e-12 * end:
                return highest, there, count, STUCK
            continue
        before, slope, warm = state[S], tendency[S], state[T]
        state[:] = after
        now += step
        coupling = tendencies(
            state, updraft, dry_cubed, solute, number, tendency, by_radius, by_supersaturation
        )
        if slope > 0.0 and tendency[S] <= 0.0:
            place, height = peak(before, state[S], slope, tendency[S], step)
            if height > highest:
                highest, there, found = height, warm + place * (state[T] - warm), True
        if state[S] > highest:
            highest, there, found = state[S], state[T], False
        if highest > 0.0 and state[S] < FALLEN * highest:
            return highest, there, count, MAXIMUM
        if now >= end:
            return highest, there, count, MAXIMUM if found and highest > 0.0 else RISING
        step *= min(4.0, max(0.3, 0.9 * (error + 1e-12) ** (-1.0 / 3.0)))
        if now + step > end:
            step = end - now
    return highest, there, MAXIMUM_STEPS, ENDLESS


@njit(parallel=True, **FAST)
def ascend_all(
    temperature: np.ndarray,
    pressure: np.ndarray,
    humidity: np.ndarray,
    updraft: np.ndarray,
    radius: np.ndarray,
    kappa: np.ndarray,
    number: np.ndarray,
    log_sigma: np.ndarray,
    places: np.ndarray,
    weights: np.ndarray,
    rtol: float,
    window: float,
    highest: np.ndarray,
    there: np.ndarray,
    steps: np.ndarray,
    status: np.ndarray,
) -> None:
    """`ascend` for each sample, whose modes ([samples, modes], SI units) are cut into the bins `places`, `weights`.

    Each sample is computed by one thread alone, so the result does not depend on their number.
    """
    modes, bins = radius.shape[1], places.shape[0]
    for n in prange(temperature.shape[0]):
        dry, hygroscopicity, count = np.empty(modes * bins), np.empty(modes * bins), np.empty(modes * bins)
        for mode in range(modes):
            for k in range(bins):
                i = mode * bins + k
                dry[i] = radius[n, mode] * np.exp(places[k] * log_sigma[mode])
                hygroscopicity[i] = kappa[n, mode]
                count[i] = number[n, mode] * weights[k]
        highest[n], there[n], steps[n], status[n] = ascend(
            temperature[n], pressure[n], humidity[n], updraft[n], dry, hygroscopicity, count, rtol, window
        )
