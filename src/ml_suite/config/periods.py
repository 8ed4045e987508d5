"""Compare the training, validation and test periods with the dataset's dates and with what one sample needs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from ml_suite import quantities
from ml_suite.config.composed import Composed
from ml_suite.config.deployment import Deployment
from ml_suite.config.findings import Finding, Severity
from ml_suite.config.recipe import Dates
from ml_suite.config.source import Keys, Source

NAMES = ("training", "validation", "test")


@dataclass(frozen=True)
class Span:
    """A period, both ends included."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%M} to {self.end:%Y-%m-%dT%H:%M}"


def check(
    deployment: Deployment, source: Source, composed: Composed, dates: Dates | None
) -> Iterator[Finding]:
    """Everything that is wrong with the periods.

    Parameters
    ----------
    source
        The deployment file.
    dates
        Of the dataset, when its recipe tells.
    """
    spans = periods(deployment, composed)
    where: Keys = ("training", "config")
    for name in NAMES:
        if composed.periods.get(name) is None and deployment.training.periods is None:
            message, hint = f"nothing gives the {name} period", "write training.periods"
            yield source.finding(Severity.ERROR, where, message, hint)
    for (name, span), (other, later) in pairwise(sorted(spans.items(), key=lambda item: item[1].start)):
        if later.start <= span.end and deployment.training.periods is None:
            message = f"its {name} period {span} shares dates with its {other} period {later}"
            hint = "change one of them, or write training.periods"
            yield source.finding(Severity.ERROR, where, message, hint)
    if dates is not None:
        yield from _within(deployment, source, spans, dates)
        yield from _frequency(source, composed, dates)
    if "training" in spans:
        yield from _subset(deployment, source, composed, spans["training"])


def periods(deployment: Deployment, composed: Composed) -> dict[str, Span]:
    """Periods of a training, the deployment's before the configuration's, as far as they are dates."""
    if (stated := deployment.training.periods) is not None:
        return {name: Span(getattr(stated, name).start, getattr(stated, name).end) for name in NAMES}
    found = {}
    for name, period in composed.periods.items():
        if period is not None:
            try:
                found[name] = Span(
                    *(datetime.fromisoformat(str(date)) for date in (period.start, period.end))
                )
            except ValueError:
                continue  # a year, or open: only anemoi-training knows the date
    return found


def _within(
    deployment: Deployment, source: Source, spans: dict[str, Span], dates: Dates
) -> Iterator[Finding]:
    stated = deployment.training.periods is not None
    for name, span in spans.items():
        if (span.start.tzinfo is None) is (dates.start.tzinfo is None) and (
            span.start < dates.start or span.end > dates.end
        ):
            where: Keys = ("training", "periods", name) if stated else ("training", "config")
            message = f"the {name} period {span} is not within the dataset, {Span(dates.start, dates.end)}"
            yield source.finding(
                Severity.ERROR, where, message, "change the period, or the dates of the recipe"
            )


def _frequency(source: Source, composed: Composed, dates: Dates) -> Iterator[Finding]:
    every = _duration(composed.frequency)
    if every and every % dates.frequency:
        asked, has = quantities.format_duration(every), quantities.format_duration(dates.frequency)
        message = f"data.frequency is {asked}, which is no multiple of the recipe's {has}"
        yield source.finding(Severity.ERROR, ("training", "config"), message)


def _subset(deployment: Deployment, source: Source, composed: Composed, training: Span) -> Iterator[Finding]:
    """The subset of step 1 has a training sample for each replica."""
    every, step = _duration(composed.frequency), _duration(composed.timestep)
    if deployment.hpo is None or not every or not step or deployment.hpo.step1.subset == "auto":
        return
    window = ((composed.multistep_input or 1) - 1 + (composed.multistep_output or 1)) * step // every + 1
    dates = (training.end - training.start) // every + 1
    step1, share = deployment.hpo.step1, deployment.hpo.step1.subset
    replicas = (step1.resources or deployment.training.resources).replicas
    if step1.contiguous:
        # a part of the dates, in which the first sample needs a whole window
        whole, needed, what = dates, window + replicas - 1, "dates"
    else:
        # blocks have a part of the samples
        whole, needed, what = max(dates - window + 1, 0), replicas, "samples"
    has = round(whole * share)
    if has < needed:
        each = f" on {replicas} replicas" if replicas > 1 else ""
        wants = f"one sample{each} needs {needed}" if step1.contiguous else f"step 1{each} needs {needed}"
        message = f"{quantities.format_fraction(share)} of {whole} training {what} are {has}, and {wants}"
        enough = math.ceil(1000 * needed / whole) / 10 if whole else math.inf
        hint = f"write at least {enough:g}%" if enough <= 100 else "lengthen the training period"
        yield source.finding(Severity.ERROR, ("hpo", "step1", "subset"), message, hint)


def _duration(value: Any) -> timedelta | None:
    try:
        return quantities.duration(str(value).lower()) or None
    except ValueError:
        return None
