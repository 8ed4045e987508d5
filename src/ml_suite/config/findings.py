"""What is wrong with a file, where, and what to write instead: one form for every message about a file.

::

    deployment.yaml:9:35: error: write a duration as a number and a unit: 30m, 12h, 1d
      | training.resources.walltime
     9|   resources: {gpus: 16, walltime: 12}
      |                                   ^
      = a hint, when there is one
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from ml_suite.errors import ConfigError


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """It cannot work."""
    WARNING = "warning"
    """It can work, and is probably not meant."""
    NOTE = "note"
    """Something that a person wants to know, such as a check that was left out."""


@dataclass(frozen=True, order=True)
class Place:
    """A character of a file."""

    file: str
    line: int
    """From 1."""
    column: int
    """From 1."""
    text: str = ""
    """The line, without secrets."""


@dataclass(frozen=True)
class Problem:
    """An error that knows its key, and not yet its place."""

    path: tuple[str | int, ...]
    message: str
    hint: str | None = None
    on_key: bool = False
    """It is about the key, not its value."""
    column: int | None = None
    """Character of the value's text that it is about, from 1."""


@dataclass(frozen=True)
class Finding:
    """One message about a file."""

    severity: Severity
    message: str
    place: Place | None = None
    """None when it is about no line in particular."""
    key: str = ""
    """Path of the key, dotted."""
    hint: str | None = None

    def render(self) -> str:
        """Return the message as a person reads it, without a final newline."""
        if self.place is None:
            return f"{self.severity}: {self.message}" + (f"\n  = {self.hint}" if self.hint else "")
        place = self.place
        number = str(place.line)
        blank = " " * len(number)
        lines = [f"{place.file}:{place.line}:{place.column}: {self.severity}: {self.message}"]
        if self.key:
            lines.append(f" {blank}| {self.key}")
        if place.text:
            lines += [f" {number}| {place.text}", f" {blank}| {below(place.text, place.column)}^"]
        if self.hint:
            lines.append(f" {blank}= {self.hint}")
        return "\n".join(lines)


class FileError(ConfigError):
    """A file with errors: the message is the whole report."""

    def __init__(self, file: str, findings: Sequence[Finding]) -> None:
        super().__init__(report(file, findings))
        self.findings = tuple(findings)


def report(file: str, findings: Sequence[Finding]) -> str:
    """All findings in the order of the file, and how many errors there are."""
    ordered = sorted(findings, key=lambda f: (f.place is None, f.place or Place("", 0, 0)))
    errors = sum(f.severity is Severity.ERROR for f in ordered)
    blocks = [f.render() for f in ordered]
    if errors:
        blocks.append(f"{errors} error{'s' if errors > 1 else ''} in {file}")
    return "\n\n".join(blocks)


def below(text: str, column: int) -> str:
    """Blanks that put a caret under COLUMN: tabs stay tabs, wide characters take two."""
    before = text[: column - 1].ljust(column - 1)
    return "".join(
        "\t" if c == "\t" else "  " if unicodedata.east_asian_width(c) in "WF" else " "
        for c in before
        if not unicodedata.combining(c)
    )
