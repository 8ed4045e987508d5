"""Step 1 with an adaptive sampler: rounds of trials, each drawn from the results of those before it."""

from __future__ import annotations

from collections.abc import Callable

from ml_suite.search import start
from ml_suite.search.folder import Folder
from ml_suite.study import asking
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.contract import TrialResult
from ml_suite.study.stage import Stage, Task


def run(
    plan: ArrayPlan, folder: Folder, stage: Stage, work: Callable[..., list[TrialResult]]
) -> list[TrialResult]:
    """Ask for a round, train it, ask again; what was asked for once is never asked again.

    Raises
    ------
    StudyError
        If the sampler cannot be used, or the draws of another study lie in the folder.
    """
    tasks: list[Task] = []
    results: list[TrialResult] = []
    number = 0
    before = start.known(folder)
    while (draws := asking.settle(plan, folder.root, number, results, before)) is not None:
        tasks += [Task(trial, params) for trial, params in sorted(draws.trials.items())]
        # all rounds so far: earlier ones are recorded, and a cohort may lie in two
        results = work(plan, folder.root, stage, tasks)
        number += 1
    return results
