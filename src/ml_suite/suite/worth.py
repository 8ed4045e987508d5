"""How many full trainings a search is worth, before anything was timed; pure."""

from __future__ import annotations

from dataclasses import dataclass

from ml_suite.config.deployment import Deployment
from ml_suite.quantities import format_fraction
from ml_suite.study import cost
from ml_suite.study.contract import Rungs
from ml_suite.study.cost import Extent
from ml_suite.study.planning import candidates
from ml_suite.study.speed import Rate


@dataclass(frozen=True)
class Worth:
    """Work of a search in trainings of step 2; what a trial costs whatever its data is not in it."""

    step1: float
    step2: float
    trials: int
    """Trainings of one step: every trial on everything."""

    @property
    def trainings(self) -> float:
        """Of both steps."""
        return self.step1 + self.step2

    @property
    def share(self) -> float:
        """Work of the search as a part of one step's."""
        return self.trainings / self.trials

    @property
    def words(self) -> str:
        """One line for a person."""
        parts = f"step 1 {self.step1:.1f}, step 2 {self.step2:.1f}"
        share = format_fraction(round(self.share, 3))
        return (
            f"The search is worth {self.trainings:.1f} full trainings ({parts}): {share} of training all {self.trials} "
            "trials on everything. Not counted: what each trial takes to start, and who stops early."
        )


def worth(deployment: Deployment) -> Worth | None:
    """Return the work of a deployment's search; None without one, and where its size or epochs are not stated."""
    hpo = deployment.hpo
    if hpo is None or not isinstance(hpo.step1.subset, float) or hpo.step2.keep == "auto":
        return None
    usual = deployment.training.epochs
    epochs = hpo.step1.epochs or usual, hpo.step2.epochs or usual
    if (epochs[0] is None) != (epochs[1] is None):
        return None
    first, second = epochs[0] or 1, epochs[1] or 1
    rungs = hpo.step1.rungs
    if rungs and usual is None and hpo.step1.epochs is None:
        return None
    extent = Extent(
        trials=hpo.step1.trials,
        subset=hpo.step1.subset,
        kept=candidates(hpo),
        again=hpo.step2.finalists * (hpo.step2.replicates - 1),
        epochs1=first,
        epochs2=second,
        rungs=Rungs(at=rungs.at, keep=rungs.keep, cohort=rungs.cohort) if rungs else None,
    )
    quote = cost.quote(extent, Rate(overhead=0.0, full=first / second, measured=False))
    seconds = {line.part: line.seconds for line in quote.lines}
    return Worth(seconds["step1"], seconds["step2"], hpo.step1.trials)
