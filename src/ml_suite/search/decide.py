"""Run the pilot of a study, which decides what is `auto` and on which its certificate rests."""

from __future__ import annotations

from collections.abc import Callable

from ml_suite.search import freeze, pilot
from ml_suite.search.freeze import Frozen
from ml_suite.study import planning
from ml_suite.study.certificate import Parts
from ml_suite.study.contract import TrialResult

Say = Callable[[str], None]

_DECIDED = ("subset", "keep", "members", "patience", "patience_epochs")
"""Fields of a plan that the pilot decides, or that follow from it."""


def decided(frozen: Frozen, work: Callable[..., list[TrialResult]], say: Say) -> tuple[Frozen, Parts]:
    """Return the study with what the pilot decided, and the pilot's results; without a pilot as it is.

    Raises
    ------
    StudyError
        If another study has finished trials in the folder, or the pilot cannot decide.
    """
    if not pilot.wanted(frozen):
        return frozen, {}
    _require_same(frozen)
    outcome = pilot.run_pilot(frozen, work, say)
    if not frozen.decided:
        frozen = freeze.decide(frozen, outcome.subset, outcome.keep)
    return frozen, outcome.parts


def _require_same(frozen: Frozen) -> None:
    """Refuse another study before the pilot writes anything; what it will decide is left open."""
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
