"""Values of a metric as losses, so that differences are ratios and small is good; ranks as normal scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Scale:
    """From values of the metric to losses and back to regrets."""

    maximise: bool
    relative: bool
    """Losses are logarithms, and a regret is a part of the best value; otherwise it is in units of the metric."""

    @classmethod
    def of(cls, direction: str, values: ArrayLike) -> Scale:
        """Choose the scale for values of a metric: relative where all of them are positive."""
        import numpy as np

        known = np.asarray(values, float)
        known = known[np.isfinite(known)]
        return cls(direction == "maximize", bool(len(known) and (known > 0).all()))

    def losses(self, values: Any) -> NDArray[np.float64]:
        """Losses of values, an array or a list; NaN where a value is None or not finite."""
        import numpy as np

        given = np.asarray(values, float)
        usable = np.isfinite(given) & ((given > 0) | (not self.relative))
        told = np.full(given.shape, np.nan)
        told[usable] = np.log(given[usable]) if self.relative else given[usable]
        return -told if self.maximise else told

    def values(self, losses: ArrayLike) -> NDArray[np.float64]:
        """Values of losses: the inverse of `losses`."""
        import numpy as np

        told: NDArray[np.float64] = np.asarray(losses, float) * (-1.0 if self.maximise else 1.0)
        return np.exp(told) if self.relative else told

    def regret(self, difference: ArrayLike) -> NDArray[np.float64]:
        """Regret of a difference of losses: 0.04 is 4 % worse than the best."""
        import numpy as np

        given = np.asarray(difference, float)
        if not self.relative:
            return given
        lost: NDArray[np.float64] = -np.expm1(-given) if self.maximise else np.expm1(given)
        return lost


def normal_scores(values: ArrayLike, among: ArrayLike | None = None) -> NDArray[np.float64]:
    """Normal scores of the ranks of values among others; by default among themselves.

    >>> [round(float(z), 2) for z in normal_scores([30.0, 10.0, 20.0])]
    [0.67, -0.67, 0.0]
    """
    import numpy as np
    from scipy.stats import norm

    given = np.asarray(values, float)
    known = np.asarray(given if among is None else among, float).ravel()
    known = np.sort(known[np.isfinite(known)])
    places = (np.searchsorted(known, given, "left") + np.searchsorted(known, given, "right") + 1) / 2
    # of a value among itself the rank is 1 to n
    count = len(known)
    shares = np.clip(places / (count + 1), 0.5 / (count + 1), 1 - 0.5 / (count + 1))
    return np.where(np.isfinite(given), norm.ppf(shares), np.nan)


def spread(values: ArrayLike) -> float:
    """Noise of training: standard deviation between replicates [replicates, trials], of the better half of trials.

    The worse half is left out: networks that do not train scatter without end, and never win. NaN without replicates.
    """
    import numpy as np

    given = np.asarray(values, float)
    if given.ndim != 2 or given.shape[0] < 2:
        return math.nan
    full = given[:, np.isfinite(given).all(axis=0)]
    if full.shape[1] == 0:
        return math.nan
    mean = full.mean(axis=0)
    better = full[:, mean <= np.median(mean)]
    return float(np.sqrt(better.var(axis=0, ddof=1).mean()))
