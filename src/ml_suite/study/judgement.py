"""The winner of a search that was made, judged from everything that was trained."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ml_suite.study import chooser, copula, evidence, regret
from ml_suite.study.contract import Document, SearchPlan, Selection, TrialResult, TrialState
from ml_suite.study.copula import Agreement
from ml_suite.study.evidence import Sized
from ml_suite.study.losses import Scale, normal_scores
from ml_suite.study.ranking import counted, judged
from ml_suite.study.regret import Evidence

FREEDOM = 2
"""Further trainings of trials on everything below which they do not tell the noise of training."""


class Realised(Document):
    """What step 2 says."""

    winner: int
    """Trial."""
    trained: int
    """Trials that were trained on everything."""
    agreement: Agreement | None
    """Step 1 and step 2, of the trials in both; of the best alone it is lower than of all."""
    expected: float
    median: float
    high: float
    """Regret of the winner against the best of all trials; `high` at the certificate's confidence."""
    best_kept: float
    """Chance that the true best is among those that were trained on everything."""
    rank_median: int
    rank_high: int
    """True rank of the winner among all trials."""


@dataclass(frozen=True)
class Unjudged:
    """A winner of which nothing is claimed."""

    winner: int
    """Trial."""
    reason: str
    """Why, and what to add."""


def judge(
    plan: SearchPlan,
    sizes: Sequence[Sized],
    scale: Scale,
    step1: Sequence[TrialResult],
    step2: Sequence[TrialResult],
    selection: Selection | None,
    confidence: float,
) -> Realised | Unjudged | None:
    """Judge the winner; None until there is one.

    Trainings of the pilot on everything count as evidence too. Nothing is claimed from a handful of trainings, nor
    where the noise of training is not known: the best of a few lucky seeds would look like the best of all.
    """
    import numpy as np

    scores = _scores(step1, scale)
    second = _losses(step2, scale)
    winner = selection.trial if selection is not None else None
    if winner is None or winner not in second or not scores:
        return None
    means = {t: judged(values) for t, values in second.items()}
    pairs = [(scores[t], mean) for t, mean in means.items() if t in scores]
    full, size = evidence.at(sizes, 1.0), evidence.at(sizes, plan.subset)
    if full is not None and size is not None and plan.subset < 1:
        complete = scale.losses([r.value for r in step1 if _usable(r)])
        for i, trial in enumerate(full.trials):
            if trial in second or not math.isfinite(full.mean[i]):
                continue
            place = normal_scores(size.mean[[i]], complete)[0]
            if math.isfinite(place):
                pairs.append((float(place), float(full.mean[i])))
    noise = _noise([list(of.values()) for of in second.values()], evidence.noise(sizes))
    if why := _missing(len(pairs), noise):
        return Unjudged(winner, why)
    found = np.array(pairs)
    known = Evidence(found[:, 0], found[:, 1], noise, len(found))
    trained = list(second)
    simulated = regret.judge(
        known,
        [means[t] for t in trained],
        [counted(second[t]) for t in trained],
        trained.index(winner),
        [score for trial, score in scores.items() if trial not in second],
    )
    both = [t for t in trained if t in scores]
    regrets = scale.regret(simulated.regret)
    return Realised(
        winner=winner,
        trained=len(trained),
        agreement=copula.agreement(
            [scores[t] for t in both], [second[t][min(second[t])] for t in both], confidence
        ),
        expected=float(regrets.mean()),
        median=float(np.median(regrets)),
        high=chooser.high(simulated, scale, confidence),
        best_kept=float(simulated.kept.mean()),
        rank_median=int(np.median(simulated.rank)),
        rank_high=int(np.quantile(simulated.rank, confidence)),
    )


def _missing(pairs: int, noise: float) -> str:
    """Why a winner cannot be judged, and what to add; empty where it can be."""
    if pairs < copula.MINIMUM:
        return (
            f"{pairs} trials were trained on the subset and on everything, {copula.MINIMUM} are needed "
            "(raise `keep` or `controls`, or add a `pilot`)"
        )
    if math.isnan(noise):
        return (
            "hardly a trial was trained on everything with another seed, so that nobody knows what is luck (add "
            "`finalists` and `replicates` of 3 or more, or a `pilot`)"
        )
    return ""


def _usable(result: TrialResult) -> bool:
    good = result.state is TrialState.COMPLETE and result.value is not None
    return good and result.value is not None and math.isfinite(result.value)


def _scores(step1: Sequence[TrialResult], scale: Scale) -> dict[int, float]:
    """Normal scores of step 1 by trial; those that a rung ended are behind all that went on."""
    ranked = [r for r in step1 if _usable(r)]
    ended = [r for r in step1 if r.state is TrialState.PRUNED and r.value is not None]
    order = []
    for group in (ranked, ended):
        losses = scale.losses([r.value for r in group])
        order += [
            r.trial for _, r in sorted(zip(losses, group, strict=True), key=lambda x: (x[0], x[1].trial))
        ]
    return dict(zip(order, normal_scores(range(len(order))).tolist(), strict=True)) if order else {}


def _losses(step2: Sequence[TrialResult], scale: Scale) -> Mapping[int, dict[int, float]]:
    """Losses of complete trainings on everything by trial and replicate."""
    found: dict[int, dict[int, float]] = defaultdict(dict)
    for result in sorted(step2, key=lambda r: (r.trial, r.replicate)):
        if _usable(result):
            loss = float(scale.losses([result.value])[0])
            if math.isfinite(loss):
                found[result.trial][result.replicate] = loss
    return found


def _noise(trained: Iterable[Sequence[float]], before: float) -> float:
    """Noise of training on everything: between replicates, and as the pilot saw it where they are few.

    NaN where neither tells.
    """
    import numpy as np

    several = [np.asarray(values) for values in trained if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    squares = float(sum(((values - values.mean()) ** 2).sum() for values in several))
    if math.isnan(before):
        return math.sqrt(squares / freedom) if freedom >= FREEDOM else math.nan
    return math.sqrt((squares + 2 * before**2) / (freedom + 2))
