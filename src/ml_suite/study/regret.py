"""How much worse than the true best the winner of two steps is: predicted from a pilot, and judged after the search.

Everything works on *losses on a scale*: the logarithm of the metric where that is positive, so that differences are
ratios, with the sign that makes small good. A *score* is the normal score of a trial's rank in step 1.

What a trial would reach on everything, given its score, is described by a `Relation` that is fitted to the trials that
were trained on everything. Its residuals are resampled rather than taken as normal: losses have a floor, and a normal
tail would invent trials below it. Several shapes share the draws by how well they explain what was seen: a line in the
loss or in the logarithm of the excess over the best seen, bent where the better half begins. Each draw fits another
bootstrap sample, so the uncertainty of a small pilot is in the interval.

A simulated search then draws all trials, keeps the best by score, trains them with noise, and names a winner as the
study does. A rank copula alone (`ml_suite.study.copula`) is too rosy at the top, where trials differ by less than the
noise of their training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ml_suite.quantities import part_of
from ml_suite.study.ranking import FURTHER

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import ArrayLike, NDArray

LEAST = 4
"""Trainings on everything below which nothing is said about values."""

DEPTH = 0.5
"""How far below the best seen an unseen trial may lie, as a part of the median excess over the best seen."""

WIDTH = 1.2
"""Width of the kernel around resampled residuals, in units of Silverman's rule."""


BEND = (-0.5, 1.0)
"""Weight that scores have among the better half, drawn between these: there the ranking is worth less than a
correlation over all trials says, and where a small subset prefers what trains fast it can even mislead."""


@dataclass(frozen=True)
class Search:
    """The search whose regret is asked for."""

    trials: int
    kept: int
    finalists: int = 0
    """Candidates that are trained again with other seeds; 0: the best single training wins."""
    replicates: int = 1
    """Trainings of a finalist in all."""
    keep: float = 1.0
    """Part of the candidates that goes on after each rung of step 2."""


@dataclass(frozen=True)
class Evidence:
    """Trials that were trained on everything."""

    scores: NDArray[np.float64]
    """Normal scores of step 1, [trials]."""
    losses: NDArray[np.float64]
    """On everything, [trials]."""
    noise: float
    """Standard deviation between trainings of one trial on everything."""
    distinct: int
    """Trials behind the pairs; one that was scored twice counts once."""
    transfer: NDArray[np.float64] | None = None
    """Correlations by which scores are weaker than where they were measured, one of them for each draw; None where
    the losses really are of everything."""
    weight: float = 1.0
    """Beside other evidence."""
    early: tuple[float, ...] = ()
    """How far a training misleads at each rung of step 2 about its end, as a standard deviation."""


@dataclass(frozen=True)
class Relation:
    """Losses on everything given scores."""

    excess: bool
    floor: float
    """Loss that no trial falls below, of the shape `excess`."""
    centre: float
    slope: float
    score: float
    """Mean score, bent."""
    bend: float
    """Weight of scores among the better half."""
    residuals: NDArray[np.float64]
    width: float

    def draw(self, scores: NDArray[np.float64], random: Generator) -> NDArray[np.float64]:
        """Draw what trials of these scores would reach."""
        import numpy as np

        picked = self.residuals[random.integers(0, len(self.residuals), scores.shape)]
        told = self.centre + self.slope * (_bent(scores, self.bend) - self.score)
        told = told + picked + self.width * random.standard_normal(scores.shape)
        return self.floor + np.exp(told) if self.excess else told


@dataclass(frozen=True)
class Shape:
    """A way in which losses may depend on scores."""

    excess: bool
    bend: float


def shapes(evidence: Evidence) -> tuple[list[Shape], NDArray[np.float64]]:
    """Return the shapes that are considered, and how well each explains the evidence: weights that add up to 1."""
    import numpy as np

    several = [Shape(excess, bend) for excess in (False, True) for bend in np.linspace(*BEND, 7)]
    floor = _floor(evidence)
    share = evidence.distinct / len(evidence.losses)
    likely = []
    for shape in several:
        y = np.log(evidence.losses - floor) if shape.excess else evidence.losses
        *_, residuals = _line(_bent(evidence.scores, shape.bend), y)
        deviation = max(math.sqrt(float(residuals @ residuals) / len(y)), 1e-9)
        likely.append(-share * (len(y) * math.log(deviation) + (float(y.sum()) if shape.excess else 0.0)))
    weights = np.exp(np.array(likely) - max(likely))
    return several, weights / weights.sum()


def relation(evidence: Evidence, shape: Shape, random: Generator) -> Relation:
    """Fit a shape to a bootstrap sample of the evidence."""
    import numpy as np

    losses, count = evidence.losses, len(evidence.losses)
    picked = random.integers(0, count, count)
    if len(set(picked.tolist())) < LEAST:
        picked = np.arange(count)
    floor = _floor(evidence)
    y = np.log(losses[picked] - floor) if shape.excess else losses[picked]
    centre, slope, score, residuals = _line(_bent(evidence.scores[picked], shape.bend), y)
    # pairs of one trial are no independent ones
    residuals = residuals * math.sqrt(evidence.distinct / max(1, evidence.distinct - 2))
    deviation = math.sqrt(float(residuals @ residuals) / count)
    if not shape.excess:
        # what the residuals have of the noise of training is no difference between trials
        own = math.sqrt(max(deviation**2 - evidence.noise**2, 0.5 * deviation**2))
        residuals = residuals * (own / deviation if deviation > 0 else 1.0)
        deviation = own
    return Relation(
        excess=shape.excess,
        floor=floor,
        centre=centre,
        slope=slope,
        score=score,
        bend=shape.bend,
        residuals=residuals,
        width=WIDTH * 0.9 * deviation * evidence.distinct**-0.2,
    )


