"""One HTML file with everything inside: it opens offline, loads nothing and runs only its own scripts."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from ml_suite.report import rows
from ml_suite.report.figure import Bars, Boxes, Figure, Layer, Line, Points
from ml_suite.report.figures import each
from ml_suite.report.interactive import plots, thinned
from ml_suite.report.model import Report
from ml_suite.report.style import DARK, LIGHT, SCALE
from ml_suite.report.summary import NOT_RUN
from ml_suite.report.words import bound, duration, headline, number, regret, stated, tied, weights_line

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

GROUND = {
    "light": {
        "ink": "#1f2933",
        "soft": "#4d5a67",
        "grid": "#e6e9ed",
        "edge": "#a9b3bd",
        "ground": "#ffffff",
        "label": "#ffffff",
        "veil": "rgba(255,255,255,0.75)",
    },
    "dark": {
        "ink": "#e6ebf0",
        "soft": "#b3bdc7",
        "grid": "#29323b",
        "edge": "#5b6875",
        "ground": "#12171d",
        "label": "#1c232b",
        "veil": "rgba(18,23,29,0.75)",
    },
}
"""Colours of axes and labels, beside those of the roles."""


@dataclass(frozen=True)
class Plot:
    """A panel as the template needs it."""

    title: str
    square: bool
    alt: str
    json: Markup


@dataclass(frozen=True)
class Shown:
    """A figure as the template needs it."""

    id: str
    title: str
    caption: str
    wide: bool
    columns: int
    legend: list[tuple[str, str, str]]
    """Kind of mark, role and name."""
    counts: int
    """Greatest count of a scale of colours; 0: there is none."""
    plots: list[Plot]


def render(report: Report) -> str:
    """Write the page."""
    from markupsafe import Markup

    scripts = [_plotly(), _script()]
    sections: dict[str, list[Shown]] = {}
    drawn, undrawn = each(report, lambda figure: (figure.section, _shown(figure)))
    for section, figure in drawn:
        sections.setdefault(section, []).append(figure)
    order = rows.order(report)
    return _template().render(
        r=report,
        headline=headline(report),
        weights=weights_line(report),
        sections=sections,
        undrawn=[one.words for one in undrawn],
        scripts=[Markup(text) for text in scripts],
        policy=" ".join(f"'{_digest(text)}'" for text in scripts),
        data=Markup(_json(rows.columns(report))),
        schemes=Markup(_json({"light": LIGHT | GROUND["light"], "dark": DARK | GROUND["dark"]})),
        scale=SCALE,
        light=LIGHT,
        dark=DARK,
        names=rows.names(report),
        rows=[report.rows[i] for i in order[: rows.SHOWN]],
        top=(top := rows.top(report)),
        seeds=any(best.seeds > 1 for best in top),
        timed=any(best.row.inference_seconds for best in top),
        second=any(best.first for best in top),
        gpus=report.cost is not None and any(step.gpu_hours for step in report.cost.steps),
        depths=rows.tells_depth(report),
        shown=rows.SHOWN,
        not_run=NOT_RUN,
    )


@cache
def _template() -> Template:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ml_suite.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=number,
        duration=duration,
        text=rows.text,
        regret=regret,
        bound=bound,
        stated=stated,
        tied=tied,
    )
    return environment.get_template("page.html")


def _shown(figure: Figure) -> Shown:
    from markupsafe import Markup

    caption = figure.caption
    if (few := thinned(figure)) is not None:
        caption += f" Drawn here are {few[0]:,} of {few[1]:,} marks; the images have all of them."
    panels = [
        Plot(
            panel.title,
            panel.square,
            f"{figure.title}: {panel.y.title} over {panel.x.title}",
            Markup(_json(plot)),
        )
        for panel, plot in zip(figure.panels, plots(figure), strict=True)
    ]
    legend = [_swatch(layer) for layer in figure.legend]
    counts = figure.counted.top if figure.counted else 0
    return Shown(figure.id, figure.title, caption, len(panels) > 1, figure.columns, legend, counts, panels)


def _swatch(layer: Layer) -> tuple[str, str, str]:
    """Kind of mark, role and name of a layer."""
    role = getattr(layer, "role", "reference")
    match layer:
        case Points():
            return layer.marker, role, layer.name
        case Line():
            return "line" if layer.dash == "solid" else layer.dash, role, layer.name
        case Bars():
            return "bars" if layer.filled else "outline", role, layer.name
        case Boxes():
            return "outline", role, layer.name
        case _:
            return "line", role, layer.name


@cache
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@cache
def _script() -> str:
    return files("ml_suite.report").joinpath("templates/page.js").read_text(encoding="utf-8")


def _digest(script: str) -> str:
    """Hash by which the page's content policy lets a script run, and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _json(value: Any) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("&", "\\u0026")
