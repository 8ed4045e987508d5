"""Inputs and labels of the aerosol study: the half of it that needs no compiler."""

from __future__ import annotations

import numpy as np
import pytest
from parcel import labels, sampling
from parcel.sampling import INPUTS, MODES, SIGMA, Members, first
from scipy.optimize import minimize_scalar


def _koehler_maximum(dry: float, kappa: float, kelvin: float) -> float:
    """Highest supersaturation over the wet particle, by search rather than by algebra."""

    def below(log_growth: float) -> float:
        water = np.expm1(3.0 * log_growth)
        radius = dry * np.exp(log_growth)
        return -np.expm1(kelvin / radius + np.log(water / (water + kappa)))

    found = minimize_scalar(below, bounds=(1e-7, 12.0), method="bounded", options={"xatol": 1e-9})
    return -float(found.fun)


@pytest.mark.parametrize("kappa", [1e-3, 0.01, 0.1, 0.507, 1.16])
@pytest.mark.parametrize("dry", [5e-9, 5e-8, 5e-7, 4e-6])
def test_a_supersaturation_activates_down_to_the_particle_whose_koehler_curve_peaks_there(kappa, dry):
    kelvin = float(labels.kelvin_lengths(np.array(280.0)))
    peak = _koehler_maximum(dry, kappa, kelvin)
    found = labels.critical_radius(np.array(peak), np.array(280.0), np.array(kappa))
    assert float(found) == pytest.approx(dry, rel=1e-5)


def test_the_dilute_formula_is_the_limit_for_large_soluble_particles_and_fails_for_insoluble_ones():
    kelvin = float(labels.kelvin_lengths(np.array(280.0)))

    def dilute(dry, kappa):
        return np.sqrt(4.0 * kelvin**3 / (27.0 * kappa * dry**3))

    exact = labels.critical_radius(np.array(dilute(1e-6, 1.0)), np.array(280.0), np.array(1.0))
    assert float(exact) == pytest.approx(1e-6, rel=1e-3)
    exact = labels.critical_radius(np.array(dilute(5e-8, 0.001)), np.array(280.0), np.array(0.001))
    assert abs(float(exact) / 5e-8 - 1.0) > 0.2


def test_nothing_is_activated_without_supersaturation_and_all_of_it_by_much():
    radius, kappa = np.full((3, 4), 5e-8), np.full((3, 4), 0.5)
    fractions = labels.activated_fractions(np.array([-0.01, 0.0, 0.5]), np.full(3, 280.0), radius, kappa)
    assert (fractions[:2] == 0.0).all()
    assert (fractions[2] > 0.999).all()


def test_half_of_a_mode_is_activated_where_its_median_particle_is_critical():
    kelvin = float(labels.kelvin_lengths(np.array(280.0)))
    peak = _koehler_maximum(6e-8, 0.3, kelvin)
    fractions = labels.activated_fractions(
        np.array([peak]), np.array([280.0]), np.full((1, 4), 6e-8), np.full((1, 4), 0.3)
    )
    assert fractions == pytest.approx(np.full((1, 4), 0.5), abs=1e-5)


def test_the_fraction_is_that_of_a_lognormal_counted_finely():
    places = np.random.default_rng(0).standard_normal(200_000)
    peak, temperature = 0.004, 275.0
    radius, kappa = np.array([[4e-8, 2e-8, 2e-8, 5e-8]]), np.array([[0.5, 0.6, 1.0, 0.05]])
    critical = labels.critical_radius(np.array([[peak]]), np.array([[temperature]]), kappa)
    counted = (radius * np.exp(places[:, None] * np.log(SIGMA)) > critical).mean(axis=0)
    fractions = labels.activated_fractions(np.array([peak]), np.array([temperature]), radius, kappa)
    assert fractions[0] == pytest.approx(counted, abs=5e-3)


def test_inputs_lie_in_the_ranges_of_mam4_and_fill_them():
    x = first(20_000, 11)
    assert x.shape == (20_000, 16)
    assert x.dtype == np.float32
    assert len(INPUTS) == 16
    bounds = [
        sampling.TEMPERATURE,
        sampling.PRESSURE,
        sampling.HUMIDITY,
        tuple(100 * w for w in sampling.UPDRAFT),
    ]
    bounds += [mode.number for mode in MODES]
    bounds += [(mode.diameter[0] / 2, mode.diameter[1] / 2) for mode in MODES]
    bounds += [mode.kappa for mode in MODES]
    for name, column, (low, high) in zip(INPUTS, x.T, bounds, strict=True):
        assert low * (1 - 1e-6) <= column.min(), name
        assert column.max() <= high * (1 + 1e-6), name
        if name not in {"tair", "pressure", "rh"}:
            logs = (np.log(column) - np.log(low)) / (np.log(high) - np.log(low))
            assert np.histogram(logs, 10, (0, 1))[0] == pytest.approx(2000, rel=0.02), name


def test_a_larger_data_set_begins_with_the_smaller_one_and_another_seed_is_another_set():
    long, short = first(20_000, 11), first(9_001, 11)
    assert (long[:9_001] == short).all()
    assert (first(100, 12) != long[:100]).any()


def test_members_are_in_si_units():
    x = first(4, 11)
    members = Members.of(x)
    assert len(members) == 4
    assert members.pressure == pytest.approx(x[:, 1] * 100.0)
    assert members.updraft == pytest.approx(x[:, 3] / 100.0)
    assert members.number == pytest.approx(x[:, 4:8] * 1e6)
    assert members.radius == pytest.approx(x[:, 8:12] * 1e-6)
