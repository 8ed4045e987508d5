"""Constraints and filters of a study; the language is `ml_suite.config.expressions`, which checks them in a file."""

from __future__ import annotations

from ml_suite.config.expressions import FUNCTIONS, Expression, ExpressionError, compile

__all__ = ["FUNCTIONS", "Expression", "ExpressionError", "compile", "replaced"]


def replaced(expression: Expression, name: str, by: str) -> str:
    """Text of an expression with something else for a name.

    >>> replaced(compile("parameters < 9 or len('parameters') == n", ["n", "parameters"]), "parameters", "(n + 1)")
    "(n + 1) < 9 or len('parameters') == n"
    """
    text = expression.text
    for _, at in sorted((place for place in expression.places if place[0] == name), reverse=True):
        width = len(name) + 2 * (text[at] == "`")
        text = f"{text[:at]}{by}{text[at + width :]}"
    return text
