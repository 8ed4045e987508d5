"""Which samples of a table a study trains, validates and tests on: exact, and the same on every machine.

Samples are put in a random order that depends on nothing but their numbers and a seed: a hash of each number
(splitmix64, Steele, Lea and Flood 2014), then the number itself. The subset of a share is the start of that order, so a
larger subset contains every smaller one, and no version of NumPy can change it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml_suite.errors import StudyError
from ml_suite.quantities import format_fraction

if TYPE_CHECKING:
    from numpy import int64, uint64
    from numpy.typing import NDArray

_GOLDEN = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Parts:
    """Sample numbers of the parts of a table, each sorted; they share none."""

    training: NDArray[int64]
    validation: NDArray[int64]
    test: NDArray[int64]


def order(n: int, seed: int) -> NDArray[int64]:
    """Numbers 0 to N - 1 in a random order that the seed decides.

    >>> order(6, 0).tolist()
    [3, 0, 4, 2, 1, 5]
    """
    import numpy as np

    return _ordered(np.arange(n, dtype=np.int64), seed, "subset")


def subset(samples: NDArray[int64], share: float, seed: int, batch: int = 1) -> NDArray[int64]:
    """Random part of some samples, sorted; a larger share contains every smaller one.

    Parameters
    ----------
    samples
        Sample numbers, as of `Parts.training`.
    share
        In (0, 1]; the part has `round(share * len(samples))` samples.
    batch
        Samples of one optimiser step.

    Raises
    ------
    StudyError
        If the part is smaller than a batch.
    """
    import numpy as np

    count = round(share * len(samples))
    if count < max(batch, 1):
        enough = min(100.0, 100 * max(batch, 1) / max(len(samples), 1))
        raise StudyError(
            f"a subset of {format_fraction(share)} of {len(samples):,} samples has {count:,}, "
            f"and a batch has {batch:,}",
            f"Write at least `subset: {_rounded_up(enough)}%`, or a smaller batch."
            if len(samples) >= batch
            else "Write a smaller batch; the training data have fewer samples than one.",
        )
    return np.sort(_ordered(samples, seed, "subset")[:count])


def split(samples: int, validation: float, test: float, seed: int) -> Parts:
    """Part a table into training, validation and test samples.

    Validation has `round(validation * samples)` samples and test `round(test * samples)`, whatever the other is;
    the rest is for training.

    Raises
    ------
    StudyError
        If a part would have no sample.
    """
    import numpy as np

    counts = {"validation": round(validation * samples), "test": round(test * samples)}
    counts["training"] = samples - sum(counts.values())
    for name, count in counts.items():
        if count <= 0:
            raise StudyError(
                f"of {samples:,} samples {format_fraction(validation)} for validation and {format_fraction(test)} for "
                f"test leave {max(count, 0)} for {name}",
                "Change data.validation or data.test.",
            )
    mixed = _ordered(np.arange(samples, dtype=np.int64), seed, "validation")
    kept, rest = mixed[: counts["validation"]], np.sort(mixed[counts["validation"] :])
    tested = _ordered(rest, seed, "test")
    return Parts(
        training=np.sort(tested[counts["test"] :]),
        validation=np.sort(kept),
        test=np.sort(tested[: counts["test"]]),
    )


def digest(indices: NDArray[int64]) -> str:
    """SHA-256 of the sorted sample numbers as 64-bit little-endian integers, hexadecimal."""
    import numpy as np

    return hashlib.sha256(np.ascontiguousarray(np.sort(indices), dtype="<i8").data).hexdigest()


def _ordered(samples: NDArray[int64], seed: int, key: str) -> NDArray[int64]:
    """Samples in the order of their hashes; KEY makes orders that know nothing of each other."""
    import numpy as np

    start = int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8], "big")
    # the hash is a bijection, so no two are equal and the kind of sorting does not matter
    return samples[np.argsort(_mix(samples.astype(np.uint64), start))]


def _mix(numbers: NDArray[uint64], start: int) -> NDArray[uint64]:
    """Number N of the splitmix64 generator that begins at START, of every N at once."""
    import numpy as np

    z = (numbers + np.uint64(1)) * np.uint64(_GOLDEN) + np.uint64(start & _MASK)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(_FIRST)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(_SECOND)
    return z ^ (z >> np.uint64(31))


def _rounded_up(percent: float) -> str:
    """Percentage that is at least this, in two digits."""
    text = f"{percent:.2g}"
    if float(text) < percent:
        text = f"{percent * 1.06:.2g}"
    return f"{min(float(text), 100):.10g}"
