"""The report of a study that ran on one machine, and its figures."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ml_suite.errors import MlSuiteError, StudyError
from ml_suite.report import figures as all_figures
from ml_suite.report import images, interactive
from ml_suite.report.figure import Bars, Boxes, Curves, Figure, Line, Points
from ml_suite.report.figures import complexity, figures
from ml_suite.report.figures.complexity import front
from ml_suite.report.figures.spending import share
from ml_suite.report.figures.view import View
from ml_suite.report.model import Report
from ml_suite.report.page import render
from ml_suite.report.predictions import hexagons, outputs
from ml_suite.report.rows import top
from ml_suite.report.study import report_of_study
from ml_suite.report.words import bound, stated
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.contract import Selection
from tests.report import synthetic
from tests.report.test_report import Page

ALL = {
    "agreement",
    "ranks",
    "steps",
    "groups",
    "depth",
    "parameters",
    "inference",
    "params",
    "histograms",
    "curves",
    "predictions",
    "costmap",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.write(tmp_path_factory.mktemp("study"), trials=160, keep=16)


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return report_of_study(folder)


@pytest.fixture(scope="module")
def drawn(report: Report) -> dict[str, Figure]:
    return {figure.id: figure for figure in figures(report)}


def layer(figure: Figure, name: str, panel: int = 0) -> Points | Line | Bars | Boxes | Curves:
    """Layer of a panel by its name."""
    (found,) = [x for x in figure.panels[panel].layers if x.name == name]
    assert isinstance(found, Points | Line | Bars | Boxes | Curves)
    return found


def test_a_finished_study_has_all_figures(report: Report, drawn: dict[str, Figure]) -> None:
    assert set(drawn) == ALL
    assert report.kind == "study"
    assert report.missing == []
    assert all(figure.caption.endswith(".") and len(figure.caption) > 60 for figure in drawn.values())
    for figure in drawn.values():
        for panel in figure.panels:
            assert panel.x.title
            assert panel.y.title
            assert panel.layers


def test_metric_by_rank_shows_every_trial_with_a_value(report: Report, drawn: dict[str, Figure]) -> None:
    first, cut = (layer(drawn["ranks"], n) for n in ("step 1, on the subset", "step 1, cut early"))
    assert isinstance(first, Points)
    assert isinstance(cut, Points)
    states = report.account[0].states
    assert (len(first.x), len(cut.x)) == (states["complete"], states["pruned"])
    assert list(first.y) == sorted(first.y)
    assert min(cut.x) > max(first.x)
    assert [report.rows[i].rank for i in first.rows] == list(first.x)


def test_candidates_controls_and_winner_are_told_apart(report: Report, drawn: dict[str, Figure]) -> None:
    marks = {n: layer(drawn["steps"], n) for n in ("candidate", "control", "winner")}
    assert {n: len(m.x) for n, m in marks.items() if isinstance(m, Points)} == {
        "candidate": 15,
        "control": 5,
        "winner": 1,
    }
    won = marks["winner"]
    assert isinstance(won, Points)
    assert won.y == [pytest.approx(report.value)]
    assert won.spread[0][0] <= won.y[0] <= won.spread[0][1]
    assert report.rows[won.rows[0]].winner


def test_rank_groups_cover_all_candidates_and_end_with_controls(drawn: dict[str, Figure]) -> None:
    boxes = layer(drawn["groups"], "median and quartiles")
    assert isinstance(boxes, Boxes)
    assert sum(b.count for b in boxes.boxes) == 21
    assert boxes.boxes[-1].count == 5
    assert all(b.low <= b.lower <= b.median <= b.upper <= b.high for b in boxes.boxes)
    assert next(label for _, label in drawn["groups"].panels[0].x.ticks).startswith("1 to ")


def test_the_line_of_the_best_never_rises(report: Report, drawn: dict[str, Figure]) -> None:
    line = layer(drawn["parameters"], "best within this cost")
    assert isinstance(line, Line)
    values = [v for v in line.y if v is not None]
    assert values == sorted(values, reverse=True)
    assert values[-1] == min(r.value for r in report.of_step(2) if r.rank and r.value is not None)


def test_front_of_a_metric_that_should_be_large() -> None:
    assert front([(1, 0.5), (2, 0.4), (3, 0.9), (3, 0.8)], minimise=False) == [(1, 0.5), (3, 0.9)]
    assert front([(2, 1.0), (1, 2.0), (3, 1.0)], minimise=True) == [(1, 2.0), (2, 1.0)]


def test_histograms_count_every_trial_once(report: Report, drawn: dict[str, Figure]) -> None:
    complete = report.account[0].states["complete"]
    for panel in drawn["histograms"].panels:
        bars = [x for x in panel.layers if isinstance(x, Bars)]
        assert sum(bars[0].counts) == complete, panel.x.title
        assert sum(bars[0].heights) == pytest.approx(1)
    titles = [panel.x.title for panel in drawn["histograms"].panels]
    assert titles[:3] == ["val_mse", "hidden layers", "trainable parameters"]
    batch = next(p for p in drawn["histograms"].panels if p.x.title == "batch")
    assert [label for _, label in batch.x.ticks] == ["256", "1024", "4096"]
    units = next(p for p in drawn["histograms"].panels if p.x.title == "units")
    assert not units.x.ticks
    assert units.x.log


def test_learning_curves_are_few_enough_and_the_winner_is_among_them(
    report: Report, drawn: dict[str, Figure]
) -> None:
    first, second = drawn["curves"].panels
    for panel in (first, second):
        groups = {x.name: x for x in panel.layers if isinstance(x, Curves)}
        assert sum(len(group.curves) for group in groups.values()) <= 200
        assert len(groups["winner"].curves) == 1
    assert [x.x[0] for x in first.layers if isinstance(x, Line)] == [4, 12]


def test_the_cost_map_agrees_with_the_account(report: Report, drawn: dict[str, Figure]) -> None:
    model, cost = report.cost_model, report.cost
    assert model is not None
    assert cost is not None
    assert share(model, model.subset, model.keep) == pytest.approx(cost.share)
    assert model.measured == cost.share
    assert share(model, 1.0, model.keep) > share(model, 0.01, model.keep) >= model.overhead
    assert "by the formula" in drawn["costmap"].caption


def test_best_models_put_those_with_more_seeds_first(report: Report) -> None:
    best = top(report)
    assert best[0].row.winner
    assert [b.seeds for b in best[:4]] == [3, 3, 3, 1]
    assert all(b.row.role != "control" for b in best)
    assert best[3].value <= best[4].value


def test_the_certificate_is_shown_with_its_evidence(report: Report, drawn: dict[str, Figure]) -> None:
    found = report.certificate
    assert found is not None
    page = Page(render(report))
    assert found.sentence in page.words
    panels = drawn["agreement"].panels
    assert [panel.title for panel in panels] == [
        "twice on the subset",
        "subset and twice as much",
        "subset and all data",
        "regret of the winner",
    ]
    for panel, evidence in zip(panels, found.panels, strict=False):
        marks = layer(drawn["agreement"], "configuration of the pilot", panels.index(panel))
        assert isinstance(marks, Points)
        assert list(marks.x) == evidence.first
        assert evidence.agreement is not None
        assert f"= {evidence.agreement.tau:.2f} (" in panel.note
    predicted = layer(drawn["agreement"], "regret predicted", 3)
    assert isinstance(predicted, Points)
    assert found.regret is not None
    assert predicted.spread == [(0.0, found.regret.high)]
    assert report.cost is not None
    assert report.cost.pilot is not None
    assert report.cost.pilot.trainings == found.pilot_trainings
    # as in the sentence, nothing reads as if it were accepted that is not
    assert f"at most {bound(found.regret.high, True)} (10 % is accepted)" in page.words
    assert (bound(0.1002, True), stated(0.125, True), bound(0.0, True)) == ("10.1 %", "12.5 %", "0.1 %")


def test_hexagons_keep_every_sample_near_its_place() -> None:
    rng = np.random.default_rng(1)
    truth = rng.uniform(2, 3, 5000)
    predicted = truth + rng.normal(0, 0.1, 5000)
    edges = np.linspace(1, 4, 201)
    counts = np.histogram2d(truth, predicted, bins=(edges, edges))[0]
    found = hexagons("winner", "y", counts, edges, 5000, 0.01, 0.9)
    assert sum(found.counts) == 5000
    assert len(set(zip(found.truth, found.predicted, strict=True))) == len(found.counts)
    total = np.array(found.counts)
    assert np.average(found.truth, weights=total) == pytest.approx(truth.mean(), abs=0.01)
    assert np.average(found.predicted, weights=total) == pytest.approx(predicted.mean(), abs=0.01)


def test_names_of_outputs_come_from_the_data(folder: Path, tmp_path: Path) -> None:
    arrays = ArrayPlan.load(folder / "plan.json").arrays
    assert outputs(arrays) == ["output 1", "output 2", "output 3", "output 4"]
    path = tmp_path / "data.npz"
    np.savez(path, y_names=np.array(["a", "b", "c", "d"]))
    assert outputs(arrays.model_copy(update={"path": path})) == ["a", "b", "c", "d"]


def test_the_page_of_a_study(report: Report) -> None:
    page = Page(render(report))
    ids = {str(a["id"]) for t, a in page.tags if t == "figure"}
    assert ids == ALL
    for words in (
        "aerosol",
        "the mean of 2 further seeds",
        "Best models",
        "Cost map",
        "Truth against prediction",
    ):
        assert words in page.words
    assert "Trial 7, a control, reached 0.0001." in page.words
    assert "Where things are" not in page.words
    assert "ecFlow" not in page.words


def test_a_study_that_has_just_begun(tmp_path: Path) -> None:
    synthetic.write(tmp_path, trials=30, keep=3, finished=False)
    report = report_of_study(tmp_path)
    assert report.state == "running"
    assert report.missing == ["step 1 is not finished: there is no shortlist", "there is no winner yet"]
    assert {"ranks", "depth", "curves"} <= {f.id for f in figures(report)}
    assert "No winner yet: 30 of 44" in Page(render(report)).words


def test_a_folder_without_a_study_is_a_message(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="holds no study") as caught:
        report_of_study(tmp_path)
    assert "ml-suite study run" in str(caught.value)


def test_predictions_of_another_form_are_a_message(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_bytes((folder / "plan.json").read_bytes())
    np.savez(tmp_path / "predictions.npz", truth=np.zeros(3))
    with pytest.raises(StudyError, match=r"predictions\.npz does not hold counts"):
        report_of_study(tmp_path)


def test_a_metric_that_should_be_large(folder: Path, tmp_path: Path) -> None:
    plan = ArrayPlan.load(folder / "plan.json").model_copy(
        update={"direction": "maximize", "metric": "skill"}
    )
    plan.save(tmp_path / "plan.json")
    for step in ("step1", "step2"):
        (tmp_path / step).mkdir()
        text = (folder / step / "0-of-1.jsonl").read_text()
        (tmp_path / step / "0-of-1.jsonl").write_text(text)
    Selection.load(folder / "selection.json").save(tmp_path / "selection.json")
    found = {f.id: f for f in figures(report_of_study(tmp_path))}
    ranks = layer(found["ranks"], "step 1, on the subset")
    assert isinstance(ranks, Points)
    assert list(ranks.y) == sorted(ranks.y, reverse=True)
    assert "higher is better" in found["ranks"].panels[0].y.title


def step1_over_time(view: View) -> Figure:
    raise ZeroDivisionError("float division by zero <b>")


def test_a_figure_that_cannot_be_drawn_takes_no_other_down(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(all_figures, "MAKERS", (step1_over_time, complexity.depth, complexity.parameters))
    page = Page(render(report))
    told = "Could not be drawn: step 1 over time: ZeroDivisionError: float division by zero <b>"
    assert told in page.words
    assert {str(a["id"]) for t, a in page.tags if t == "figure"} == {"depth", "parameters"}
    with pytest.raises(MlSuiteError, match="could not be drawn: step 1 over time: ZeroDivisionError"):
        images.write(report, tmp_path, ["svg"])
    assert {p.name for p in tmp_path.iterdir()} == {"depth.svg", "parameters.svg", "top.csv"}


def test_where_no_figure_can_be_drawn_there_is_a_page_all_the_same(
    report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(report: Report) -> View:
        raise KeyError("rows")

    monkeypatch.setattr(all_figures, "View", broken)
    page = Page(render(report))
    assert "Could not be drawn: all figures: KeyError: 'rows'" in page.words
    assert "Best models" in page.words


def test_images_are_the_same_bytes_each_time(report: Report, tmp_path: Path) -> None:
    few = report.model_copy(
        update={
            "predictions": [],
            "certificate": None,
            "cost_model": None,
            "rows": [r.model_copy(update={"params": {}}) for r in report.rows if r.step == 2],
        }
    )
    first = images.write(few, tmp_path / "a", ["svg"])
    second = images.write(few, tmp_path / "b", ["svg"])
    assert [p.name for p in first] == [p.name for p in second]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    assert {"parameters.svg", "top.csv"} <= {p.name for p in first}
    for path in first[:-1]:
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_every_figure_can_be_drawn(drawn: dict[str, Figure]) -> None:
    for name, figure in drawn.items():
        content = images.draw(replace(figure, panels=figure.panels[-2:]), ["png"])["png"]
        assert content.startswith(b"\x89PNG"), name
        assert len(content) > 5000, name


def test_names_are_only_text_in_images_too(report: Report) -> None:
    name = r"$\frac{x_<b>&"
    rows = [r.model_copy(update={"params": {name: r.params["activation"] + "$^{"}}) for r in report.rows]
    hostile = report.model_copy(update={"rows": rows, "metric": name, "space": {}})
    for figure in figures(hostile):
        if figure.id in ("params", "ranks"):
            svg = images.draw(figure, ["svg"])["svg"]
            assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_the_table_of_the_best_models_as_csv(report: Report) -> None:
    lines = images.top_table(report).splitlines()
    assert lines[0].startswith("place,trial,val_mse,seeds,step1_value,step1_rank,layers,parameters")
    assert len(lines) == 1 + 16
    assert report.winner is not None
    assert lines[1].split(",")[:2] == ["1", str(report.winner.trial)]


def test_many_trials_make_a_small_page(report: Report) -> None:
    many = [
        row.model_copy(update={"trial": 160 * n + row.trial, "rank": row.rank and row.rank + 140 * n})
        for n in range(25)
        for row in report.of_step(1)
    ]
    large = report.model_copy(update={"rows": many + report.of_step(2), "trials": len(many)})
    page = render(large)
    assert len(page.encode()) < 8e6
    assert page.count("<tr") < 300
    (ranks,) = [f for f in figures(large) if f.id == "ranks"]
    assert interactive.thinned(ranks) is not None
    trace = interactive.plots(ranks)[0]["data"][0]
    assert len(trace["x"]) == interactive.marks.MAX_POINTS
    assert trace["x"][:5] == [1, 2, 3, 4, 5]
    assert "marks; the images have all of them" in page


def test_numbers_for_the_browser_are_finite_and_short(drawn: dict[str, Figure]) -> None:
    for figure in drawn.values():
        for plot in interactive.plots(figure):
            text = json.dumps(plot, allow_nan=False)
            for trace in plot["data"]:
                for value in trace["x"]:
                    assert value is None or math.isfinite(value)
            assert "Infinity" not in text
