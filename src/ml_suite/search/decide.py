"""Run the pilot of a study, which decides what is `auto` and on which its certificate rests.

How many candidates there are is decided again when step 1 is made, for then costs are known: `ml_suite.study.payable`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ml_suite.search import effort, freeze, pilot
from ml_suite.search.freeze import Frozen
from ml_suite.study import payable, planning
from ml_suite.study.contract import TrialResult
from ml_suite.study.piloting import Outcome

Say = Callable[[str], None]

_DECIDED = ("subset", "keep", "members", "patience", "patience_epochs")
"""Fields of a plan that the pilot decides, or that follow from it."""


def decided(
    frozen: Frozen, work: Callable[..., list[TrialResult]], say: Say
) -> tuple[Frozen, Outcome | None]:
    """Return the study with what the pilot decided, and what it found; without a pilot as it is.

    Raises
    ------
    StudyError
        If another study has finished trials in the folder, or the pilot cannot decide.
    """
    if not pilot.wanted(frozen):
        return frozen, None
    require_same(frozen)
    outcome = pilot.run_pilot(frozen, work, say)
    if not frozen.decided:
        frozen = freeze.decide(frozen, outcome.subset, outcome.keep)
    return _as_before(frozen), outcome


def again(frozen: Frozen, outcome: Outcome | None, first: Sequence[TrialResult], say: Say) -> Frozen:
    """Return the study with as many candidates as the budget pays after step 1, where they are `auto`.

    Parameters
    ----------
    first
        Results of step 1.
    """
    if outcome is None or outcome.rate is None or frozen.file.hpo.step2.keep != "auto":
        return frozen
    work, plan = effort.counted(frozen.plan), frozen.plan
    spent = payable.Spent(outcome.parts, plan.subset, first, work)
    good = outcome.decision.good
    kept = payable.kept(pilot.aims(frozen), outcome.rate, spent, outcome.keep, good, plan.direction)
    if kept != outcome.keep:
        say(f"step 1: the budget pays {kept:,} candidates, {outcome.keep:,} were planned")
    return replace(frozen, plan=plan.model_copy(update={"keep": kept}))


def _as_before(frozen: Frozen) -> Frozen:
    """Return the study with the number of candidates that was decided in an earlier run, until it is decided again."""
    old = freeze.load_plan(frozen.folder)
    if frozen.file.hpo.step2.keep != "auto" or old is None or old.study != frozen.plan.study:
        return frozen
    return replace(frozen, plan=frozen.plan.model_copy(update={"keep": old.keep}))


def require_same(frozen: Frozen) -> None:
    """Refuse another study before anything is written; what a pilot will decide is left open.

    Raises
    ------
    StudyError
        If another study has finished trials in the folder.
    """
    old = freeze.load_plan(frozen.folder)
    if old is None:
        return
    open_ = {name: getattr(frozen.plan, name) for name in _DECIDED} if not frozen.decided else {}
    planning.require_same(
        planning.identified(old.model_copy(update=open_)),
        frozen.plan,
        freeze.finished(frozen.folder, old),
        frozen.folder.root,
        "run it",
    )
