"""The compiled parcel model: against pyrcel, against itself with more bins and finer steps, and against physics.

pyrcel.json holds the answers of pyrcel 2.0.0 at its default tolerance of 1e-7 to the first Sobol points of seed 1:

    python ci/bench/parcel.py --members 64 --rounds 4 --record tests/suites/aerosol/pyrcel.json
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from parcel.labels import activated_fractions
from parcel.sampling import HUMIDITY, MODES, PRESSURE, TEMPERATURE, UPDRAFT, Members, first

from tests.suites.aerosol.conftest import Parcel

pytestmark = pytest.mark.anemoi

UPDRAFT_COLUMN, NUMBER, RADIUS, KAPPA = 3, slice(4, 8), slice(8, 12), slice(12, 16)


def _draw(samples: int, seed: int = 5) -> np.ndarray:
    return first(samples, seed)


def _fractions(x: np.ndarray, supersaturation: np.ndarray, temperature: np.ndarray) -> np.ndarray:
    members = Members.of(x)
    return activated_fractions(supersaturation, temperature, members.radius, members.kappa)


@pytest.fixture(scope="module")
def peer() -> dict[str, np.ndarray]:
    recorded = json.loads(Path(__file__).with_name("pyrcel.json").read_text())
    return {name: np.array(values) for name, values in recorded.items()}


@pytest.mark.parametrize(("rtol", "relative", "absolute"), [(1e-4, 3e-4, 5e-4), (1e-6, 2e-5, 2e-5)])
def test_it_agrees_with_pyrcel_member_by_member(parcel: Parcel, peer, rtol, relative, absolute):
    ours = parcel.ascents(peer["x"], count=int(peer["bins"]), rtol=rtol, window=float(peer["window"]))
    solved, maximum = peer["solved"].astype(bool), peer["maximum"].astype(bool)
    assert (ours["status"] <= 1).all(), "every one of ours ends well, also where pyrcel gives up"
    assert solved.sum() >= 50
    both = solved & maximum
    assert ours["smax"][both] == pytest.approx(peer["smax"][both], rel=relative)
    theirs = _fractions(peer["x"], peer["smax"], peer["temperature"])
    assert np.abs(ours["y"] - theirs)[solved].max() < absolute


def test_the_baseline_is_pyrcels(parcel: Parcel, peer):
    ours = parcel.ascents(peer["x"], count=4)
    assert ours["arg"] == pytest.approx(peer["arg_smax"], rel=1e-12)


def test_more_bins_change_the_labels_less_than_an_emulator_could_see(parcel: Parcel):
    x = _draw(256)
    exact = parcel.ascents(x, count=1024, rtol=1e-5, threads=2)["y"]
    errors = {bins: parcel.ascents(x, count=bins)["y"] - exact for bins in (64, 128, 256)}
    squares = {bins: np.mean(error**2) for bins, error in errors.items()}
    assert squares[128] < 5e-7, "a tenth of the mean square error of the best emulators in the literature"
    assert np.abs(errors[128]).max() < 0.02
    assert squares[64] > 4 * squares[128] > 16 * squares[256]


def test_a_finer_tolerance_converges(parcel: Parcel):
    x = _draw(128)
    exact = parcel.ascents(x, rtol=1e-8)["smax"]
    errors = [
        np.median(np.abs(parcel.ascents(x, rtol=rtol)["smax"] / exact - 1.0)) for rtol in (1e-3, 1e-4, 1e-5)
    ]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[1] < 1e-4


def test_a_stronger_updraft_supersaturates_more_and_activates_more(parcel: Parcel):
    x = np.repeat(_draw(40), 8, axis=0)
    x[:, UPDRAFT_COLUMN] = np.tile(100.0 * np.geomspace(*UPDRAFT, 8), 40)
    out = parcel.ascents(x)
    assert (np.diff(out["smax"].reshape(40, 8), axis=1) > 0.0).all()
    assert (np.diff(out["y"].reshape(40, 8, 4), axis=1) > -1e-4).all()


def test_more_particles_leave_less_supersaturation(parcel: Parcel):
    x = np.repeat(_draw(40), 4, axis=0)
    x[:, NUMBER] *= np.tile([1.0, 2.0, 4.0, 8.0], 40)[:, None]
    assert (np.diff(parcel.ascents(x)["smax"].reshape(40, 4), axis=1) < 0.0).all()


def test_more_soluble_particles_leave_less_supersaturation(parcel: Parcel):
    # their fraction mostly grows, but not always: as haze they can take more vapour than their lower threshold is worth
    x = np.repeat(_draw(40), 4, axis=0)
    x[:, KAPPA.start] = np.tile([0.05, 0.15, 0.45, 1.16], 40)
    out = parcel.ascents(x, count=512)
    assert (np.diff(np.log(out["smax"].reshape(40, 4)), axis=1) < 1e-3).all()
    assert np.mean(np.diff(out["y"][:, 0].reshape(40, 4), axis=1) > 0.0) > 0.9


def test_without_particles_to_speak_of_the_air_supersaturates_until_the_top(parcel: Parcel):
    x = _draw(4)
    x[:, NUMBER] = 1e-9
    out = parcel.ascents(x)
    assert (out["status"] == 1).all()
    assert (out["smax"] > 0.1).all()
    assert out["y"][:, 2] == pytest.approx(np.ones(4))


def test_every_corner_of_the_ranges_ends_well(parcel: Parcel):
    low = [TEMPERATURE[0], PRESSURE[0], HUMIDITY[0], 100 * UPDRAFT[0]]
    high = [TEMPERATURE[1], PRESSURE[1], HUMIDITY[1], 100 * UPDRAFT[1]]
    for side, bounds in ((0, low), (1, high)):
        bounds += [mode.number[side] for mode in MODES]
        bounds += [mode.diameter[side] / 2 for mode in MODES]
        bounds += [mode.kappa[side] for mode in MODES]
    corners = np.random.default_rng(3).integers(0, 2, (2048, 16))
    out = parcel.ascents(np.where(corners, high, low), threads=2)
    assert (out["status"] <= 1).all()
    assert np.isfinite(out["y"]).all()
    assert ((out["y"] >= 0.0) & (out["y"] <= 1.0)).all()


def test_the_number_of_threads_and_the_neighbours_change_nothing(parcel: Parcel):
    x = _draw(600)
    one, two = parcel.ascents(x, threads=1), parcel.ascents(x, threads=2)
    part = parcel.ascents(x[250:307], threads=2)
    for name in ("smax", "temperature", "y", "steps"):
        assert (one[name] == two[name]).all(), name
        assert (one[name][250:307] == part[name]).all(), name
