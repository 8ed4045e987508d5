"""Quotes of whole studies, before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.cli.study_quote import told
from ml_suite.search import freeze
from ml_suite.search.quoting import quote
from ml_suite.study.cost import Quote
from tests.search.studies import samples, study

AUTO = (("trials: 12, subset: 20%", "trials: 100, subset: auto"), ("keep: 17%", "keep: auto"))
PILOT = "  pilot: {configurations: 12, budget: 60%}\n  step2:"


@pytest.fixture(autouse=True)
def environment(anemoi_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_SUITE_ENVIRONMENT", str(anemoi_python.parents[1]))


def quoted(folder: Path, *changes: tuple[str, str]) -> Quote:
    path = study(folder, *changes)
    samples(folder / "small.npz", 6000)
    return quote(freeze.freeze(path, folder / "study"))


def test_a_search_that_the_pilot_chooses_costs_between_the_cheapest_and_the_budget(tmp_path: Path) -> None:
    made = quoted(tmp_path, *AUTO, ("  step2:", PILOT))
    assert made.least_seconds is not None
    assert 0 < made.least_seconds < made.seconds == pytest.approx(0.6 * made.one_step_seconds)
    (line,) = made.lines
    assert line.trainings == 3 * 12 + 100 + 1
    assert made.remark == ""
    facts = told(made, 2)
    assert facts["pilot, step 1 and step 2"].startswith("at least 137 trainings, between ")
    assert " to 60.0% of it" in facts["one step"]
    assert facts["in all"].startswith("between ")


def test_a_budget_that_is_too_small_is_told_with_the_quote(tmp_path: Path) -> None:
    made = quoted(tmp_path, *AUTO, ("  step2:", PILOT.replace("60%", "1%")))
    assert made.remark.startswith("the budget of 1 % is too small: ")
    assert made.least_seconds == made.seconds
    assert told(made, 2)["budget"] == made.remark


def test_the_anchors_of_a_stated_search_are_in_its_quote(tmp_path: Path) -> None:
    large = ("trials: 12, subset: 20%", "trials: 200, subset: 5%")
    few = ("keep: 17%", "keep: 2%")
    plain = quoted(tmp_path, large, few)
    made = quoted(tmp_path, large, few, ("  step2:", PILOT))
    assert [line.part for line in made.lines] == ["pilot", "anchors", "step1", "step2"]
    pilot, anchors, *rest = made.lines
    assert rest == plain.lines
    assert pilot.trainings == 36
    assert anchors.trainings == 12
    assert anchors.least == 0.0
    assert made.least_seconds == pytest.approx(plain.seconds + pilot.seconds)
    assert made.seconds == pytest.approx(made.least_seconds + anchors.seconds)
    assert told(made, 2)["anchors"].startswith("at most 12 trainings, at most ")


def test_no_anchors_are_quoted_where_the_budget_has_no_room(tmp_path: Path) -> None:
    made = quoted(tmp_path, ("  step2:", PILOT.replace("12,", "8,").replace("60%", "10%")))
    assert [line.part for line in made.lines] == ["pilot", "step1", "step2"]
    assert made.lines[0].trainings == 3 * 8
    assert "is too small" in made.remark
    assert made.least_seconds is None
