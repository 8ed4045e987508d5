"""The pilot of a study of dates: what its job must know, what it decides, and the plan that follows."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any

from ml_suite.study import periods, piloting, planning
from ml_suite.study.chooser import Aim, Part
from ml_suite.study.contract import Document, Span, Split, StudyPlan
from ml_suite.study.periods import Calendar, Window


class Dates(Document):
    """By which rules a subset is taken of the training period."""

    start: datetime
    end: datetime
    frequency: timedelta
    missing: list[datetime]
    every: int
    offsets: list[timedelta]
    """Of the dates that a sample needs, relative to its reference date."""
    contiguous: bool = False
    block: timedelta | None = None

    @classmethod
    def of(cls, calendar: Calendar, window: Window, contiguous: bool, block: timedelta | None) -> Dates:
        """Put together what `divide` needs."""
        return cls(
            start=calendar.start,
            end=calendar.end,
            frequency=calendar.frequency,
            missing=sorted(calendar.missing),
            every=calendar.every,
            offsets=list(window.offsets),
            contiguous=contiguous,
            block=block,
        )

    @property
    def calendar(self) -> Calendar:
        """Dates of the dataset."""
        return Calendar(self.start, self.end, self.frequency, frozenset(self.missing), self.every)

    @property
    def window(self) -> Window:
        """Dates of a sample."""
        return Window(tuple(self.offsets))

    def divide(self, split: Split, share: float, seed: int) -> tuple[Split, dict[str, int]]:
        """Return the periods with another subset, and the samples in each; see `ml_suite.study.periods.split`."""
        spans = _spans(split)
        return periods.split(
            self.calendar,
            self.window,
            spans,
            share,
            contiguous=self.contiguous,
            block=self.block,
            seed=seed,
        )

    def stretch(self, split: Split, share: float, seed: int) -> tuple[Split, dict[str, int]]:
        """As `divide`, with one stretch of dates that begins where the seed says."""
        spans = _spans(split)
        dates = self.calendar.dates(split.training)
        count = max(1, round(share * len(dates)))
        digest = hashlib.sha256(f"{seed}/stretch".encode()).digest()
        at = int.from_bytes(digest[:8], "big") * (len(dates) - count + 1) >> 64
        chosen = {**spans, "training": Span(start=dates[at], end=dates[at + count - 1])}
        divided, samples = periods.split(self.calendar, self.window, chosen, 1.0)
        whole = periods.anchors(self.calendar, split.training, self.window)
        return divided.model_copy(update={"training": split.training}), {**samples, "training": whole}


class DatedPilot(Document):
    """pilot/plan.json: what the job of a pilot needs to know, and nothing of the machine that it runs on."""

    plan: StudyPlan
    """The study; what is `auto` has the largest value that may be chosen."""
    aim: Aim
    dates: Dates
    most: int
    """Candidates for which the suite has tasks."""

    @property
    def digest(self) -> str:
        """SHA-256 of all of it, hexadecimal: what a decision is an answer to."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    def part(self, part: Part) -> StudyPlan:
        """Return the plan of which the trainings of a part are step 1, each to its end.

        What is trained on everything is trained like a candidate, with as many replicas as in step 1.
        """
        plan = self.plan
        if part.share == 1.0:
            split = plan.split.model_copy(update={"subset": plan.split.training, "blocks": [], "members": ""})
            samples = {**plan.samples, "subset": plan.samples["training"]}
            lengths = {name: _as_step2(getattr(plan, name)) for name in _LENGTHS}
        else:
            divide = self.dates.stretch if self.dates.contiguous else self.dates.divide
            split, samples = divide(plan.split, part.share, piloting.seed(plan.seed, part))
            lengths = {}
        return plan.model_copy(update={"split": split, "samples": samples, "rungs": None, **lengths})

    def decided(self, subset: float, keep: int) -> StudyPlan:
        """Return the study with its subset and the number of candidates."""
        split, samples = self.dates.divide(self.plan.split, subset, self.plan.seed)
        chosen = {"subset": subset, "keep": keep, "split": split, "samples": samples}
        return planning.identified(self.plan.model_copy(update=chosen))


class Trained(Document):
    """A part of a pilot that is complete."""

    share: float
    replicate: int
    trainings: int


class PilotDecision(Document):
    """pilot/decision.json: how a pilot ended."""

    pilot: str
    """Digest of the `DatedPilot` that it is the answer to."""
    subset: float
    keep: int
    words: str
    """For a person."""
    costs: list[str]
    """What pilot and search will cost beyond the budget, a sentence each."""
    parts: list[Trained]
    made: datetime


DECIDED = ("subset", "keep", "split", "samples")
"""Fields of a plan that a pilot decides, or that follow from it."""

_LENGTHS = ("epochs", "patience", "patience_epochs")


def _as_step2(given: dict[str, int]) -> dict[str, Any]:
    """How long trainings of step 2 are, for step 1."""
    return {name: given["step2"] for name in ("step1", "step2") if "step2" in given}


def _spans(split: Split) -> dict[str, Span]:
    return {name: getattr(split, name) for name in ("training", "validation", "test")}
