"""The certificate: whether the answer of a two-step search can be trusted, in numbers and in a sentence.

Before the search it rests on a pilot (`ml_suite.study.chooser`): how well two small trainings of the same
configurations agree, how well a size agrees with twice that size and with everything, how noisy training is, and what
regret follows for `n` trials of which `k` are kept. After the search, step 2 itself tells more: the regret of the
winner that was named is judged from everything that was trained, and set against what was predicted.

Nothing is said from too few points: then the verdict is `not judged`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ml_suite.study import chooser, copula, evidence, judgement, regret, verdicts
from ml_suite.study.contract import Document, SearchPlan, Selection, TrialResult
from ml_suite.study.copula import Agreement
from ml_suite.study.evidence import Basis, Sized
from ml_suite.study.judgement import Realised, Unjudged
from ml_suite.study.losses import Scale
from ml_suite.study.regret import Evidence, Search

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Parts = Mapping[tuple[float, int], Sequence[TrialResult]]
"""Results of a pilot by share of the data and replicate."""


class Panel(Document):
    """The same configurations trained twice: one agreement plot."""

    kind: Literal["replicate", "next", "full"]
    """Two trainings at a share; a share and twice the share; a share and everything."""
    shares: tuple[float, float]
    trials: list[int]
    first: list[float]
    second: list[float]
    """Values of the metric, by trial."""
    agreement: Agreement | None
    """None where there are too few to judge."""


class Regret(Document):
    """Loss against the true best; 0.04 is 4 % where the metric is relative, else units of the metric."""

    expected: float
    median: float
    low: float
    """Always 0: the best may be found."""
    high: float
    """End of the interval at the certificate's confidence."""


class Promise(Document):
    """What is predicted of a search that keeps so many."""

    kept: int
    expected: float
    high: float


class Certificate(Document):
    """certificate.json."""

    study: str
    metric: str
    subset: float
    trials: int
    kept: int
    confidence: float
    accepted: float
    """Regret that the study accepts."""
    verdict: Literal["enough", "too small", "not judged"]
    sentence: str
    """What it means, for a person."""
    basis: Basis
    """Whether trainings on everything back the prediction."""
    panels: list[Panel]
    replicate: Agreement | None = None
    """Two trainings of the same configurations on two subsets of this size."""
    next: Agreement | None = None
    """This size and twice this size."""
    full: Agreement | None = None
    """This size and everything."""
    ceiling: Agreement | None = None
    """Two trainings at the largest size that the pilot trained twice: noise of training lets no ranking be better."""
    ceiling_subset: float | None = None
    noise: float | None = None
    """Standard deviation between trainings of one configuration, relative where the regret is."""
    rho: float | None = None
    """Correlation of the Gaussian copula between step 1 and everything."""
    rho_low: float | None = None
    rho_high: float | None = None
    best_kept: float | None = None
    """Chance that the true best is among those kept, by the copula."""
    rank_median: int | None = None
    """True rank of the winner, by the copula; 1 is the best."""
    rank_high: int | None = None
    """The same at the certificate's confidence, with the lower end of the correlation."""
    relative: bool = True
    """Regrets are parts of the best value rather than units of the metric."""
    regret: Regret | None = None
    """Predicted by the pilot."""
    promises: list[Promise] = Field(default_factory=list)
    """The same for other numbers of candidates, ascending."""
    realised: Realised | None = None
    """Judged after step 2."""
    unjudged: str = ""
    """Why nothing is claimed of the winner, where there is one, and what to add."""
    pilot_trainings: int = 0
    pilot_seconds: float = 0.0
    share: float | None = None
    """Cost of pilot and search as a part of the one step's, where it is known."""
    warnings: list[str] = Field(default_factory=list)


