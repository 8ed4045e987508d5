"""One HTML file with everything inside: it opens offline, loads nothing and runs only its own scripts."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache

from ml_suite.report import plots
from ml_suite.report.model import Report, Row
from ml_suite.report.summary import FORMULA, NOT_RUN
from ml_suite.report.words import duration, headline, number, weights_line

_DRAW = """
for (const place of document.querySelectorAll("[data-figure]")) {
  const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  Plotly.newPlot(place, figure.data, figure.layout,
    {responsive: true, displaylogo: false, showLink: false, modeBarButtonsToRemove: ["sendDataToCloud"]});
}
for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", event => {
    const head = event.target.closest("th");
    if (!head) return;
    const column = head.cellIndex, up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = row => row.cells[column].dataset.key ?? row.cells[column].textContent;
    const order = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      const difference = Number(a) - Number(b);
      return (Number.isNaN(difference) ? a.localeCompare(b) : difference) * (up ? 1 : -1);
    };
    const rows = [...table.tBodies[0].rows].sort((a, b) => order(key(a), key(b)));
    table.tBodies[0].append(...rows);
  });
}
const filter = document.getElementById("filter");
if (filter) filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase();
  for (const row of document.getElementById("trials").tBodies[0].rows)
    row.hidden = !row.textContent.toLowerCase().includes(words);
});
"""


def render(report: Report) -> str:
    """Write the page."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ml_suite.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, duration=duration)
    scripts = [_plotly(), _DRAW]
    figures = {name: Markup(_json(figure)) for name, figure in plots.figures(report).items()}
    return environment.get_template("page.html").render(
        r=report,
        headline=headline(report),
        weights=weights_line(report),
        figures=figures,
        scripts=[Markup(text) for text in scripts],
        policy=" ".join(f"'{_digest(text)}'" for text in scripts),
        names=sorted({name for row in report.rows for name in row.params}),
        rows=sorted(report.rows, key=_best_first),
        formula=FORMULA,
        not_run=NOT_RUN,
        max_curves=plots.MAX_CURVES,
    )


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


def _digest(script: str) -> str:
    """Hash by which the page's content policy lets a script run, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(figure: plots.Figure) -> str:
    """JSON that cannot end the element that it stands in."""
    return json.dumps(figure, allow_nan=False).replace("<", "\\u003c").replace("&", "\\u0026")


def _best_first(row: Row) -> tuple[bool, int, int, int]:
    return (not row.winner, -row.step, row.rank or 10**9, row.trial)
