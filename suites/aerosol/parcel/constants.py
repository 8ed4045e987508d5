"""Physical constants, in SI units.

The values are those of pyrcel 2.0 (``pyrcel/constants.py``; Rothenberg and Wang 2016, doi:10.1175/JAS-D-15-0223.1), so
that the two models can be compared member by member.
"""

from __future__ import annotations

GRAVITY = 9.81
"""Acceleration of gravity, m s-2."""
HEAT_CAPACITY = 1004.0
"""Of dry air at constant pressure, J kg-1 K-1."""
LATENT_HEAT = 2.25e6
"""Of condensation of water, J kg-1."""
WATER_DENSITY = 1.0e3
"""kg m-3."""
GAS_CONSTANT = 8.314
"""J mol-1 K-1."""
WATER_MOLAR_MASS = 18.0e-3
"""kg mol-1."""
AIR_MOLAR_MASS = 28.9e-3
"""Of dry air, kg mol-1."""
DRY_AIR_CONSTANT = GAS_CONSTANT / AIR_MOLAR_MASS
"""J kg-1 K-1."""
MASS_RATIO = 0.622
"""Molar mass of water over that of dry air."""
VIRTUAL = 0.61
"""Virtual temperature: T (1 + 0.61 w), w the mixing ratio of vapour."""
CONDENSATION_COEFFICIENT = 1.0
"""Mass accommodation of water on a droplet."""
THERMAL_ACCOMMODATION = 0.96
"""Of air on a droplet."""
FREEZING = 273.15
"""0 degrees Celsius in K."""
