"""Constraints and filters of a study; the language is `ml_suite.config.expressions`, which checks them in a file."""

from __future__ import annotations

from ml_suite.config.expressions import FUNCTIONS, Expression, ExpressionError, compile

__all__ = ["FUNCTIONS", "Expression", "ExpressionError", "compile"]
