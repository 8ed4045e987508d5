"""What comes after the two steps: winner, certificate, cost, network and report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ml_suite import atomic
from ml_suite.config.hpo import Pilot
from ml_suite.search import network
from ml_suite.search import pilot as pilots
from ml_suite.search.folder import Folder
from ml_suite.search.freeze import Frozen
from ml_suite.study import budget, cost, record, two_step
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.certificate import Certificate, Parts, certify
from ml_suite.study.contract import Selection, Shortlist, TrialResult

Say = Callable[[str], None]


def conclude(
    frozen: Frozen,
    plan: ArrayPlan,
    chosen: Shortlist,
    results: Sequence[TrialResult],
    pilot: Parts,
    say: Say,
) -> Selection:
    """Name the winner and leave everything that is known of the study in its folder.

    Parameters
    ----------
    results
        Of both steps.
    pilot
        Results of the pilot by share and replicate; empty without one.

    Raises
    ------
    StudyError
        If there is no winner.
    """
    folder = frozen.folder
    second = [r for r in results if r.step == 2]
    atomic.write(folder.table(2), record.table(second))
    selection = two_step.select(plan, chosen, second)
    selection.save(folder.selection)
    spent = account(plan, results, pilot)
    spent.save(folder.cost)
    certificate(frozen, plan, results, pilot, selection, spent).save(folder.certificate)
    if plan.trainer == "mlp":
        network.make(plan, folder, frozen.environment, selection, say)
    report(folder, say)
    return selection


def account(plan: ArrayPlan, results: Sequence[TrialResult], pilot: Parts) -> cost.Cost:
    """Add up what the study has cost."""
    first, second = ([r for r in results if r.step == step] for step in (1, 2))
    return cost.account(plan, first, second, pilot)


def certificate(
    frozen: Frozen,
    plan: ArrayPlan,
    results: Sequence[TrialResult] = (),
    pilot: Parts | None = None,
    selection: Selection | None = None,
    spent: cost.Cost | None = None,
) -> Certificate:
    """Judge whether the answer can be trusted, from all that was trained."""
    aim = frozen.file.hpo.pilot or Pilot()
    costs: list[str] = []
    if pilot:
        costs = budget.overspent(aim.budget, spent) if spent else pilots.excess(frozen, pilot)
    return certify(
        plan,
        pilot or {},
        [r for r in results if r.step == 1],
        [r for r in results if r.step == 2],
        selection,
        accepted=aim.regret,
        confidence=aim.confidence,
        share=spent.share if spent else None,
        costs=costs,
    )


def report(folder: Folder, say: Say) -> None:
    """Leave the page for a person; a study is not lost for want of it: what is wrong is told."""
    try:
        from ml_suite.report.page import render
        from ml_suite.report.study import report_of_study

        atomic.write(folder.report, render(report_of_study(folder.root)))
    except ModuleNotFoundError as error:
        say(f"no report: {error.name} is not installed (pip install 'ml-suite[study]')")
    except Exception as error:  # `study report` shows where it comes from
        say(f"no report ({type(error).__name__}: {error}); to try again: ml-suite study report {folder.root}")
