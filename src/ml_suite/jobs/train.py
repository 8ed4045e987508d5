"""Task train: one training on all of the training period, for a deployment without a search."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from ml_suite.errors import StudyError
from ml_suite.jobs import callback, freezing, outbox, parcels, planning, training
from ml_suite.jobs.context import Job
from ml_suite.study.contract import Selection, TrialState
from ml_suite.trainers import process


def run(job: Job, arguments: list[str]) -> None:
    """Train and leave selection.json.

    Raises
    ------
    StudyError
        If the training was stopped, failed or diverged.
    """
    argparse.ArgumentParser(prog="train").parse_args(arguments)
    with process.stop_requests() as stop:
        plan = planning.settle(job, freezing.single(job))
        started = datetime.now(UTC)
        spec = training.specification(job, plan, 0, 0)
        result = training.train(spec, stop, lambda share: callback.meter("epochs", round(100 * share)))
        training.keep(job, plan, result, "0")
        folder = job.tree.trial(0, 0)
        training.require_not_stopped(result, folder)
        if result.state is not TrialState.COMPLETE or result.value is None:
            raise StudyError(f"the training is {result.state}: {result.reason}", f"Read {folder}/log.txt")
        selection = Selection(
            study=plan.study, trial=0, step=0, params={}, value=result.value, step1_value=None, result=result
        )
        selection.save(job.tree.selection)
        outbox.leave(job.tree.outbox, parcels.of_study(job, plan, started, selection))
    callback.meter("epochs", 100)
    callback.label("value", f"{result.value:.6g}")
    print(f"{plan.metric} {result.value:.6g} after {plan.epochs['step2']} epochs")