def certify(
    plan: SearchPlan,
    pilot: Parts,
    step1: Sequence[TrialResult] = (),
    step2: Sequence[TrialResult] = (),
    selection: Selection | None = None,
    *,
    accepted: float = 0.1,
    confidence: float = 0.9,
    share: float | None = None,
    costs: Sequence[str] = (),
) -> Certificate:
    """Make the certificate of a study from its pilot, and from both steps when they are there.

    Parameters
    ----------
    plan
        The study; `subset`, `trials`, `keep` and `choice` say which search is judged.
    pilot
        Results by share and replicate; the share 1 is everything.
    selection
        The winner; None before it is named.
    accepted
        Regret that is accepted.
    share
        Cost of the study as a part of the one step's.
    costs
        What is to be said of it; see `ml_suite.study.budget`.
    """
    sizes, scale = evidence.gather(pilot, plan.direction, [*step1, *step2], plan.rungs, plan.choice.rungs)
    search = Search(
        plan.trials,
        max(1, min(plan.keep, plan.trials)),
        plan.choice.finalists,
        plan.choice.replicates,
        plan.choice.rungs.keep if plan.choice.rungs else 1.0,
    )
    known, basis = evidence.evidence(sizes, plan.subset)
    simulated = regret.predict(known, search, draws=600) if known else None
    predicted = None
    if simulated is not None:
        found = scale.regret(simulated.regret)
        predicted = Regret(
            expected=float(found.mean()),
            median=float(sorted(found)[len(found) // 2]),
            low=0.0,
            high=chooser.high(simulated, scale, confidence),
        )
    judged = judgement.judge(plan, sizes, scale, step1, step2, selection, confidence)
    noise = evidence.noise(sizes)
    correlation = chooser.correlations(sizes, plan.subset, confidence)
    top = _ceiling(sizes)
    enough = predicted is not None and predicted.high <= accepted
    verdict: Literal["enough", "too small", "not judged"] = (
        "not judged" if predicted is None else "enough" if enough else "too small"
    )
    results = [r for part in pilot.values() for r in part]
    size = evidence.at(sizes, plan.subset)
    told = verdicts.Told(
        subset=plan.subset,
        search=search,
        scale=scale,
        metric=plan.metric,
        accepted=accepted,
        confidence=confidence,
        basis=basis,
        high=predicted.high if predicted else None,
        judged=judged,
    )
    return Certificate(
        study=plan.study,
        metric=plan.metric,
        subset=plan.subset,
        trials=plan.trials,
        kept=search.kept,
        confidence=confidence,
        accepted=accepted,
        verdict=verdict,
        sentence=verdicts.sentence(told, sizes, known),
        basis=basis,
        panels=_panels(sizes, plan.subset, scale, confidence),
        replicate=evidence.replicate(size, confidence),
        next=evidence.between(size, evidence.at(sizes, 2 * plan.subset), confidence),
        full=evidence.between(size, evidence.at(sizes, 1.0), confidence) if plan.subset < 1 else None,
        ceiling=evidence.replicate(top, confidence),
        ceiling_subset=top.share if top else None,
        noise=None if math.isnan(noise) else float(math.expm1(noise) if scale.relative else noise),
        rho=correlation[0] if correlation else None,
        rho_low=correlation[1] if correlation else None,
        rho_high=correlation[2] if correlation else None,
        **_ranks(correlation, search, confidence),
        relative=scale.relative,
        regret=predicted,
        promises=_promises(known, search, scale, confidence),
        realised=judged if isinstance(judged, Realised) else None,
        unjudged=judged.reason if isinstance(judged, Unjudged) else "",
        pilot_trainings=len(results),
        pilot_seconds=sum(r.seconds for r in results),
        share=share,
        warnings=[*verdicts.warnings(told, sizes), *costs],
    )


def _promises(known: list[Evidence], search: Search, scale: Scale, confidence: float) -> list[Promise]:
    if not known:
        return []
    kept = sorted({max(1, min(search.trials, round(search.kept * f))) for f in (0.25, 0.5, 1, 2, 4)})
    promises = []
    for number in kept:
        found = regret.predict(known, replace(search, kept=number), draws=300)
        expected = float(scale.regret(found.regret).mean())
        promises.append(Promise(kept=number, expected=expected, high=chooser.high(found, scale, confidence)))
    return promises


def _ceiling(sizes: Sequence[Sized]) -> Sized | None:
    twice = [s for s in sizes if len(s.losses) > 1 and s.points >= copula.MINIMUM]
    return max(twice, key=lambda s: s.share, default=None)


def _ranks(
    correlation: tuple[float, float, float] | None, search: Search, confidence: float
) -> dict[str, float | int]:
    """Figures of the copula calculator."""
    import numpy as np

    if correlation is None:
        return {}
    middle = copula.simulate(correlation[0], search.trials, search.kept)
    low = copula.simulate(correlation[1], search.trials, search.kept, seed=1)
    return {
        "best_kept": float(middle.kept.mean()),
        "rank_median": int(np.median(middle.rank)),
        "rank_high": int(np.quantile(low.rank, confidence)),
    }


def _panels(sizes: Sequence[Sized], subset: float, scale: Scale, confidence: float) -> list[Panel]:
    """Scatter of the pilot at the subset; where it has no replicate or no double there, at the size nearest to it."""
    near = sorted(sizes, key=lambda size: abs(math.log(size.share / subset)))
    pairs = [
        (size, evidence.at(sizes, 2 * size.share)) for size in near if not math.isclose(2 * size.share, 1.0)
    ]
    panels = []
    if twice := next((size for size in near if len(size.losses) > 1 and size.share < 1.0), None):
        panels.append(_panel("replicate", twice, twice.losses[0], twice, twice.losses[1], scale, confidence))
    if doubled := next(((size, other) for size, other in pairs if other is not None), None):
        size, other = doubled
        panels.append(_panel("next", size, size.losses[0], other, other.losses[0], scale, confidence))
    own, full = evidence.at(sizes, subset), evidence.at(sizes, 1.0)
    if own is not None and full is not None and own is not full:
        panels.append(_panel("full", own, own.losses[0], full, full.losses[0], scale, confidence))
    return panels


def _panel(
    kind: str,
    first: Sized,
    x: NDArray[np.float64],
    second: Sized,
    y: NDArray[np.float64],
    scale: Scale,
    confidence: float,
) -> Panel:
    import numpy as np

    known = np.isfinite(x) & np.isfinite(y)
    return Panel.model_validate(
        {
            "kind": kind,
            "shares": (first.share, second.share),
            "trials": [t for t, there in zip(first.trials, known, strict=True) if there],
            "first": scale.values(x[known]).tolist(),
            "second": scale.values(y[known]).tolist(),
            "agreement": copula.agreement(x, y, confidence),
        }
    )
