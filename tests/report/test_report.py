"""The report of real small studies: whole, half finished, not begun, hostile."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ml_suite.errors import MlSuiteError, StudyError
from ml_suite.report.collect import collect, deployed
from ml_suite.report.figures import figures
from ml_suite.report.page import render
from tests.jobs.study_rig import Rig
from tests.report.conftest import HOSTILE, home_of, poison

LOADING = {"src", "srcset", "data", "poster", "background", "action", "formaction", "manifest", "codebase"}
LOADERS = {"link", "iframe", "object", "embed", "img", "audio", "video", "base", "frame", "applet"}


class Page(HTMLParser):
    """Tags of a page, with the text of its scripts left aside."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.data: dict[str, str] = {}
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.open[-1] if self.open else ("", {})
        if tag == "script" and attributes.get("type") == "application/json":
            name = str(attributes["id"])
            self.data[name] = self.data.get(name, "") + data
        elif tag not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def command(rig: Rig, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [Path(sys.executable).with_name("ml-suite"), "report", "rig", *words],
        env={**os.environ, "ML_SUITE_HOME": str(home_of(rig)), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
        cwd=rig.folder,
    )


def test_a_whole_study(whole: Rig) -> None:
    report = collect(whole.job.resolved)
    assert report.state == "evaluated"
    assert report.missing == ["the weights are not in the catalogue yet (task register)"]
    assert [(a.step, a.planned) for a in report.account] == [(1, 6), (2, 2)]
    assert report.account[0].states == {"complete": 3, "pruned": 1, "diverged": 1, "failed": 1}
    assert report.winner is not None
    assert report.winner.step == 2
    assert report.winner.value == min(r.value for r in report.of_step(2) if r.value is not None)
    assert report.cost is not None
    assert report.cost.one_step_seconds is not None
    assert {f.state.value for f in report.failures} == {"pruned", "diverged", "failed"}
    assert {f.id for f in figures(report)} == {"ranks", "steps", "params", "curves", "costmap"}


def test_the_page_has_every_trial_and_loads_nothing(whole: Rig) -> None:
    page = Page(render(collect(whole.job.resolved)))
    rows = [tag for tag, attributes in page.tags if tag == "tr"]
    assert len(rows) >= 8
    for word in ("diverged", "pruned", "no such layer", "Cost", "Winner"):
        assert word in page.words
    for tag, attributes in page.tags:
        assert tag not in LOADERS, tag
        assert not LOADING & set(attributes) or tag == "div", (tag, attributes)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
    policy = next(str(a["content"]) for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "unsafe-eval" not in policy


def test_figures_are_valid_json_for_plotly(whole: Rig) -> None:
    page = Page(render(collect(whole.job.resolved)))
    plots = [json.loads(text) for name, text in page.data.items() if name.startswith("data-")]
    assert len(plots) == sum("data-plot" in a for _, a in page.tags) >= 5
    for plot in plots:
        assert plot["data"]
        assert len(plot["data"]) == len(plot["hover"])
        for trace, hover in zip(plot["data"], plot["hover"], strict=True):
            lengths = {len(trace[k]) for k in ("x", "y")} if trace["type"] == "scatter" else set()
            told = {len(hover[k]) for k in ("rows", "notes") if k in hover}
            assert len(lengths | told) <= 1


def test_every_figure_tells_what_it_shows(whole: Rig) -> None:
    page = Page(render(collect(whole.job.resolved)))
    plots = [a for _, a in page.tags if "data-plot" in a]
    assert all(a["role"] == "img" and a["aria-label"] for a in plots)
    tags = [t for t, _ in page.tags]
    assert tags.count("figure") == tags.count("figcaption") >= 5


def test_hostile_text_stays_text(whole: Rig) -> None:
    poison(whole)
    text = render(collect(whole.job.resolved))
    page = Page(text)
    scripts = [a for t, a in page.tags if t == "script"]
    assert len(scripts) == len(page.data) + 2
    assert "img" not in {t for t, _ in page.tags}
    assert HOSTILE in page.words
    for name, plot in page.data.items():
        if name.startswith("data-"):
            assert "<script" not in json.dumps(json.loads(plot))
            assert "<img" not in json.dumps(json.loads(plot))


def test_half_a_study_says_what_is_missing(halfway: Rig) -> None:
    report = collect(halfway.job.resolved)
    assert report.state == "running"
    assert report.account[0].states == {"complete": 2, "diverged": 1, "not run": 3}
    assert report.account[1].states == {"not run": 2}
    page = Page(render(report))
    assert "No winner yet: 3 of 8 trainings have a result." in page.words
    assert "step 1 is not finished" in page.words


def test_trainings_with_other_seeds_and_controls_are_planned_too(planned: Rig) -> None:
    resolved = planned.job.resolved
    told = resolved.deployment.model_dump(mode="json", exclude_none=True)
    told["hpo"]["step2"] |= {"controls": 1, "finalists": 2, "replicates": 3}
    deployment = type(resolved.deployment).model_validate_json(json.dumps(told))
    report = collect(resolved.model_copy(update={"deployment": deployment}))
    assert [(a.step, a.planned) for a in report.account] == [(1, 6), (2, 2 + 1 + 2 * 2)]


def test_before_anything_ran(planned: Rig) -> None:
    report = collect(planned.job.resolved)
    assert report.state == "empty"
    assert report.account[0].states == {"not run": 6}
    page = Page(render(report))
    assert "No training has a result yet." in page.words
    assert set(page.data) == {"rows", "schemes"}


def test_a_damaged_file_is_a_message(whole: Rig) -> None:
    whole.job.tree.selection.write_text("{")
    with pytest.raises(StudyError, match=r"selection\.json is damaged"):
        collect(whole.job.resolved)


def test_a_suite_that_was_never_deployed_is_a_message(whole: Rig) -> None:
    with pytest.raises(MlSuiteError, match=r"not deployed from here[\s\S]*Deployed here: rig"):
        deployed("other", home_of(whole))


def test_the_command_line(whole: Rig) -> None:
    shown = command(whole)
    assert shown.returncode == 0, shown.stderr
    assert "won with val" in shown.stdout
    assert "no such layer" in shown.stdout
    assert shown.stdout.rstrip().endswith("Next: ml-suite report rig --html report.html")
    plain = json.loads(command(whole, "--json").stdout)
    assert plain["version"] == 1
    assert len(plain["rows"]) == 8
    written = command(whole, "--html", "report.html")
    assert written.returncode == 0, written.stderr
    assert (whole.folder / "report.html").stat().st_size > 1_000_000
    drawn = command(whole, "--figures", "images")
    assert drawn.returncode == 0, drawn.stderr
    names = {path.name for path in (whole.folder / "images").iterdir()}
    assert {"ranks.png", "ranks.svg", "top.csv"} <= names
    assert f"wrote {len(names)} files" in drawn.stdout
    other = command(whole, "--cycle", "20260101")
    assert other.returncode == 1
    assert "no cycle '20260101'" in other.stderr
    assert "It has: once" in other.stderr


def test_a_browser_without_a_network_draws_it(whole: Rig) -> None:
    """Chromium in a network namespace with nothing in it: every place of a figure has a drawing afterwards."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.fail("chromium is missing; run: apt-get install chromium")
    poison(whole)
    path = whole.folder / "report.html"
    path.write_text(render(collect(whole.job.resolved)))
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000"]
    command += [f"--user-data-dir={whole.folder / 'browser'}", "--dump-dom", path.as_uri()]
    if shutil.which("unshare") and subprocess.run(["unshare", "-rn", "true"], check=False).returncode == 0:
        command = ["unshare", "-rn", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    drawn = Page(done.stdout)
    plots = [a for t, a in drawn.tags if t == "div" and "data-plot" in a]
    assert len(plots) >= 5
    assert all("js-plotly-plot" in str(a.get("class")) for a in plots)
    assert "img" not in {t for t, _ in drawn.tags}
