"""What a study costs: the quote before, the account after, and the search in one step that was avoided.

The cost of two steps as a part of the cost of one is, with `n` trials on a part `p` of the data, `k` of them trained on
everything `r` times, `e1` and `e2` epochs, and `x` seconds for `e1` epochs on everything::

    C / X = [n (p x + c0) s + k r x e2 / e1 + pilot] / (n x e2 / e1)

`c0` is what a trial costs whatever its data: start, setup, judging on the same validation data after every epoch. The
formula of Yu et al. (2023) lacks it, and is 30 times too low for their smallest subset. `s` is the part of the epochs
that rungs leave. The one step is every trial trained once on everything, like a candidate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ml_suite.quantities import part_of
from ml_suite.study.contract import Cuts, Document, Rungs, SearchPlan, TrialResult, TrialState
from ml_suite.study.speed import Parts, Rate


class Line(Document):
    """Trainings of one part of a study."""

    part: str
    """`pilot`, `step1`, `step2`."""
    trainings: float
    """A quote may expect half a one."""
    seconds: float
    """Wall time of the trainings added up; of a quote the most, where it depends on what the pilot finds."""
    least: float | None = None
    """The least then."""
    cpu_hours: float | None = None
    """None where a training did not tell."""
    gpu_hours: float = 0.0


class Quote(Document):
    """What a study will cost, before it runs."""

    lines: list[Line]
    seconds: float
    """Of all lines."""
    one_step_seconds: float
    """Every trial trained once on everything, with the epochs of step 2."""
    share: float
    """Cost of the study as a part of the one step's."""
    full_seconds: float
    """One training on everything, with the epochs of step 1."""
    overhead_seconds: float
    """Of each trial of step 1, whatever its data (`c0`)."""
    measured: bool
    """Both come from trainings of this study, rather than from an estimate."""
    least_seconds: float | None = None
    """Where the total depends on what the pilot finds: `seconds` is then the most."""
    remark: str = ""
    """What is to be said of it."""

    @property
    def least_share(self) -> float | None:
        """The least cost of the study as a part of the one step's, where it is a range."""
        if self.least_seconds is None:
            return None
        return self.least_seconds / self.one_step_seconds if self.one_step_seconds else math.inf


class Cost(Document):
    """What a study has cost; failed, pruned and preempted trainings included."""

    lines: list[Line]
    seconds: float
    """Of all lines."""
    one_step_seconds: float | None
    """Estimate for training every trial once on everything; None until trainings of step 2 are complete."""
    share: float | None
    """Cost of the study as a part of the one step's."""
    avoided_seconds: float | None
    """What one step would have cost more."""
    method: str
    """How the one step was estimated."""


@dataclass(frozen=True)
class Extent:
    """How much a study trains."""

    trials: int
    subset: float
    kept: int
    """Candidates and controls that are trained on everything."""
    again: int = 0
    """Further trainings of finalists with other seeds."""
    epochs1: int = 1
    epochs2: int = 1
    rungs: Rungs | None = None
    cuts: Cuts | None = None
    """Of the candidates."""
    controls: int = 0
    """Of those that are kept; they are not cut."""

    @property
    def trainings(self) -> float:
        """Trainings on everything, counting of those that are cut the part of the epochs that is trained."""
        cut = self.kept - self.controls
        return cut * epochs_left(self.cuts, self.epochs2, cut) + self.controls + self.again


def epochs_left(rungs: Cuts | None, epochs: int, trials: int = 1) -> float:
    """Part of the epochs that is trained when nobody stops early.

    Parameters
    ----------
    trials
        That compete, where these are all of a step.

    >>> epochs_left(Rungs(at=[4, 8, 16], keep=0.5, cohort=16), 60)
    0.225
    >>> epochs_left(Cuts(at=[25, 50], keep=0.5), 100, 12)
    0.5
    """
    if rungs is None or trials < 1:
        return 1.0
    size = rungs.cohort if isinstance(rungs, Rungs) else trials
    running, trained, before = size, 0, 0
    for at in rungs.at:
        if at >= epochs:
            break
        trained += running * (at - before)
        running, before = part_of(running, rungs.keep), at
    return (trained + running * (epochs - before)) / (size * epochs)


def survivors(rungs: Cuts | None, epochs: int, trials: int) -> int:
    """How many of those that compete are trained to the end.

    >>> survivors(Cuts(at=[25, 50], keep=0.5), 100, 9)
    3
    """
    for at in rungs.at if rungs else ():
        if at < epochs:
            assert rungs is not None
            trials = part_of(trials, rungs.keep)
    return trials


