"""Did step 1 choose well? Metric by rank, step 1 against step 2, and groups of ranks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ml_suite.report.figure import (
    Axis,
    Box,
    Boxes,
    Figure,
    Layer,
    Line,
    Marker,
    Panel,
    Points,
    Role,
    equal_line,
)
from ml_suite.report.figures.view import Entry, View, box, count, mark_size, points
from ml_suite.report.scales import count_axis, value_axis
from ml_suite.report.summary import Pair
from ml_suite.report.words import number
from ml_suite.study.ranking import judged_by

SECTION = "choice"
LARGE = 60
"""From so many trials on ranks are shown on a logarithmic axis, so that the candidates have room."""
GROUP = 10
"""Candidates of one group of ranks; fewer when there are few."""

_ROLES: dict[str, Role] = {"candidate": "step2", "control": "control", "winner": "winner"}
_MARKERS: dict[str, Marker] = {"candidate": "circle", "control": "diamond", "winner": "star"}


def by_rank(view: View) -> Figure | None:
    """Metric of all trials of step 1 in the order of their rank, with what the candidates reached in step 2."""
    ranked = view.ranked(1)
    if not ranked:
        return None
    first = [(float(row.rank or 0), (i, row)) for i, row in ranked]
    cut = [(float(len(ranked) + n), entry) for n, entry in enumerate(view.pruned, start=1)]
    layers = [points("step 1, on the subset", "step1", first, size=mark_size(len(first)))]
    if cut:
        layers.append(points("step 1, cut early", "pruned", cut, "open", 4))
    by_role = _second(view)
    layers += [layer for layer in by_role if layer.x]
    total = len(ranked) + len(cut)
    x = count_axis("rank in step 1", [1, total], log=total >= LARGE)
    y = view.axis([v for layer in layers for v in (*layer.y, *_ends(layer))], view.better)
    caption = (
        "Every trial of step 1, best on the left, and above or below it what its candidates reached when they were "
        "trained on all data. Where the grey curve is flat, trials differ by less than chance and their order "
        "means little; the candidates should end before it turns up."
    )
    if cut:
        caption += (
            f" {count(len(cut), 'trial was', 'trials were')} cut early and stand behind the complete ones."
        )
    return Figure("ranks", SECTION, "Metric by rank", caption, [Panel(x, y, layers)])


def step1_against_step2(view: View) -> Figure | None:
    """Metric on the subset and on all data of every candidate."""
    if not view.pairs:
        return None
    first = [pair.first.value or 0.0 for pair in view.pairs]
    second = [pair.value for pair in view.pairs]
    layers: list[Points | Line] = [
        _pair_points(view, "candidate", [p for p in view.pairs if not _control(p) and not p.second.winner]),
        _pair_points(view, "control", [p for p in view.pairs if _control(p) and not p.second.winner]),
        _pair_points(view, "winner", [p for p in view.pairs if p.second.winner]),
    ]
    x = view.axis(first, "step 1, on the subset", whole=True)
    second += [v for pair in view.pairs for v in pair.values]
    y = view.axis(second, "step 2, on all data", whole=True)
    if x.log != y.log:
        x, y = (value_axis(a.title, v, log=True, whole=True) for a, v in ((x, first), (y, second)))
    line = equal_line(x, y)
    if line:
        layers.insert(0, line)
    tau = view.report.rank_correlation
    caption = "One mark a candidate; where they rise to the right, step 1 foretells step 2. "
    if line:
        caption += "On the dashed line both steps give the same value; "
        caption += "below it" if view.minimise else "above it"
        caption += " the training on all data is better, as it should be. "
    if tau is not None:
        caption += (
            f"The order of the candidates agrees with Kendall's tau {tau:.2f} (1: the same order, 0: no relation). "
            "They are the best of step 1 and so close to each other: a low value is usual, and why they are "
            "trained again."
        )
    if any(len(p.values) > 1 for p in view.pairs):
        caption += " Bars span the values with all seeds; the mark is what they are judged by."
    layers = [layer for layer in layers if layer.x]
    return Figure("steps", SECTION, "Step 1 against step 2", caption, [Panel(x, y, layers)])


def rank_groups(view: View) -> Figure | None:
    """Values of step 2 by groups of ranks in step 1, controls among them."""
    groups = groups_of(view.pairs, view.places)
    if len(groups) < 2:
        return None
    boxes: list[Box] = []
    marks: dict[bool, tuple[list[float], list[Entry], list[float]]] = {
        False: ([], [], []),
        True: ([], [], []),
    }
    for place, group in enumerate(groups):
        ranks = [view.places[p.first.trial] for p in group]
        label = f"{min(ranks):,} to {max(ranks):,}" if len(group) > 1 else f"{ranks[0]:,}"
        boxes.append(box(place, [p.value for p in group], label))
        for n, pair in enumerate(group):
            xs, entries, values = marks[_control(pair)]
            xs.append(place + _spread(n, len(group)))
            entries.append((view.position[2, pair.second.trial], pair.second))
            values.append(pair.value)
    every = [p.value for group in groups for p in group]
    middle = boxes[0].median
    layers: list[Layer] = [
        Line(
            "median of the first group",
            "reference",
            [-0.6, len(groups) - 0.4],
            [middle, middle],
            "dash",
            1.0,
        ),
        Boxes("median and quartiles", "reference", boxes),
    ]
    for control, name in ((False, "candidate"), (True, "control")):
        xs, entries, values = marks[control]
        if xs:
            role: Role = "control" if control else "step2"
            marker: Marker = "diamond" if control else "circle"
            layers.append(Points(name, role, xs, values, [i for i, _ in entries], marker=marker))
    x = Axis(
        "rank in step 1",
        range=(-0.6, len(groups) - 0.4),
        ticks=tuple((b.x, f"{b.label}") for b in boxes),
    )
    worst, best = boxes[-1].median, boxes[0].median
    caption = (
        "What trials of different ranks in step 1 reached on all data. Boxes on one level mean that rank no longer "
        "matters among them, and fewer trials would have done; boxes that climb mean that step 1 tells good from bad. "
        f"The median of the last group is {number(worst, 3)}, of the first {number(best, 3)}."
    )
    if marks[True][0]:
        caption += (
            " Controls come from the middle of the ranking, to see what ranking is worth; they cannot win."
        )
    y = view.axis(every, "step 2, on all data", whole=True)
    return Figure("groups", SECTION, "Step 2 by groups of ranks", caption, [Panel(x, y, layers)])


def groups_of(pairs: Sequence[Pair], places: Mapping[int, int]) -> list[list[Pair]]:
    """Candidates in groups of neighbouring ranks, then the controls.

    Parameters
    ----------
    places
        Place of each trial in step 1; candidates without one are left out.
    """
    ranked = sorted((p for p in pairs if p.first.trial in places), key=lambda p: places[p.first.trial])
    groups: list[list[Pair]] = []
    for control in (False, True):
        members = [p for p in ranked if _control(p) == control]
        size = min(GROUP, max(4, len(members) // 5)) if not control else 5
        cut = [members[i : i + size] for i in range(0, len(members), size)]
        if len(cut) > 1 and len(cut[-1]) < size / 2:
            cut[-2:] = [cut[-2] + cut[-1]]
        groups += [group for group in cut if group]
    return groups


def _second(view: View) -> list[Points]:
    """What candidates, controls and winner reached in step 2, at their rank in step 1."""
    kinds: dict[str, list[tuple[float, Pair]]] = {"candidate": [], "control": [], "winner": []}
    for pair in view.pairs:
        kind = "winner" if pair.second.winner else "control" if _control(pair) else "candidate"
        if pair.first.trial in view.places:
            kinds[kind].append((float(view.places[pair.first.trial]), pair))
    named = {"candidate": "step 2, on all data", "control": "control in step 2", "winner": "winner"}
    return [_marks(view, kind, named[kind], places) for kind, places in kinds.items()]


def _pair_points(view: View, kind: str, pairs: list[Pair]) -> Points:
    return _marks(view, kind, kind, [(p.first.value or 0.0, p) for p in pairs])


def _marks(view: View, kind: str, name: str, places: list[tuple[float, Pair]]) -> Points:
    spread = [(min(p.values), max(p.values)) for _, p in places]
    return Points(
        name,
        _ROLES[kind],
        [x for x, _ in places],
        [p.value for _, p in places],
        [view.position[2, p.second.trial] for _, p in places],
        [_note(p) for _, p in places],
        spread if any(low < high for low, high in spread) else (),
        _MARKERS[kind],
        12 if kind == "winner" else 7,
    )


def _note(pair: Pair) -> str:
    words = f"step 1: {number(pair.first.value, 6)}"
    if pair.first.rank:
        words += f", rank {pair.first.rank:,}"
    if len(pair.values) > 1:
        words += f"; {judged_by(len(pair.values))}: {number(pair.value, 6)}"
    return words


def _ends(layer: Points) -> list[float]:
    return [v for ends in layer.spread for v in ends]


def _control(pair: Pair) -> bool:
    return pair.second.role == "control"


def _spread(n: int, of: int) -> float:
    """Sideways place of one of many marks, so that they do not hide each other."""
    return 0.0 if of == 1 else (n / (of - 1) - 0.5) * 0.5