def _floor(evidence: Evidence) -> float:
    import numpy as np

    best = float(evidence.losses.min())
    return best - max(DEPTH * float(np.median(evidence.losses - best)), evidence.noise, 1e-12)


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float, NDArray[np.float64]]:
    """Centre, slope that is not negative, mean of x, and residuals."""
    centred = x - x.mean()
    across = float(centred @ centred)
    slope = max(0.0, float(centred @ (y - y.mean())) / across) if across > 0 else 0.0
    return float(y.mean()), slope, float(x.mean()), y - y.mean() - slope * centred


def _bent(scores: NDArray[np.float64], bend: float) -> NDArray[np.float64]:
    import numpy as np

    return np.where(scores < 0, bend * scores, scores)


@dataclass(frozen=True)
class Simulated:
    """Simulated searches."""

    regret: NDArray[np.float64]
    """Difference of losses between winner and true best, [draws]."""
    rank: NDArray[np.int64]
    """True rank of the winner, [draws]."""
    kept: NDArray[np.bool_]
    """Whether the true best was trained on everything, [draws]."""


def predict(evidence: Sequence[Evidence], search: Search, draws: int = 400, seed: int = 0) -> Simulated:
    """Simulate searches before they are made.

    Parameters
    ----------
    evidence
        Of several kinds, each of which makes draws by its weight.

    Raises
    ------
    ValueError
        If the evidence has fewer than `LEAST` trials, or the search keeps none.
    """
    import numpy as np

    for known in evidence:
        _require(known)
    if not 0 < search.kept <= search.trials:
        raise ValueError(f"{search.kept} of {search.trials} trials cannot be kept")
    random = np.random.default_rng(seed)
    regret, rank, kept = [], [], []
    several = {id(known): shapes(known) for known in evidence}
    for draw, known in enumerate(_shared(evidence, draws)):
        fitted = relation(known, _drawn(*several[id(known)], random), random)
        scores = random.standard_normal(search.trials)
        seen = scores
        if known.transfer is not None:
            weak = float(known.transfer[draw % len(known.transfer)])
            seen = weak * scores + math.sqrt(1 - weak * weak) * random.standard_normal(search.trials)
        losses = fitted.draw(seen, random)
        chosen = np.argpartition(scores, search.kept - 1)[: search.kept]
        winner = chosen[_winner(losses[chosen], search, known, random)]
        regret.append(float(losses[winner] - losses.min()))
        rank.append(int((losses < losses[winner]).sum()) + 1)
        kept.append(bool((chosen == int(losses.argmin())).any()))
    return Simulated(np.array(regret), np.array(rank, np.int64), np.array(kept, np.bool_))


def judge(
    evidence: Evidence,
    trained: ArrayLike,
    trainings: ArrayLike,
    winner: int,
    others: ArrayLike,
    draws: int = 400,
    seed: int = 0,
) -> Simulated:
    """Judge a search that was made: the winner's regret, given everything that was seen.

    Parameters
    ----------
    evidence
        All trials that were trained on everything: candidates, controls, pilot.
    trained, trainings
        Mean losses of the candidates, and over how many trainings each is the mean.
    winner
        Its place in `trained`.
    others
        Scores of the trials that were not trained on everything.
    """
    import numpy as np

    _require(evidence)
    losses, count = np.asarray(trained, float), np.asarray(trainings, float)
    rest = np.asarray(others, float)
    random = np.random.default_rng(seed)
    regret, rank, kept = [], [], []
    several = shapes(evidence)
    for _ in range(draws):
        fitted = relation(evidence, _drawn(*several, random), random)
        true = losses + evidence.noise / np.sqrt(count) * random.standard_normal(len(losses))
        unseen = fitted.draw(rest, random)
        best = float(unseen.min()) if len(unseen) else math.inf
        regret.append(float(true[winner] - min(float(true.min()), best)))
        rank.append(1 + int((true < true[winner]).sum()) + int((unseen < true[winner]).sum()))
        kept.append(bool(true.min() <= best))
    return Simulated(np.array(regret), np.array(rank, np.int64), np.array(kept, np.bool_))


def _drawn(several: list[Shape], weights: NDArray[np.float64], random: Generator) -> Shape:
    return several[int(random.choice(len(several), p=weights))]


def _winner(losses: NDArray[np.float64], search: Search, known: Evidence, random: Generator) -> int:
    """Place of the winner among candidates that were not cut: the best training, or the best mean of finalists."""
    import numpy as np

    noise = known.noise
    seen = losses + noise * random.standard_normal(len(losses))
    left = np.arange(len(losses))
    for spread in known.early if search.keep < 1 else ():
        shown = seen[left] + spread * random.standard_normal(len(left))
        left = left[np.argsort(shown)[: part_of(len(left), search.keep)]]
    left = left[np.argsort(seen[left])]
    if search.finalists < 1 or search.replicates < 2:
        return int(left[0])
    final = left[: search.finalists]
    finalists = len(final)
    again = noise * random.standard_normal((search.replicates - 1, finalists)) + losses[final]
    # the training by which a finalist was chosen counts only where there are no two others, as in `ranking.judged`
    told = again.sum(axis=0) + (seen[final] if len(again) < FURTHER else 0.0)
    return int(final[told.argmin()])


def _shared(evidence: Sequence[Evidence], draws: int) -> list[Evidence]:
    """Return the evidence of each draw."""
    total = sum(known.weight for known in evidence)
    counts = [round(draws * known.weight / total) for known in evidence]
    return [known for known, count in zip(evidence, counts, strict=True) for _ in range(count)]


def _require(evidence: Evidence) -> None:
    if len(evidence.losses) < LEAST:
        raise ValueError(f"{len(evidence.losses)} trainings on everything are too few to judge by")
