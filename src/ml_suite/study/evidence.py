"""What a pilot measured: the same configurations at several sizes of the data, as numbers for correlations and regrets.

From the replicate correlation at a share `p` and the correlation between `p` and a larger `q` follows how well `p`
ranks trials on everything: two trainings at `p` agree because each agrees with what `p` says on the average, so
``reliability = sqrt(replicate rho)``; what is lost between `p` and `q` beyond that is lost again at every doubling
that is left. Biases of small subsets can grow on the way (a high learning rate looks good in few steps), so a few
trainings on everything, *anchors*, are worth more than any extrapolation, and are used as soon as there are enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ml_suite.study import copula, pilot_rungs
from ml_suite.study import regret as regrets
from ml_suite.study.contract import Cuts, Rungs, TrialResult, TrialState
from ml_suite.study.copula import Agreement
from ml_suite.study.losses import Scale, normal_scores, spread
from ml_suite.study.regret import Evidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Basis = Literal["measured", "extrapolated", "none"]
"""Whether trainings on everything back a statement, or only smaller sizes, or nothing."""


LOST = (0.7, 1.0)
"""Part of an extrapolated correlation that is left on everything, drawn between these where no anchor tells."""

TRUSTED = 8
"""Anchors that weigh as much as the extrapolation."""


@dataclass(frozen=True)
class Sized:
    """Losses of the pilot's configurations at one size of the training data."""

    share: float
    trials: tuple[int, ...]
    """All configurations of the pilot, ascending."""
    losses: NDArray[np.float64]
    """On the scale of `Scale`, [replicates, trials]; NaN where not trained or not finite."""
    order: NDArray[np.float64] | None = None
    """Places in the ranking after the rungs of step 1, [replicates, trials]; None: there are none."""
    early: NDArray[np.float64] | None = None
    """Losses at the rungs of step 2, [rungs, replicates, trials]; None where the histories do not tell."""

    @property
    def ranking(self) -> NDArray[np.float64]:
        """What step 1 would rank by, [replicates, trials]; small is good."""
        return self.losses if self.order is None else self.order

    @property
    def points(self) -> int:
        """Configurations that have a loss."""
        import numpy as np

        return int(np.isfinite(self.losses).any(axis=0).sum())

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over replicates, [trials]."""
        import numpy as np

        known = np.isfinite(self.losses)
        total = np.where(known, self.losses, 0.0).sum(axis=0)
        return np.where(known.any(axis=0), total / np.maximum(known.sum(axis=0), 1), np.nan)


def gather(
    parts: Mapping[tuple[float, int], Sequence[TrialResult]],
    direction: str,
    others: Sequence[TrialResult] = (),
    rungs: Rungs | None = None,
    cuts: Cuts | None = None,
) -> tuple[list[Sized], Scale]:
    """Put results of a pilot by (share, replicate) in order.

    Parameters
    ----------
    others
        Results that are measured on the same scale.
    rungs, cuts
        Of step 1 and step 2, as far as they are to be followed in the histories of the pilot's trainings.

    A training that diverged or failed has no loss: nothing is said about it.
    """
    import numpy as np

    values = {key: {r.trial: _value(r) for r in results} for key, results in parts.items()}
    trials = tuple(sorted({trial for found in values.values() for trial in found}))
    scale = Scale.of(
        direction, [*(v for found in values.values() for v in found.values()), *map(_value, others)]
    )
    sizes = []
    for share in sorted({share for share, _ in parts}):
        own = [key for key in sorted(parts) if key[0] == share]
        rows = [[values[key].get(trial, math.nan) for trial in trials] for key in own]
        size = Sized(share, trials, scale.losses(np.array(rows, float)))
        told = [{r.trial: pilot_rungs.course(r) for r in parts[key]} for key in own]
        if all(course.history for found in told for course in found.values()):
            order = pilot_rungs.ordered(size, told, rungs, direction) if rungs and share < 1 else None
            size = replace(
                size, order=order, early=pilot_rungs.early(size, told, cuts, scale) if cuts else None
            )
        sizes.append(size)
    return sizes, scale


def _value(result: TrialResult) -> float:
    good = result.state is TrialState.COMPLETE and result.value is not None
    return float(result.value) if good and result.value is not None else math.nan


def at(sizes: Sequence[Sized], share: float) -> Sized | None:
    """Return what was measured at a share."""
    return next((s for s in sizes if math.isclose(s.share, share)), None)


def replicate(size: Sized | None, confidence: float) -> Agreement | None:
    """Agreement of two trainings of the same configurations on two subsets of a size."""
    if size is None or len(size.losses) < 2:
        return None
    return copula.agreement(size.losses[0], size.losses[1], confidence)


def between(first: Sized | None, second: Sized | None, confidence: float) -> Agreement | None:
    """Agreement of single trainings at two sizes: what a ranking at one is worth at the other."""
    if first is None or second is None:
        return None
    return copula.agreement(first.losses[0], second.losses[0], confidence)


def transfers(
    sizes: Sequence[Sized], share: float, draws: int = 200, seed: int = 0
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Reliability of a ranking at a share, and what is left of it on everything, by extrapolation.

    Returns
    -------
    reliability, left
        Correlations of a single training's rank with what that share says on the average, and of that with everything,
        each for bootstrap samples of the configurations, [draws]. None without two replicates and a larger size.
    """
    import numpy as np

    size = at(sizes, share)
    larger = _larger(sizes, share)
    if size is None or len(size.losses) < 2 or not larger:
        return None
    # the nearest larger one that has replicates itself, for only then its own noise is known
    best = max(larger, key=lambda s: (len(s.losses) > 1, s.share))
    rows = [*size.ranking[:2], *best.losses[:2]]
    known = np.isfinite(np.array(rows)).all(axis=0)
    data = np.array(rows)[:, known]
    if data.shape[1] < copula.MINIMUM:
        return None
    count = data.shape[1]
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws)

    def correlation(first: int, second: int) -> NDArray[np.float64]:
        taus = copula.resampled(data[first], data[second], weights)
        return np.maximum(0.0, np.sin(np.pi * taus / 2))

    own = np.maximum(correlation(0, 1), 1e-6)
    # a larger size is at least as reliable
    other = np.maximum(own, correlation(2, 3)) if len(data) > 3 else own
    across = np.mean([correlation(i, j) for i in (0, 1) for j in range(2, len(data))], axis=0)
    latent = np.minimum(1.0, across / np.sqrt(own * other))
    doublings = math.log2(best.share / share)
    return np.sqrt(own), latent ** (math.log2(1 / share) / doublings)


