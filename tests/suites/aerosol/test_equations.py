"""The right-hand side of the parcel model: balances, and the derivatives that the solver relies on."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.suites.aerosol.conftest import SUITE

pytestmark = pytest.mark.anemoi

_CHECK = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from parcel import constants as c
from parcel.equations import BULK, P, S, T, VAPOUR, settle, tendencies
from parcel.thermodynamics import kelvin_length, saturation_pressure, equilibrium

random = np.random.default_rng(0)
bins, updraft = 24, 1.3
dry = np.geomspace(5e-9, 2e-6, bins)
kappa, number = random.uniform(0.01, 1.1, bins), random.uniform(1e5, 1e8, bins)
dry_cubed, solute = dry**3, kappa * dry**3
state = np.empty(BULK + bins)
state[:BULK] = 85000.0, 281.0, 0.008, 0.004
radius = state[BULK:]
settle(state[T], -0.05, dry, kappa, radius)
kelvin = kelvin_length(state[T])
settled = max(abs(equilibrium(r, d, s, kelvin)[0] + 0.05) for r, d, s in zip(radius, dry_cubed, solute))
radius *= random.uniform(1.05, 3.0, bins)

def rates(at):
    out, by_radius, by_s = np.empty(BULK + bins), np.empty(bins), np.empty(bins)
    k = tendencies(at, updraft, dry_cubed, solute, number, out, by_radius, by_s)
    return out, by_radius, by_s, k

out, by_radius, by_s, k = rates(state)
growth = out[BULK:]
saturation = saturation_pressure(state[T])
density = state[P] / (c.DRY_AIR_CONSTANT * state[T] * (1 + 0.61 * state[VAPOUR]))
dry_density = (state[P] - (1 + state[S]) * saturation) / (c.DRY_AIR_CONSTANT * state[T])
condensed = 4 * np.pi * c.WATER_DENSITY / dry_density * np.sum(number * radius**2 * growth)

def slope(i, step):
    up, down = state.copy(), state.copy()
    up[i] += step; down[i] -= step
    return (rates(up)[0] - rates(down)[0]) / (2 * step)

numeric_radius = np.array([slope(BULK + i, 1e-5 * radius[i])[BULK + i] for i in range(bins)])
numeric_s = slope(S, 1e-7)
row = np.array([slope(BULK + i, 1e-5 * radius[i])[S] for i in range(bins)])
print(json.dumps({
    "settled": settled,
    "hydrostatic": abs(out[P] / (-density * c.GRAVITY * updraft) - 1),
    "water": abs(out[VAPOUR] / -condensed - 1),
    "heat": abs(out[T] * c.HEAT_CAPACITY / (c.LATENT_HEAT * condensed - c.GRAVITY * updraft) - 1),
    "by_radius": float(np.max(np.abs(by_radius / numeric_radius - 1))),
    "by_supersaturation": float(np.max(np.abs(by_s / numeric_s[BULK:] - 1))),
    "row": float(np.max(np.abs(-k * number * radius * (2 * growth + radius * by_radius) / row - 1))),
    "corner": float(abs(-k * np.sum(number * radius**2 * by_s) / numeric_s[S] - 1)),
}))
"""


@pytest.fixture(scope="module")
def errors(anemoi_python) -> dict[str, float]:
    done = subprocess.run(
        [str(anemoi_python), "-c", _CHECK, str(SUITE)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_particles_start_in_equilibrium_with_the_air(errors):
    assert errors["settled"] < 1e-9


def test_pressure_is_hydrostatic_and_water_and_heat_are_balanced(errors):
    assert errors["hydrostatic"] < 1e-12
    assert errors["water"] < 1e-12, "what leaves the vapour is on the droplets"
    assert errors["heat"] < 1e-12, "and its latent heat is in the air"


@pytest.mark.parametrize("name", ["by_radius", "by_supersaturation", "row"])
def test_the_derivatives_are_those_of_the_equations(errors, name):
    assert errors[name] < 1e-4


def test_the_change_of_air_density_with_supersaturation_is_small_enough_to_leave_out(errors):
    assert errors["corner"] < 0.02
