"""How many full trainings a search is worth, before anything was timed; pure."""

from __future__ import annotations

from dataclasses import dataclass

from ml_suite.config.deployment import Deployment
from ml_suite.config.hpo import Hpo, Pilot
from ml_suite.quantities import format_fraction
from ml_suite.study import cost, piloting
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
    pilot: float = 0.0
    """The least that it trains; what of it is trained on everything comes on top, as far as its budget reaches."""

    @property
    def trainings(self) -> float:
        """Of both steps and the pilot."""
        return self.pilot + self.step1 + self.step2

    @property
    def share(self) -> float:
        """Work of the search as a part of one step's."""
        return self.trainings / self.trials

    @property
    def words(self) -> str:
        """One line for a person."""
        parts = f"step 1 {self.step1:.1f}, step 2 {self.step2:.1f}"
        if self.pilot:
            parts = f"pilot {self.pilot:.1f} at least, {parts}"
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
        again=hpo.step2.again,
        epochs1=first,
        epochs2=second,
        rungs=Rungs(at=rungs.at, keep=rungs.keep, cohort=rungs.cohort) if rungs else None,
    )
    quote = cost.quote(extent, Rate(overhead=0.0, full=first / second, measured=False))
    seconds = {line.part: line.seconds for line in quote.lines}
    return Worth(seconds["step1"], seconds["step2"], hpo.step1.trials, _pilot(hpo) * first / second)


def left(deployment: Deployment) -> str | None:
    """One line for a person where a pilot decides how large the search is; None where it does not."""
    hpo = deployment.hpo
    if hpo is None or piloting.decided(hpo):
        return None
    budget = format_fraction((hpo.pilot or Pilot()).budget)
    return (
        f"The pilot decides how large the search is: both may cost {budget} of training all {hpo.step1.trials} trials "
        f"on everything, and at most {candidates(hpo)} are trained in step 2."
    )


def _pilot(hpo: Hpo) -> float:
    """Trainings on everything that the smallest pilot is worth: all configurations twice, and at twice the share."""
    if hpo.pilot is None or not isinstance(hpo.step1.subset, float):
        return 0.0
    share = hpo.step1.subset
    each = 4 * share if 2 * share <= 1 else 2 * share
    return min(hpo.pilot.configurations, hpo.step1.trials) * each
