"""What the rungs of both steps would have made of a pilot's trainings, which all went on to their end.

Rungs are followed in the histories: step 1 ranks what it has cut behind all others, and a candidate of step 2 is cut by
what it has reached so far. Both make the answer of a search less certain, and belong into what is predicted of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ml_suite.study import halving
from ml_suite.study import regret as regrets
from ml_suite.study.contract import Cuts, Rungs, TrialResult, TrialState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ml_suite.study.evidence import Sized
    from ml_suite.study.losses import Scale


def course(result: TrialResult) -> halving.Course:
    """Return a training as halving sees it."""
    good = result.state is TrialState.COMPLETE
    return halving.Course(result.history, halving.End.ENDED if good else halving.End.LOST)


def ordered(
    size: Sized, told: Sequence[Mapping[int, halving.Course]], rungs: Rungs, direction: str
) -> NDArray[np.float64]:
    """Rank as step 1 does: those that are cut come after all others, who was cut last first."""
    import numpy as np

    order = np.full(size.losses.shape, np.nan)
    for row, courses in enumerate(told):
        cut: dict[int, int] = {}
        for start in range(0, len(size.trials), rungs.cohort):
            cohort = [t for t in size.trials[start : start + rungs.cohort] if t in courses]
            cut |= halving.ends({t: courses[t] for t in cohort}, rungs, direction)
        ranked = []
        for place, trial in enumerate(size.trials):
            if not math.isfinite(size.losses[row, place]):
                continue
            if (until := cut.get(trial)) is None:
                ranked.append((-math.inf, float(size.losses[row, place]), place))
            else:
                reached = courses[trial].best(until, direction) or 0.0
                ranked.append((-float(until), reached if direction == "minimize" else -reached, place))
        for i, (*_, place) in enumerate(sorted(ranked)):
            order[row, place] = i
    return order


def early(
    size: Sized, told: Sequence[Mapping[int, halving.Course]], cuts: Cuts, scale: Scale
) -> NDArray[np.float64]:
    """Losses that the trainings had at the rungs."""
    import numpy as np

    direction = "maximize" if scale.maximise else "minimize"
    return np.array(
        [
            [
                scale.losses([c.best(at, direction) if (c := courses.get(t)) else None for t in size.trials])
                for courses in told
            ]
            for at in cuts.at
        ]
    )


def lag(sizes: Sequence[Sized]) -> tuple[float, ...]:
    """How far what a training has reached at each rung of step 2 misleads about its end; empty where nothing tells.

    Standard deviation of the residuals of a line from the losses at the end, in units of these. From the trainings on
    everything where there are enough of them, else from those at the largest size.
    """
    import numpy as np

    for size in sorted((s for s in sizes if s.early is not None), key=lambda s: -s.share):
        assert size.early is not None
        last = size.losses.ravel()
        found = []
        for early in size.early.reshape(len(size.early), -1):
            known = np.isfinite(last) & np.isfinite(early)
            if known.sum() < regrets.LEAST or (across := float(last[known].var())) <= 0:
                break
            slope = float(np.cov(last[known], early[known], bias=True)[0, 1]) / across
            rest = early[known] - early[known].mean() - slope * (last[known] - last[known].mean())
            deviation = math.sqrt(float(rest @ rest) / (known.sum() - 2))
            found.append(deviation / max(slope, 0.1))
        else:
            return tuple(found)
    return ()
