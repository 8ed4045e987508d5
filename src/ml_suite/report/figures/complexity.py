"""What makes a good model: the metric against depth, parameters and inference time."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import groupby

from ml_suite.report.figure import Axis, Boxes, Figure, Layer, Line, Panel, Points
from ml_suite.report.figures.view import Entry, View, box, mark_size
from ml_suite.report.model import Row
from ml_suite.report.scales import value_axis, whole_ticks
from ml_suite.report.summary import value
from ml_suite.report.words import number

SECTION = "models"
Key = Callable[[Row], float | None]


def depth(view: View) -> Figure | None:
    """Metric against the number of hidden layers, with medians."""
    entries = [(i, row) for i, row in view.ranked(1) or view.ranked(view.judged) if row.depth is not None]
    depths = sorted({row.depth for _, row in entries if row.depth is not None})
    if len(depths) < 2:
        return None
    step = entries[0][1].step
    jitter = random.Random(0)
    xs = [float(row.depth or 0) + jitter.uniform(-0.3, 0.3) for _, row in entries]
    by_depth = {
        d: [v for _, row in entries if row.depth == d and (v := value(row)) is not None] for d in depths
    }
    layers: list[Layer] = [
        view.step_points(step, xs, entries),
        Boxes("median and quartiles", "front", [box(d, values) for d, values in by_depth.items()]),
    ]
    second = [(i, row) for i, row in view.ranked(2) if row.depth is not None and step == 1]
    if second:
        layers.append(view.step_points(2, [float(row.depth or 0) for _, row in second], second))
    layers += view.winner_points([(float(row.depth or 0), (i, row)) for i, row in second or entries])
    x = Axis(
        "hidden layers", range=(depths[0] - 0.6, depths[-1] + 0.6), ticks=whole_ticks(depths[0], depths[-1])
    )
    y = view.axis([v for layer in layers if isinstance(layer, Points) for v in layer.y], view.better)
    best = (min if view.minimise else max)(depths, key=lambda d: box(0, by_depth[d]).median)
    caption = (
        "Each mark is a trial, moved sideways at random within its column; boxes show median and quartiles of each "
        f"number of layers in step {step}. The best median of {len(depths)} depths is that of {best} "
        f"{'layer' if best == 1 else 'layers'} "
        f"({number(box(0, by_depth[best]).median, 3)})."
    )
    return Figure("depth", SECTION, "Metric against depth", caption, [Panel(x, y, layers)])


def parameters(view: View) -> Figure | None:
    """Metric against the number of trainable parameters."""
    found = _against(view, lambda row: row.parameters or None, "trainable parameters")
    if found is None:
        return None
    panel, lightest = found
    caption = (
        "The line is the best that was reached with at most so many parameters in the step that counts: "
        "where it goes flat, a larger network buys nothing."
    )
    if lightest:
        caption += f" {lightest}"
    return Figure("parameters", SECTION, "Metric against size", caption, [panel])


def inference(view: View) -> Figure | None:
    """Inference time against the metric and against the number of parameters."""
    title = "inference time (µs)"
    found = _against(view, _microseconds, title)
    if found is None:
        return None
    panel, lightest = found
    panels = [panel]
    timed = [
        (i, row)
        for step in (0, 1, 2)
        for i, row in view.ranked(step)
        if _microseconds(row) is not None and row.parameters
    ]
    if len(timed) > 1:
        panels.append(_time_by_size(view, timed, title))
    caption = (
        "What a model costs where it is used: one forward pass of one sample on one core. First the metric against "
        "this time; the line is the best that was reached within a time. Then the time against the size. "
        f"{lightest}"
    )
    return Figure("inference", SECTION, "Inference time", caption.strip(), panels)


def front(places: list[tuple[float, float]], minimise: bool) -> list[tuple[float, float]]:
    """Places (cost, metric) that no other beats in both, by cost."""
    sign = 1 if minimise else -1
    kept: list[tuple[float, float]] = []
    for x, y in sorted(places, key=lambda p: (p[0], sign * p[1])):
        if not kept or sign * y < sign * kept[-1][1]:
            kept.append((x, y))
    return kept


def _against(view: View, key: Key, title: str) -> tuple[Panel, str] | None:
    """Panel of the metric against a cost, and in words the cheapest model that is nearly as good as the best."""
    steps = {step: [e for e in view.ranked(step) if key(e[1]) is not None] for step in (0, 1, 2)}
    every = [e for entries in steps.values() for e in entries]
    costs = [cost for _, row in every if (cost := key(row)) is not None]
    if len(set(costs)) < 2:
        return None
    layers: list[Layer] = []
    for step, entries in steps.items():
        if entries:
            xs = [key(row) or 0.0 for _, row in entries]
            layers.append(view.step_points(step, xs, entries))
    counting = steps[view.judged] or every
    places = [(key(row) or 0.0, row.value or 0.0) for _, row in counting]
    best = front(places, view.minimise)
    x = value_axis(title, costs, log=max(costs) / min(costs) > 8)
    end = x.range[1] if x.range else max(costs)
    layers.append(
        Line(
            "best within this cost",
            "front",
            [p for p, _ in best] + [end],
            [v for _, v in best] + [best[-1][1]],
            width=1.4,
            steps=True,
        )
    )
    layers += view.winner_points([(key(row) or 0.0, (i, row)) for i, row in counting])
    y = view.axis([value(row) for _, row in every], view.better)
    return Panel(x, y, layers), _lightest(view, counting, key, title)


def _lightest(view: View, entries: list[Entry], key: Key, title: str) -> str:
    """Cheapest model within a tenth of the best, in words."""
    values = [row.value for _, row in entries if row.value is not None]
    best = min(values) if view.minimise else max(values)
    limit = best + 0.1 * abs(best) * (1 if view.minimise else -1)
    near = [
        row
        for _, row in entries
        if row.value is not None and (row.value <= limit if view.minimise else row.value >= limit)
    ]
    row = min(near, key=lambda r: key(r) or 0.0)
    largest = max(key(r) or 0.0 for r in near)
    cost = key(row) or 0.0
    if len(near) < 2 or largest <= cost * 1.05:
        return ""
    unit = "µs" if "µs" in title else "parameters"
    return (
        f"Of {len(near)} models within 10 % of the best, trial {row.trial} is the lightest: {_amount(cost)} {unit}, "
        f"{number(largest / cost, 3)} times less than the heaviest."
    )


def _time_by_size(view: View, timed: list[Entry], title: str) -> Panel:
    layers: list[Layer] = []
    for step, group in groupby(sorted(timed, key=lambda e: e[1].step), key=lambda e: e[1].step):
        entries = list(group)
        name = {0: "training", 1: "step 1, on the subset", 2: "step 2, on all data"}[step]
        layers.append(
            Points(
                name,
                "step1" if step == 1 else "step2",
                [float(row.parameters or 0) for _, row in entries],
                [_microseconds(row) or 0.0 for _, row in entries],
                [i for i, _ in entries],
                size=mark_size(len(entries)) if step == 1 else 6.5,
            )
        )
    won = [(i, row) for i, row in timed if row.winner]
    if won:
        (i, row) = won[0]
        layers.append(
            Points(
                "winner",
                "winner",
                [float(row.parameters or 0)],
                [_microseconds(row) or 0.0],
                [i],
                marker="star",
                size=12,
            )
        )
    return Panel(
        value_axis("trainable parameters", [row.parameters for _, row in timed]),
        value_axis(title, [_microseconds(row) for _, row in timed]),
        layers,
    )


def _microseconds(row: Row) -> float | None:
    return row.inference_seconds * 1e6 if row.inference_seconds else None


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
