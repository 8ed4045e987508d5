"""The web pages: complete, escaped, without anything from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from ml_suite.catalogue import views
from tests.catalogue.conftest import dataset

A = "/api/v1"
NAME = "aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1"
EVIL = "<script>alert(1)</script>\"'&"
METADATA = {
    "description": f"Real data {EVIL}",
    "start_date": "2020-01-01T00:00:00",
    "end_date": "2020-01-02T18:00:00",
    "frequency": "6h",
    "missing_dates": ["2020-01-01T12:00:00"],
    "shape": [8, 2, 1, 40],
    "dimensions": ["dates", "variables", "ensembles", "values"],
    "total_size": 18800,
    "variables": ["2t", "cos_latitude"],
    "constant_fields": ["cos_latitude"],
    "variables_metadata": {"2t": {"mars": {"param": "2t", "levtype": "sfc"}, "units": "K"}},
    "statistics": {
        "mean": [280.0, 0.7],
        "stdev": [5.0, 0.1],
        "minimum": [270.0, "nan"],
        "maximum": [290.0, "inf"],
    },
    "recipe": {"description": EVIL, "input": {"netcdf": {"path": EVIL}}},
}


class Page(HTMLParser):
    """Elements, links and text of a page; every element is closed in order."""

    VOID = ("meta", "input", "link", "br", "img", "hr")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def load(web: TestClient, path: str, status: int = 200) -> Page:
    answer = web.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = Page(answer.text)
    names = {tag for tag, _ in page.elements}
    assert not names & {"script", "link", "img", "iframe"}
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", answer.text)
    return page


@pytest.fixture
def filled(web: TestClient) -> TestClient:
    web.post(f"{A}/datasets", json={**dataset(NAME, "u1", **METADATA), "status": "testing"})
    place = {"op": "add", "path": "/locations/ewc", "value": {"path": f"s3://b/{EVIL}"}}
    assert web.patch(f"{A}/datasets/{NAME}", json=[place]).status_code == 200
    web.put(
        f"{A}/trainings/t1",
        json={
            "metadata": {
                "text": EVIL,
                "datasets": [EVIL],
                "mlflow": {"run_id": EVIL, "url": "javascript:alert(1)"},
            }
        },
    )
    web.post(
        f"{A}/weights", json={"uuid": "w1", "metadata": {"size": 10091, "config": {"a": list(range(99))}}}
    )
    web.post(f"{A}/experiments", json={"expver": "i4df"})
    task = web.post(
        f"{A}/tasks", json={"action": "transfer-dataset", "dataset": NAME, "source": "ewc"}
    ).json()
    web.patch(
        f"{A}/tasks/{task['uuid']}", json=[{"op": "add", "path": "/progress", "value": {"percent": 40}}]
    )
    return web


@pytest.mark.parametrize("tab", views.TABS["datasets"])
def test_tabs_of_a_dataset(filled: TestClient, tab: str) -> None:
    page = load(filled, f"/datasets/{NAME}?tab={tab}")
    chosen = [a["href"] for tag, a in page.elements if tag == "a" and a.get("aria-current")]
    assert chosen == ["/datasets", f"?tab={tab}"]
    expected = {
        "overview": [
            "Real data <script>",
            "8 dates, ",
            "1 missing",
            "18.4 KiB",
            "8 dates \u00d7 2 variables",
        ],
        "recipe": ["netcdf:", "path:"],
        "variables": ["2t", "field", "cos_latitude", "constant", "param=2t levtype=sfc", "K"],
        "locations": ["ewc", "s3://b/<script>"],
        "statistics": ["280", "270", "nan", "inf"],
        "lineage": ["recipe", "netcdf"],
        "debug": ['"total_size": 18800', "anna", "create", "patch"],
    }
    for text in expected[tab]:
        assert text in page.text


def test_pages_of_every_collection(filled: TestClient) -> None:
    for path, texts in {
        "/": ["Latest changes", NAME],
        "/datasets": [NAME, "testing", "ewc"],
        "/trainings": ["t1"],
        "/weights": ["w1"],
        "/weights/w1": ["9.9 KiB", "config"],
        "/weights/w1?tab=lineage": ["w1"],
        "/experiments/i4df": ["i4df"],
        "/trainings/t1?tab=debug": ["javascript:"],
        "/evaluations": ["None yet."],
        "/tasks": ["transfer-dataset", "40%", "No task has finished yet."],
        "/tasks?q=nothing": ["The queue is empty."],
    }.items():
        page = load(filled, path)
        for text in texts:
            assert text in page.text, path


def test_records_cannot_make_dangerous_links(filled: TestClient) -> None:
    for path in ("/trainings/t1", "/trainings/t1?tab=lineage", "/trainings", f"/trainings?q={EVIL}"):
        page = load(filled, path)
        targets = [a["href"] for tag, a in page.elements if tag == "a"]
        assert targets
        assert not [t for t in targets if t and not t.startswith(("/", "?"))]


def test_search_wants_every_word(filled: TestClient) -> None:
    filled.post(f"{A}/datasets", json=dataset(NAME[:-1] + "2", "u2", description="Other"))
    assert NAME in load(filled, "/datasets?q=REAL+data").text
    page = load(filled, "/datasets?q=real+other")
    assert "Nothing has all of these words." in page.text
    assert "1 of 2" in load(filled, "/datasets?q=other").text


def test_an_absent_entry_is_a_page(filled: TestClient) -> None:
    assert "there is no datasets/absent" in load(filled, "/datasets/absent", 404).text
    assert "there is no collection" in load(filled, "/nothing", 404).text
    assert "t1" in load(filled, "/trainings/t1?tab=statistics").text


def test_a_poor_record_has_all_pages(web: TestClient) -> None:
    web.post(f"{A}/datasets", json={"name": NAME})
    for tab in views.TABS["datasets"]:
        load(web, f"/datasets/{NAME}?tab={tab}")


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, [None], {"a": None}])
def test_strange_members_are_shown(web: TestClient, value: object) -> None:
    web.post(
        f"{A}/datasets", json={"name": NAME, "metadata": {**dict.fromkeys(METADATA, value), "uuid": "u"}}
    )
    web.patch(f"{A}/datasets/{NAME}", json=[{"op": "add", "path": "/locations/x", "value": value}])
    for tab in views.TABS["datasets"]:
        load(web, f"/datasets/{NAME}?tab={tab}")
    load(web, "/datasets")
    task = web.post(
        f"{A}/tasks", json={"action": "x", "progress": value, "worker": value, "status": value}
    ).json()
    load(web, "/tasks")
    load(web, f"/tasks/{task['uuid']}")


def test_coverage_of_gaps() -> None:
    found = views.coverage({"metadata": METADATA})
    assert found is not None
    assert (found.dates, found.missing, found.gaps) == (8, 1, [25.0])
    assert views.coverage({"metadata": {**METADATA, "frequency": "0h"}}) is None
    assert views.coverage({"metadata": {}}) is None
