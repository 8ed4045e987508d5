"""Root mean square errors, area weighted, added up state by state so that no forecast is kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ml_suite.evaluation.scores import Table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def area_weights(latitudes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weights proportional to the cosine of the latitude.

    Parameters
    ----------
    latitudes
        Degrees, shape (points,).
    """
    import numpy as np

    # a pole stored as 90.0000001 must not get a negative area
    return np.clip(np.cos(np.deg2rad(latitudes.astype(np.float64))), 0.0, None)


@dataclass
class ErrorSums:
    """Running sums of weighted squared errors by variable and lead time.

    Parameters
    ----------
    weights
        Shape (points,).
    leads
        Number of lead times.
    """

    weights: NDArray[np.float64]
    leads: int
    _errors: dict[str, list[float]] = field(default_factory=dict)
    _areas: dict[str, list[float]] = field(default_factory=dict)

    def add(
        self, variable: str, lead: int, forecast: NDArray[np.floating], truth: NDArray[np.floating]
    ) -> None:
        """Add one field.

        Parameters
        ----------
        lead
            Index of the lead time.
        forecast, truth
            Shape (points,); a point that is NaN in either is left out.
        """
        import numpy as np

        error = np.asarray(forecast, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
        valid = np.isfinite(error)
        weights = self.weights[valid]
        errors = self._errors.setdefault(variable, [0.0] * self.leads)
        areas = self._areas.setdefault(variable, [0.0] * self.leads)
        errors[lead] += float(np.dot(weights, error[valid] ** 2))
        areas[lead] += float(weights.sum())

    def rmse(self) -> Table:
        """Root of the weighted mean square error; None where no point was valid."""
        return {
            name: [
                (squares / area) ** 0.5 if area > 0 else None
                for squares, area in zip(errors, self._areas[name], strict=True)
            ]
            for name, errors in sorted(self._errors.items())
        }


def skill(rmse: Table, reference: Table) -> Table:
    """1 - rmse / reference; None where either is missing or the reference is perfect."""
    return {name: _skill(row, reference[name]) for name, row in rmse.items() if name in reference}


def _skill(row: Sequence[float | None], reference: Sequence[float | None]) -> list[float | None]:
    return [
        None if value is None or not other else 1 - value / other
        for value, other in zip(row, reference, strict=True)
    ]