def quote(extent: Extent, rate: Rate, pilot: Sequence[Line] = (), gpus: int = 0) -> Quote:
    """Say what a study will cost.

    Parameters
    ----------
    pilot
        What the pilot will cost, where there is one.
    gpus
        GPUs of one training.

    >>> extent = Extent(trials=10_000, subset=0.05, kept=50, epochs1=100, epochs2=100)
    >>> round(quote(extent, Rate(overhead=0.0, full=543.0)).share, 4)
    0.055
    """
    left = epochs_left(extent.rungs, extent.epochs1)
    each = (extent.subset * rate.full + rate.overhead) * left
    full = rate.full * extent.epochs2 / extent.epochs1 + rate.overhead
    trainings = extent.kept + extent.again
    lines = [
        *pilot,
        Line(part="step1", trainings=extent.trials, seconds=extent.trials * each),
        Line(part="step2", trainings=trainings, seconds=extent.trainings * full),
    ]
    lines = [
        line if line in pilot else line.model_copy(update={"gpu_hours": line.seconds * gpus / 3600})
        for line in lines
    ]
    return quoted(lines, extent.trials * full, rate)


def quoted(lines: Sequence[Line], one_step: float, rate: Rate) -> Quote:
    """Add up the lines of a quote, beside the length of the one step."""
    seconds = sum(line.seconds for line in lines)
    least = [line.seconds if line.least is None else line.least for line in lines]
    return Quote(
        lines=list(lines),
        seconds=seconds,
        one_step_seconds=one_step,
        share=seconds / one_step if one_step else math.inf,
        full_seconds=rate.full,
        overhead_seconds=rate.overhead,
        measured=rate.measured,
        least_seconds=sum(least) if any(line.least is not None for line in lines) else None,
    )


def account(
    plan: SearchPlan | None,
    step1: Sequence[TrialResult],
    step2: Sequence[TrialResult],
    pilot: Parts | None = None,
    gpus: Mapping[str, int] | None = None,
) -> Cost:
    """Add up what was trained, by whatever kind of study.

    Parameters
    ----------
    plan
        None: nothing is searched, so there is no one step.
    step1, step2
        All results, replicates and failures included.
    pilot
        Results by share and replicate; its parts train the same trials.
    gpus
        GPUs of one training by part (`pilot`, `step1`, `step2`); default: none.

    Notes
    -----
    The one step trains every trial once on everything, with the epochs of step 2. It is estimated from complete
    trainings of step 2: candidates may be larger or smaller networks than the average trial, so where parameters are
    known, seconds are fitted to them and added up over all trials; else the mean is taken (*number of trials x mean
    time of a complete candidate of step 2*).
    """
    before = [r for part in (pilot or {}).values() for r in part]
    parts = ({"pilot": before} if before else {}) | {"step1": step1, "step2": step2}
    lines = [_line(part, results, (gpus or {}).get(part, 0)) for part, results in parts.items()]
    seconds = sum(line.seconds for line in lines)
    one_step, method = _one_step(step1, step2, plan.trials if plan else 0)
    return Cost(
        lines=lines,
        seconds=seconds,
        one_step_seconds=one_step,
        share=seconds / one_step if one_step else None,
        avoided_seconds=one_step - seconds if one_step else None,
        method=method,
    )


def _line(part: str, results: Sequence[TrialResult], gpus: int) -> Line:
    seconds = sum(r.seconds for r in results)
    cpu = [r.cpu_seconds for r in results]
    told = [c for c in cpu if c is not None]
    return Line(
        part=part,
        trainings=len(results),
        seconds=seconds,
        cpu_hours=sum(told) / 3600 if cpu and len(told) == len(cpu) else None,
        gpu_hours=seconds * gpus / 3600,
    )


def _one_step(
    first: Sequence[TrialResult], second: Sequence[TrialResult], trials: int
) -> tuple[float | None, str]:
    full = [r for r in second if r.state is TrialState.COMPLETE and r.seconds > 0]
    if not full or not trials:
        return None, "no complete training of step 2 yet"
    mean = sum(r.seconds for r in full) / len(full)
    sizes = [r.parameters for r in first if r.parameters]
    known = [(float(r.parameters), r.seconds) for r in full if r.parameters]
    if sizes and len(known) >= 3 and len({size for size, _ in known}) >= 3:
        fixed, slope = _line_through(known)
        expected = trials * (fixed + slope * sum(sizes) / len(sizes))
        return expected, "seconds of step 2 fitted to the number of parameters, over all trials"
    return trials * mean, "number of trials x mean time of a complete candidate of step 2"


def _line_through(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Least squares with neither a negative start nor a negative slope."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    across = sum((x - mean_x) ** 2 for x, _ in points)
    slope = max(0.0, sum((x - mean_x) * (y - mean_y) for x, y in points) / across)
    if (fixed := mean_y - slope * mean_x) < 0:
        return 0.0, sum(x * y for x, y in points) / sum(x * x for x, _ in points)
    return fixed, slope
