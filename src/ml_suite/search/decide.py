"""Run the pilot of a study, which decides what is `auto` and on which its certificate rests."""

from __future__ import annotations

from collections.abc import Callable

from ml_suite.search import freeze, pilot
from ml_suite.search.freeze import Frozen
from ml_suite.study.certificate import Parts
from ml_suite.study.contract import TrialResult

Say = Callable[[str], None]


def decided(frozen: Frozen, work: Callable[..., list[TrialResult]], say: Say) -> tuple[Frozen, Parts]:
    """Return the study with what the pilot decided, and the pilot's results; without a pilot as it is."""
    if not pilot.wanted(frozen):
        return frozen, {}
    found = pilot.run_pilot(frozen, work, say)
    return freeze.decide(frozen, found.subset, found.keep), found.parts
