"""What goes in: the 16 inputs of the emulator, their ranges, and how they are drawn.

The inputs are those of Yu et al. (2023, doi:10.1175/AIES-D-23-0013.1), in their units. They took them from a year of a
climate simulation (E3SM); here each is drawn independently, so that the whole box is covered evenly.

MAM4, the four-mode aerosol module of E3SM (Liu et al. 2016, doi:10.5194/gmd-9-505-2016), fixes the widths of its modes
and keeps their number-median diameters between bounds. Both are written down in mam4xx, E3SM's own port of it
(https://github.com/eagles-project/mam4xx, src/mam4xx/aero_modes.hpp), as are the hygroscopicities of the species
(src/mam4xx/ndrop.hpp): sulphate 0.507, sea salt 1.16, secondary organics 0.14, marine organics 0.1, dust 0.068, primary
organics and soot 1e-10. The hygroscopicity of a mode is their mean by volume, so its bounds follow from what the mode
may hold. Number concentrations have no bounds in the model: those are ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from scipy.stats import norm, qmc


@dataclass(frozen=True)
class Mode:
    """A lognormal mode of MAM4 and the box it is drawn from; all three ranges log-uniform."""

    name: str
    sigma: float
    """Geometric standard deviation."""
    diameter: tuple[float, float]
    """Number-median dry diameter, um: `min_diameter`, `max_diameter` of aero_modes.hpp."""
    number: tuple[float, float]
    """Concentration, cm-3: ours, from clean marine air to polluted boundary layers."""
    kappa: tuple[float, float]
    """Hygroscopicity."""


MODES = (
    # holds every species: 1.16 is pure sea salt, below 0.05 it would be soot and primary organics by 90 %
    Mode("accumulation", 1.8, (0.0535, 0.44), (5.0, 3000.0), (0.05, 1.16)),
    # sulphate, secondary and marine organics, sea salt
    Mode("aitken", 1.6, (0.0087, 0.052), (5.0, 10000.0), (0.1, 1.16)),
    # dust to sea salt; other species get here only from evaporated rain
    Mode("coarse", 1.8, (1.0, 4.0), (1e-3, 10.0), (0.068, 1.16)),
    # primary organics, soot and marine organics: 0.1 is pure marine, and 1e-10 pure soot, which does not activate
    Mode("primary carbon", 1.6, (0.01, 0.1), (1.0, 3000.0), (0.001, 0.1)),
)
SIGMA = np.array([mode.sigma for mode in MODES])
PRESSURE = (400.0, 1020.0)
"""hPa; ours: where warm clouds are."""
SPREAD = 8.0
"""Standard deviation of temperature around the standard atmosphere's, K; ours."""
TEMPERATURE = (240.0, 312.0)
"""Bounds of it, K; ours: liquid water exists down to about 235 K."""
HUMIDITY = (0.80, 0.999)
"""Of the start; ours: clearly below saturation, so that the particles can be put into equilibrium."""
UPDRAFT = (0.1, 10.0)
"""m s-1, log-uniform: E3SM's `wmixmin` (ndrop.F90) and its upper bound of the subgrid updraft (microp_aero.F90)."""

INPUTS = (
    "tair", "pressure", "rh", "wbar",
    *(f"num_aer{i}" for i in range(4)), *(f"r_aer{i}" for i in range(4)), *(f"kappa{i}" for i in range(4)),
)  # fmt: skip
"""K, hPa, 1, cm s-1, cm-3, um (number-median dry radius), 1."""
TARGETS = tuple(f"fn{i}" for i in range(4))
"""Activated fraction of the number in each mode."""

_STANDARD_TEMPERATURE, _STANDARD_PRESSURE, _STANDARD_EXPONENT = 288.15, 1013.25, 0.190263
# draws at a time; a power of two, as Sobol points want it
_BLOCK = 4096


@dataclass(frozen=True)
class Members:
    """Samples in SI units; arrays [samples] and [samples, modes]."""

    temperature: np.ndarray
    pressure: np.ndarray
    humidity: np.ndarray
    updraft: np.ndarray
    number: np.ndarray
    radius: np.ndarray
    kappa: np.ndarray

    @classmethod
    def of(cls, inputs: np.ndarray) -> Members:
        """From the inputs of the emulator [samples, 16]."""
        x = np.asarray(inputs, dtype=np.float64)
        return cls(
            temperature=x[:, 0].copy(),
            pressure=x[:, 1] * 100.0,
            humidity=x[:, 2].copy(),
            updraft=x[:, 3] * 0.01,
            number=x[:, 4:8] * 1e6,
            radius=x[:, 8:12] * 1e-6,
            kappa=x[:, 12:16].copy(),
        )

    def __len__(self) -> int:
        return len(self.temperature)


def _log_uniform(low: np.ndarray, high: np.ndarray, u: np.ndarray) -> np.ndarray:
    return np.asarray(low * (high / low) ** u)


def inputs(uniform: np.ndarray) -> np.ndarray:
    """Points of the unit cube [samples, 16] as inputs of the emulator.

    They are single precision, as they are stored: a label belongs to exactly the inputs beside it.
    """
    u = np.asarray(uniform, dtype=np.float64)
    pressure = PRESSURE[0] + u[:, 0] * (PRESSURE[1] - PRESSURE[0])
    standard = _STANDARD_TEMPERATURE * (pressure / _STANDARD_PRESSURE) ** _STANDARD_EXPONENT
    temperature = np.clip(standard + SPREAD * norm.ppf(np.clip(u[:, 1], 1e-4, 1.0 - 1e-4)), *TEMPERATURE)
    humidity = HUMIDITY[0] + u[:, 2] * (HUMIDITY[1] - HUMIDITY[0])
    updraft = 100.0 * UPDRAFT[0] * (UPDRAFT[1] / UPDRAFT[0]) ** u[:, 3]
    number, diameter, kappa = (
        np.array([getattr(mode, field) for mode in MODES]).T for field in ("number", "diameter", "kappa")
    )
    return np.column_stack(
        [
            temperature,
            pressure,
            humidity,
            updraft,
            _log_uniform(*number, u[:, 4:8]),
            _log_uniform(*(diameter / 2.0), u[:, 8:12]),
            _log_uniform(*kappa, u[:, 12:16]),
        ]
    ).astype(np.float32)


def blocks(seed: int) -> Iterator[np.ndarray]:
    """Inputs along a scrambled Sobol sequence without end, in blocks [4096, 16].

    Point i depends on the seed and i alone, so that a larger data set begins with the smaller one.
    """
    sequence = qmc.Sobol(len(INPUTS), scramble=True, seed=seed)
    while True:
        yield inputs(sequence.random(_BLOCK))


def first(points: int, seed: int) -> np.ndarray:
    """The first inputs of the sequence [points, 16]."""
    count = -(-points // _BLOCK)
    return np.concatenate(list(islice(blocks(seed), count)))[:points]
