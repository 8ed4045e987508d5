"""Sobol points for a search: they fill the space more evenly than random ones, and need no coordinator either.

The points are those of `scipy.stats.qmc.Sobol` without its scrambling, which depends on NumPy's random numbers. They
are scrambled here by a hash (Laine and Karras 2011; Burley 2020, "Practical hash-based Owen scrambling") whose seed is
SHA-256 of ``SEED/sobol/KEY``: the same everywhere and always. Each hyperparameter and each value that a list may have
has a coordinate of its own, in the order of the space. Trial *i* is the *i*-th point that fulfils the constraints.
"""

from __future__ import annotations

import hashlib
from threading import Lock
from typing import TYPE_CHECKING, Any

from ml_suite.errors import StudyError
from ml_suite.study.sampling import ATTEMPTS, refused
from ml_suite.study.space import Space

if TYPE_CHECKING:
    from numpy import uint32
    from numpy.typing import NDArray

MOST = 21_201
"""Coordinates of which the direction numbers are known."""

_BITS = 32
_CHUNK = 1024


class Sobol:
    """Draws trials one after the other and remembers them."""

    def __init__(self, given: Space, seed: int) -> None:
        """Prepare the sequence.

        Raises
        ------
        StudyError
            If the space has too many coordinates.
        """
        self.given = given
        self.seed = seed
        self.keys = given.keys
        if len(self.keys) > MOST:
            raise StudyError(
                f"the space has {len(self.keys)} coordinates, and Sobol points have at most {MOST}",
                "Write `sampling: random`, or lower the ranges that `per` names.",
            )
        self._found: list[dict[str, Any]] = []
        self._point = 0
        """Next point to be looked at."""
        self._alone = Lock()

    def draw(self, trial: int) -> dict[str, Any]:
        """Hyperparameters of a trial.

        Raises
        ------
        StudyError
            If `sampling.ATTEMPTS` points in a row do not fulfil the constraints.
        """
        with self._alone:
            self._extend(trial)
        return dict(self._found[trial])

    def _extend(self, trial: int) -> None:
        missed = 0
        while trial >= len(self._found):
            for row in points(self.keys, self.seed, self._point, _CHUNK).tolist():
                self._point += 1
                values = self.given.place(dict(zip(self.keys, row, strict=True)).__getitem__)
                if values is not None:
                    self._found.append(values)
                    missed = 0
                elif (missed := missed + 1) >= ATTEMPTS:
                    raise refused(self.given, f"Sobol point {self._point}", ATTEMPTS)


def points(keys: list[str], seed: int, first: int, count: int) -> Any:
    """Points of the scrambled sequence.

    Returns
    -------
    array of shape [count, keys]
        Numbers of [0, 1).

    Raises
    ------
    StudyError
        If scipy is not installed.
    """
    import warnings

    import numpy as np

    try:
        from scipy.stats import qmc
    except ImportError as error:
        raise StudyError(
            "sampling: sobol needs scipy, which this environment does not have",
            "Install it (`pip install 'ml-suite[study]'`), or write `sampling: random`.",
        ) from error

    sequence = qmc.Sobol(len(keys), scramble=False, bits=_BITS)
    if first:
        sequence.fast_forward(first)
    with warnings.catch_warnings():
        # about balance, which counts for the whole sequence and not for a part of it
        warnings.simplefilter("ignore", UserWarning)
        whole = (sequence.random(count) * 2.0**_BITS).astype(np.uint32)
    seeds = [hashlib.sha256(f"{seed}/sobol/{key}".encode()).digest()[:4] for key in keys]
    words = np.array([int.from_bytes(word, "big") for word in seeds], dtype=np.uint32)
    return _scramble(whole, words) * 2.0**-_BITS


def _scramble(points: NDArray[uint32], seeds: NDArray[uint32]) -> NDArray[uint32]:
    """Owen scrambling: a bit is flipped by what the bits above it are."""
    import numpy as np

    x = _reverse(points) + seeds
    for factor in (0x6C50B47C, 0xB82F1E52, 0xC7AFE638, 0x8D22F6E6):
        x ^= x * np.uint32(factor)
    return _reverse(x)


def _reverse(x: NDArray[uint32]) -> NDArray[uint32]:
    """Turn the order of the bits around."""
    import numpy as np

    for shift, mask in ((1, 0x55555555), (2, 0x33333333), (4, 0x0F0F0F0F), (8, 0x00FF00FF)):
        s, m = np.uint32(shift), np.uint32(mask)
        x = ((x >> s) & m) | ((x & m) << s)
    return (x >> np.uint32(16)) | (x << np.uint32(16))