def noise(sizes: Sequence[Sized]) -> float:
    """Noise of training at the largest size with replicates; NaN without any."""
    for size in sorted(sizes, key=lambda s: -s.share):
        if not math.isnan(found := spread(size.losses)):
            return found
    return math.nan


def evidence(
    sizes: Sequence[Sized], share: float, draws: int = 200, seed: int = 0
) -> tuple[list[Evidence], Basis]:
    """Say what is known of losses on everything, given scores at a share.

    Anchors are few, and can mislead by chance; the extrapolation has many configurations, and can be biased. Both are
    used, the anchors with the larger weight the more there are.
    """
    import numpy as np

    size = at(sizes, share)
    if size is None or size.points < copula.MINIMUM:
        return [], "none"
    own = noise(sizes)
    known: list[Evidence] = []
    full = at(sizes, 1.0)
    if full is not None and full.points >= regrets.LEAST and share < 1:
        known.append(_pairs(size, full, own, None, full.points / TRUSTED))
    larger = _larger(sizes, share)
    found = transfers(sizes, share, draws, seed)
    if larger and found is not None:
        best = max(larger, key=lambda s: s.share)
        # the pairs hold what is lost up to that size; the doublings beyond weaken the scores further
        beyond = math.log2(1 / best.share) / math.log2(1 / share)
        stretched = replace(best, losses=best.losses * _stretch(best, full))
        left = np.clip(found[1] ** beyond, 0.0, 1.0)
        if not known:
            left = left * np.random.default_rng(seed).uniform(*LOST, len(left))
        known.append(_pairs(size, stretched, own, left, 1.0))
    if not known:
        return [], "none"
    early = pilot_rungs.lag(sizes)
    known = [replace(found, early=early) for found in known]
    return known, "extrapolated" if known[0].transfer is not None else "measured"


def _larger(sizes: Sequence[Sized], share: float) -> list[Sized]:
    """Sizes at which all configurations were trained; anchors are chosen, and too few."""
    return [s for s in sizes if s.share > share and s.points >= max(copula.MINIMUM, 0.75 * len(s.trials))]


def _stretch(size: Sized, full: Sized | None) -> float:
    """How much further apart losses lie on everything than at a size: anchors tell, where there are enough."""
    import numpy as np

    if full is None or full.points < regrets.LEAST:
        return 1.0
    known = np.isfinite(size.mean) & np.isfinite(full.mean)
    if known.sum() < regrets.LEAST:
        return 1.0
    before, after = size.mean[known].std(), full.mean[known].std()
    return float(np.clip(after / before, 0.1, 3.0)) if before > 0 else 1.0


def _pairs(
    size: Sized, full: Sized, noise: float, transfer: NDArray[np.float64] | None, weight: float
) -> Evidence:
    import numpy as np

    losses = full.mean
    scores, pairs = [], []
    for row in size.ranking:
        found = normal_scores(row)
        known = np.isfinite(found) & np.isfinite(losses)
        scores.append(found[known])
        pairs.append(losses[known])
    own = 0.0 if math.isnan(noise) else noise
    own = min(own, 0.7 * float(np.nanstd(losses)))
    distinct = int((np.isfinite(size.mean) & np.isfinite(losses)).sum())
    return Evidence(np.concatenate(scores), np.concatenate(pairs), own, distinct, transfer, weight)


def anchors(sizes: Sequence[Sized], count: int) -> list[int]:
    """Choose trials to be trained on everything: spread over the ranking at the largest size, its best among them.

    More of them lie among the better ones, for there the winner is decided.
    """
    import numpy as np

    size = max((s for s in sizes if s.share < 1), key=lambda s: s.share)
    mean = size.mean
    ranked = [i for i in np.argsort(mean) if np.isfinite(mean[i])]
    count = min(count, len(ranked))
    if count < 1:
        return []
    places = {round((len(ranked) - 1) * (i / max(1, count - 1)) ** 1.5) for i in range(count)}
    spare = [i for i in range(len(ranked)) if i not in places]
    chosen = sorted(places) + spare[: count - len(places)]
    return sorted(size.trials[ranked[i]] for i in chosen)
