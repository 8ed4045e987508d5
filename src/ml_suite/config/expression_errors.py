"""What is wrong with an expression, and where in its text."""

from __future__ import annotations

import ast

from ml_suite.config.findings import below
from ml_suite.config.operations import FUNCTIONS
from ml_suite.errors import StudyError

DEEPEST = 50
"""Levels of nesting."""

_SHOWN = 150
"""Characters of an expression that is shown with a caret below it."""


class ExpressionError(StudyError):
    """An expression that cannot be read, or that has no answer for some values."""

    def __init__(self, text: str, column: int, what: str, hint: str | None = None) -> None:
        super().__init__(f"{_short(text)}, column {column}: {what}", hint)
        self.text = text
        self.column = column
        """From 1."""
        self.what = what

    def __str__(self) -> str:
        if len(self.text) > _SHOWN or not self.text.isprintable():
            return super().__str__()
        lines = [f"column {self.column}: {self.what}", self.text, f"{below(self.text, self.column)}^"]
        return "\n  ".join([*lines, *([self.hint] if self.hint else [])])


def check_brackets(text: str, plain: str) -> None:
    """Refuse brackets that do not fit together.

    Parameters
    ----------
    plain
        The text with blanks in place of all that is in quotes.
    """
    opened: list[tuple[str, int]] = []
    for column, character in enumerate(plain, start=1):
        if character in "([{":
            opened.append((")]}"["([{".index(character)], column))
        elif character in ")]}" and (not opened or opened.pop()[0] != character):
            raise ExpressionError(text, column, "this bracket closes nothing")
        if len(opened) > DEEPEST:
            raise ExpressionError(text, column, f"this is nested deeper than {DEEPEST} levels")
    if opened:
        raise ExpressionError(text, opened[-1][1], "this bracket is not closed")


def forbidden(node: ast.AST) -> tuple[str, str]:
    what = {
        ast.Attribute: "only names have dots",
        ast.Lambda: "no functions are made here",
        ast.NamedExpr: "nothing is assigned here",
        ast.JoinedStr: "text is written plain",
        ast.Dict: "a list is written [1, 2]",
        ast.Set: "a list is written [1, 2]",
        ast.Constant: "values are numbers, text, True, False and None",
    }
    allowed = "An expression has names, numbers, text, lists, comparisons, and/or/not, arithmetic and "
    return what.get(type(node), "this has no place in an expression"), f"{allowed}{', '.join(FUNCTIONS)}."


def _short(text: str) -> str:
    shown = " ".join(text[:200].split())
    shown = "".join(c if c.isprintable() else "\ufffd" for c in shown)
    return f"`{shown[:77]}...`" if len(shown) > 80 else f"`{shown}`"
