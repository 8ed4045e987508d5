"""What a search is worth before it runs."""

from __future__ import annotations

import pytest

from ml_suite.suite.worth import left, worth
from tests.suite.conftest import deployment
from tests.suite.test_hpo import HPO


def test_both_steps_are_counted_in_full_trainings() -> None:
    # 20 trials of 2 epochs on a tenth, two of 6 epochs on everything
    told = worth(deployment())
    assert told is not None
    assert told.step1 == pytest.approx(20 * 0.1 * 2 / 6)
    assert told.step2 == pytest.approx(2)
    assert told.share == pytest.approx((20 * 0.1 * 2 / 6 + 2) / 20)
    assert "2.7 full trainings" in told.words
    assert "13.3%" in told.words


def test_rungs_controls_and_finalists_count() -> None:
    told = worth(deployment(hpo=HPO))
    assert told is not None
    # of eight trials four go on after 2 of 8 epochs and two after 4: 16 + 8 + 8 of 64 epochs
    assert told.step1 == pytest.approx(40 * 0.1 * 8 / 12 * 32 / 64)
    assert told.step2 == pytest.approx(4 + 2 + 2 * 2)


def test_nothing_is_said_without_a_search_or_epochs() -> None:
    assert worth(deployment(hpo=None)) is None
    training = {"config": "training/storm.yaml", "resources": {"walltime": "2h"}}
    assert worth(deployment(training=training)) is None


def test_a_pilot_counts_and_what_is_left_to_it_is_told() -> None:
    told = worth(deployment(hpo={**HPO, "pilot": {"configurations": 10}}))
    assert told is not None
    # ten twice on a tenth and once on a fifth, 8 epochs instead of 12
    assert told.pilot == pytest.approx(10 * 0.4 * 8 / 12)
    assert "pilot 2.7 at least, step 1" in told.words
    auto = deployment(hpo={**HPO, "step2": {"keep": "auto", "controls": 1}})
    assert worth(auto) is None
    assert left(auto) == (
        "The pilot decides how large the search is: both may cost 10% of training all 40 trials on everything, and at "
        "most 5 are trained in step 2."
    )
    assert left(deployment()) is None
