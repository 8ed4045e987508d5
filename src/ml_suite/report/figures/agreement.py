"""The evidence of the certificate: do trainings on a subset agree with each other and with larger ones."""

from __future__ import annotations

from ml_suite.report.figure import Axis, Figure, Layer, Line, Panel, Points, equal_line
from ml_suite.report.figures.view import View
from ml_suite.report.scales import value_axis
from ml_suite.study import certificate
from ml_suite.study.certificate import Certificate
from ml_suite.study.copula import Agreement


def agreement(view: View) -> Figure | None:
    """Two trainings on the subset, the subset against more data, and regret predicted and realised."""
    found = view.report.certificate
    if found is None:
        return None
    panels = [_scatter(view, panel) for panel in found.panels if panel.first]
    if not panels and (found.regret is None or found.realised is None):
        # one number is said in words
        return None
    if regrets := _regrets(found):
        panels.append(regrets)
    kinds = {panel.kind for panel in found.panels if panel.first}
    caption = "The pilot behind the certificate; each mark is a set of hyperparameters. " if kinds else ""
    if "replicate" in kinds:
        caption += f"Trained twice, on two subsets of {percent(found.subset)} of the data: how much of a rank is luck. "
    if kinds & {"next", "full"}:
        caption += "Trained on the subset and on more data: whether the order lasts. "
    if kinds:
        caption += (
            "\N{GREEK SMALL LETTER TAU} is Kendall's rank correlation with its interval: 1 is the same order, 0 no "
            "relation. "
        )
    if regrets:
        when = " and ".join(
            words
            for words, known in (
                ("as predicted before the search", found.regret),
                ("as judged after step 2", found.realised),
            )
            if known
        )
        caption += (
            f"The last panel is the regret, what the winner loses against the best of all trials, {when}: from 0 to "
            f"the end of its interval at {percent(found.confidence)} confidence, with the expected value marked. The "
            "dotted line is what the study accepts."
        )
    return Figure("agreement", "certificate", "Agreement", caption.strip(), panels, min(len(panels), 4))


def _scatter(view: View, panel: certificate.Panel) -> Panel:
    own, other = panel.shares
    first = f"{view.metric}, {percent(own)} of the data"
    second = {
        "replicate": f"the same on another {percent(other)}",
        "next": f"{view.metric}, {percent(other)} of the data",
        "full": f"{view.metric}, all data",
    }[panel.kind]
    title = {
        "replicate": "twice on the subset",
        "next": "subset and twice as much",
        "full": "subset and all data",
    }[panel.kind]
    x, y = view.axis(panel.first, whole=True), view.axis(panel.second, whole=True)
    if x.log != y.log:
        x, y = (value_axis("", v, log=True, whole=True) for v in (panel.first, panel.second))
    x, y = Axis(first, x.log, x.range), Axis(second, y.log, y.range)
    notes = [
        f"trial {t}: {a:.5g} and {b:.5g}"
        for t, a, b in zip(panel.trials, panel.first, panel.second, strict=True)
    ]
    layers: list[Layer] = [
        Points("configuration of the pilot", "pilot", panel.first, panel.second, notes=notes, size=6)
    ]
    if line := equal_line(x, y):
        layers.insert(0, line)
    return Panel(x, y, layers, title, _tau(panel.agreement))


def _tau(found: Agreement | None) -> str:
    tau = "\N{GREEK SMALL LETTER TAU}"
    return (
        f"{tau} = {found.tau:.2f} ({found.low:.2f} to {found.high:.2f})"
        if found
        else f"{tau}: too few to judge"
    )


def _regrets(found: Certificate) -> Panel | None:
    """Regret before and after, with what is accepted."""
    known = []
    if found.regret is not None:
        known.append(("predicted", "pilot", found.regret.expected, found.regret.high))
    if found.realised is not None:
        known.append(("after step 2", "step2", found.realised.expected, found.realised.high))
    if not known:
        return None
    layers: list[Layer] = [
        Line("accepted", "reference", [-0.6, len(known) - 0.4], [found.accepted, found.accepted], "dot", 1.3)
    ]
    for place, (name, role, expected, high) in enumerate(known):
        told = f"{name}: {_amount(found, expected)} expected, at most {_amount(found, high)}"
        layers.append(
            Points(
                f"regret {name}",
                "pilot" if role == "pilot" else "step2",
                [float(place)],
                [expected],
                notes=[told],
                spread=[(0.0, high)],
                marker="square",
                size=8,
            )
        )
    top = max(found.accepted, *(high for *_, high in known))
    ticks = tuple((float(i), name) for i, (name, *_) in enumerate(known))
    x = Axis("before and after the search", range=(-0.6, len(known) - 0.4), ticks=ticks)
    what = "regret" if found.relative else f"regret ({found.metric})"
    y = Axis(what, range=(0.0, 1.12 * top), percent=found.relative)
    return Panel(x, y, layers, "regret of the winner")


def _amount(found: Certificate, value: float) -> str:
    return percent(value) if found.relative else f"{value:.3g}"


def percent(share: float) -> str:
    """Write a share.

    >>> percent(0.025)
    '2.5 %'
    """
    return f"{100 * share:.3g} %"
