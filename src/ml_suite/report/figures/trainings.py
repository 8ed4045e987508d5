"""How trainings went: learning curves, histograms, and the metric over each hyperparameter's range."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from ml_suite.report.figure import Axis, Bars, Curve, Curves, Figure, Layer, Line, Panel, Role
from ml_suite.report.figures.view import Entry, View, points
from ml_suite.report.model import Row
from ml_suite.report.scales import count_axis, value_axis, whole_ticks
from ml_suite.report.summary import value

MAX_CURVES = 200
"""More learning curves than this in one panel are only noise."""
PANELS = 24
"""Most panels of one figure."""
BINS = 20


def learning_curves(view: View) -> Figure | None:
    """Metric after every validation, a panel for each step."""
    panels, hidden = [], 0
    for step in (0, 1, 2):
        rows = [(i, row) for i, row in enumerate(view.report.rows) if row.step == step and row.history]
        if rows:
            shown = _sample(view, rows)
            hidden += len(rows) - len(shown)
            panels.append(_curves_panel(view, step, shown))
    if not panels:
        return None
    caption = "The metric after each validation, one line a training."
    if len(panels) > 1:
        caption += " First on the subset, then on all data; mind the different scales."
    if view.report.rungs:
        caption += " Dotted lines: where cohorts of step 1 were cut to their best part."
    if hidden:
        caption += (
            f" Of the trainings {hidden:,} are not drawn: shown are the best {MAX_CURVES // 2} and an even choice of "
            "the others."
        )
    return Figure("curves", "trainings", "Learning curves", caption, panels)


def histograms(view: View) -> Figure | None:
    """Which sizes and hyperparameters the best tenth of step 1 has, against all trials."""
    entries = view.ranked(1) or view.ranked(0)
    if len(entries) < 20:
        return None
    best = entries[: max(5, len(entries) // 10)]
    panels = [_metric_histogram(view, entries)]
    sizes: list[tuple[str, Callable[[Row], Any]]] = [
        ("hidden layers", lambda row: row.depth),
        ("trainable parameters", lambda row: row.parameters),
    ]
    for name, key in sizes:
        every, good = _both(entries, best, key)
        if len(set(every)) > 1:
            panels.append(_histogram(name, every, good, None))
    for name in _names(view)[: PANELS - 3]:
        if name.rsplit(".", 1)[-1].endswith("layers"):
            continue
        every, good = _both(entries, best, partial(_param, name))
        if len(set(every)) > 1:
            side_by_side = _few(view, name, every)
            panels.append(_histogram(name, every, good, _logarithmic(view, name), side_by_side))
    caption = (
        f"Grey: all {len(entries):,} complete trials; outline: the best {len(best):,} of them. Where the "
        "outline stands above grey, a value is more frequent among good models than it was tried. The first panel "
        "shows the metric in both steps."
    )
    return Figure("histograms", "models", "Which values good models have", caption, panels)


def hyperparameters(view: View) -> Figure | None:
    """Metric against each hyperparameter, one panel each."""
    panels = []
    names = _names(view)
    for name in names[:PANELS]:
        panel = _hyperparameter(view, name)
        if panel:
            panels.append(panel)
    if not panels:
        return None
    caption = "The metric over the range of each hyperparameter that was searched."
    if any(isinstance(row.params.get(name), list) for row in view.report.rows[:50] for name in names):
        caption += " Of a hyperparameter with one value a layer the mean is shown."
    if len(names) > PANELS:
        caption += f" {len(names) - PANELS} more are in the table."
    return Figure("params", "models", "Hyperparameters", caption, panels)


def _sample(view: View, rows: list[Entry]) -> list[Entry]:
    """Trainings whose curve is drawn, worst first: the best, and an even choice of the others."""
    sign = 1 if view.minimise else -1

    def order(entry: Entry) -> tuple[bool, float]:
        v = value(entry[1])
        return v is None, sign * (v or 0.0)

    ordered = sorted(rows, key=order)
    if len(ordered) > MAX_CURVES:
        half = MAX_CURVES // 2
        rest = ordered[half:]
        ordered = ordered[:half] + [rest[i * len(rest) // half] for i in range(half)]
    return ordered[::-1]


def _curves_panel(view: View, step: int, shown: list[Entry]) -> Panel:
    by_epoch = all(_ascending([p.epoch for p in row.history]) for _, row in shown)
    kinds: dict[tuple[str, Role, float], list[Curve]] = {}
    chosen = {row.trial: row.role for row in view.report.rows if row.step == 2}
    for i, row in shown:
        # a value comes at the end of its epoch: the first one after one epoch, where a rung after one epoch cuts
        xs = [float(p.epoch + 1 if by_epoch else p.step) for p in row.history]
        curve = Curve(i, xs, [p.value for p in row.history])
        kinds.setdefault(_kind(row, chosen, view), []).append(curve)
    order = sorted(kinds, key=lambda k: k[2])
    values = [v for curves in kinds.values() for c in curves for v in c.y]
    layers: list[Layer] = [Curves(name, role, kinds[name, role, width], width) for name, role, width in order]
    ends = [x for curves in kinds.values() for c in curves for x in c.x]
    y = view.axis(values)
    if step == 1 and by_epoch and y.range:
        for n, epoch in enumerate(view.report.rungs):
            if min(ends) <= epoch <= max(ends):
                layers.append(
                    Line("cut" if not n else "", "reference", [epoch, epoch], list(y.range), "dot", 1.0)
                )
    title = {0: "training", 1: "step 1, on the subset", 2: "step 2, on all data"}[step]
    x = count_axis("epochs", ends) if by_epoch else value_axis("optimiser steps", ends, log=False)
    return Panel(x, y, layers, title)


def _kind(row: Row, chosen: Mapping[int, str | None], view: View) -> tuple[str, Role, float]:
    won = view.report.winner is not None and view.report.winner.trial == row.trial
    if won and not row.replicate:
        return "winner", "winner", 2.2
    if row.step and chosen.get(row.trial) == "control":
        return "control", "control", 1.1
    if row.step != 1:
        return "candidate", "step2", 1.2
    if row.trial in chosen:
        return "candidate", "step2", 1.0
    return "not chosen", "step1", 0.7


def _metric_histogram(view: View, entries: list[Entry]) -> Panel:
    first = [row.value for _, row in entries if row.value is not None]
    second = [row.value for _, row in view.ranked(2) if row.value is not None]
    x = view.axis(first + second)
    edges = _edges(x.range or (0.0, 1.0), x.log, BINS)
    layers: list[Layer] = [_bars("all of step 1", "step1", edges, first, True)]
    if second:
        layers.append(_bars("step 2", "step2", edges, second, False))
    return Panel(x, _share_axis(), layers)


def _histogram(
    name: str, every: list[Any], good: list[Any], log: bool | None, side_by_side: bool = False
) -> Panel:
    numbers = all(isinstance(v, int | float) for v in every)
    whole = numbers and all(float(v).is_integer() for v in every)
    if numbers and not side_by_side and not (whole and max(every) - min(every) <= 24):
        x = value_axis(name, every, log=log)
        edges = _edges((min(every), max(every)), x.log, BINS)
    elif whole and not side_by_side:
        low, high = int(min(every)), int(max(every))
        x = Axis(name, range=(low - 0.7, high + 0.7), ticks=whole_ticks(low, high))
        edges = [n - 0.5 for n in range(low, high + 2)]
    else:
        x, places = _categories(name, every)
        every, good = [places[_label(v)] for v in every], [places[_label(v)] for v in good]
        edges = [n - 0.5 for n in range(len(places) + 1)]
    layers = [
        _bars("all of step 1", "step1", edges, every, True),
        _bars("best tenth of step 1", "front", edges, good, False),
    ]
    return Panel(x, _share_axis(), layers)


def _bars(name: str, role: Role, edges: Sequence[float], values: Sequence[float], filled: bool) -> Bars:
    counts = [0] * (len(edges) - 1)
    logs = edges[0] > 0 and not math.isclose(edges[1] - edges[0], edges[-1] - edges[-2], rel_tol=1e-6)
    low, high = (math.log(edges[0]), math.log(edges[-1])) if logs else (edges[0], edges[-1])
    for v in values:
        place = ((math.log(v) if logs else v) - low) / (high - low) * len(counts)
        if 0 <= place <= len(counts):
            counts[min(int(place), len(counts) - 1)] += 1
    total = max(1, len(values))
    return Bars(name, role, list(edges), [n / total for n in counts], counts, filled)


def _edges(span: tuple[float, float], log: bool, bins: int) -> list[float]:
    low, high = (math.log(span[0]), math.log(span[1])) if log else span
    places = [low + (high - low) * i / bins for i in range(bins + 1)]
    return [math.exp(p) for p in places] if log else places


def _hyperparameter(view: View, name: str) -> Panel | None:
    by_step = {
        step: [(i, row) for i, row in view.ranked(step) if _scalar(row.params.get(name)) is not None]
        for step in (0, 1, 2)
    }
    every = [_scalar(row.params[name]) for entries in by_step.values() for _, row in entries]
    if not every:
        return None
    numbers = all(isinstance(v, int | float) for v in every)
    if numbers and len(set(every)) > 1 and not _few(view, name, every):
        low, high = min(every), max(every)
        if view.report.space.get(name, {}).get("int") is not None and high - low <= 60:
            x = Axis(name, range=(low - 0.7, high + 0.7), ticks=whole_ticks(low, high))
        else:
            x = value_axis(name, every, log=_logarithmic(view, name))
        places = None
    else:
        x, places = _categories(name, every)
    layers: list[Layer] = []
    for step, entries in by_step.items():
        if entries:
            xs = [_place(row.params[name], places, i) for i, row in entries]
            layers.append(view.step_points(step, xs, entries))
    won = [(_place(row.params[name], places, i), (i, row)) for i, row in by_step[view.judged] if row.winner]
    if won:
        layers.append(points("winner", "winner", won, "star", 11))
    y = view.axis([value(row) for entries in by_step.values() for _, row in entries])
    return Panel(x, y, layers)


def _categories(name: str, every: list[Any]) -> tuple[Axis, dict[str, int]]:
    numbers = all(isinstance(v, int | float) for v in every)
    labels = [_label(v) for v in sorted(set(every), key=lambda v: (v if numbers else 0, str(v)))]
    places = {label: n for n, label in enumerate(labels)}
    ticks = tuple((float(n), label) for label, n in places.items())
    return Axis(name, range=(-0.6, len(labels) - 0.4), ticks=ticks), places


def _place(raw: Any, places: dict[str, int] | None, i: int) -> float:
    v = _scalar(raw)
    if places is None:
        return float(v)
    # categories: side by side by position, so that marks do not hide each other
    return places[_label(v)] + ((i * 0.618034) % 1 - 0.5) * 0.5


def _param(name: str, row: Row) -> Any:
    return _scalar(row.params.get(name))


def _logarithmic(view: View, name: str) -> bool | None:
    """Whether a hyperparameter belongs on a logarithmic axis; None: its values decide."""
    space = view.report.space.get(name, {})
    if space.get("log") is not None:
        return True
    return False if space.get("float") is not None else None


def _few(view: View, name: str, every: list[Any]) -> bool:
    """Values that were chosen one by one are shown side by side."""
    space = view.report.space.get(name, {})
    listed = space.get("choice") is not None and space.get("per") is None
    return listed and len({_label(v) for v in every}) <= 12


def _both(entries: list[Entry], best: list[Entry], key: Any) -> tuple[list[Any], list[Any]]:
    every = [v for _, row in entries if (v := key(row)) is not None]
    good = [v for _, row in best if (v := key(row)) is not None]
    return every, good


def _scalar(v: Any) -> Any:
    """Value for one axis: of a list of numbers their mean, of other things their text."""
    if isinstance(v, list) and v and all(type(x) in (int, float) for x in v):
        return sum(v) / len(v)
    if type(v) in (int, float) or v is None:
        return v
    return _label(v)


def _label(v: Any) -> str:
    return f"{v:.4g}" if isinstance(v, float) else str(v)[:40]


def _names(view: View) -> list[str]:
    names = {name for row in view.report.rows if row.rank for name in row.params}
    known = [name for name in view.report.space if name in names]
    return known + sorted(names - set(known))


def _share_axis() -> Axis:
    return Axis("share of trials", percent=True)


def _ascending(values: Sequence[int]) -> bool:
    return all(a < b for a, b in pairwise(values))
