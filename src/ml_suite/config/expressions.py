"""Expressions of hyperparameters: the conditions that a person writes, such as ``units[0] >= units[-1]``.

The text is parsed as Python and translated node by node into functions of our own: names, numbers, strings, lists,
comparisons, ``and``, ``or``, ``not``, ``in``, arithmetic, indices, slices, ``A if B else C`` and the functions of
`FUNCTIONS`. Nothing is ever executed as Python, and every result is bounded, so text from a stranger costs
microseconds. Only the standard library is needed.

>>> compile("layers < 3 or units[0] >= units[-1]", ["layers", "units"])({"layers": 3, "units": [64, 32, 32]})
True
>>> compile("model.num_channels % 8 == 0", ["model.num_channels"])({"model.num_channels": 12})
False

A name that is no word of Python stands in backquotes: ```lambda` < 1``.
"""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_suite.config.expression_errors import DEEPEST, ExpressionError, check_brackets, forbidden
from ml_suite.config.operations import (
    ARITHMETIC,
    BITS,
    COMPARISONS,
    FUNCTIONS,
    Absent,
    Refused,
    in_order,
    number,
    small,
)

__all__ = ["FUNCTIONS", "Expression", "ExpressionError", "compile"]

LONGEST = 1000
"""Characters of an expression."""

Values = Mapping[str, Any]
_Node = Callable[[Values], Any]

_QUOTED = re.compile(r"""('(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|`([^`]*)`""")


@dataclass(frozen=True)
class Expression:
    """A condition, ready to be asked many times."""

    text: str
    names: tuple[str, ...]
    """Names that it reads, in the order of the text."""
    places: tuple[tuple[str, int], ...]
    """Each name with the character, from 0, where it stands."""
    _root: _Node = field(repr=False, compare=False)

    def __call__(self, values: Values) -> bool:
        """Tell whether the condition holds; it does not where it needs a value that is not there.

        Raises
        ------
        ExpressionError
            If it has no answer: a division by zero, text compared with a number, a result that is not true or false.
        """
        return self.holds(values, absent=False)

    def holds(self, values: Values, absent: bool) -> bool:
        """Tell whether the condition holds, or ABSENT where it needs a value that is not there."""
        try:
            found = self._root(values)
        except Absent:
            return absent
        if found is True or found is False:
            return found
        raise ExpressionError(
            self.text, 1, f"this is {found!r}, and not true or false", "Compare it: X > 0, X == 'a'."
        )


def compile(text: str, names: Iterable[str]) -> Expression:
    """Translate an expression.

    Parameters
    ----------
    names
        Names that it may read; dotted ones too.

    Raises
    ------
    ExpressionError
        With the column, if it is no expression or reads anything else.
    """
    reader = _Reader(text, tuple(names))
    root = reader.read()
    names = dict.fromkeys(name for name, _ in reader.places)
    return Expression(text, tuple(names), tuple(reader.places), root)


class _Reader:
    def __init__(self, text: str, names: tuple[str, ...]) -> None:
        self.text = text
        self.names = names
        self.places: list[tuple[str, int]] = []
        self.source = text
        """What is parsed: the text in brackets, without backquotes."""
        self.quoted: dict[int, str] = {}
        """Names in backquotes by the place in the source, in bytes, where they stand."""

    def read(self) -> _Node:
        if len(self.text) > LONGEST:
            raise self.error(LONGEST, f"an expression has at most {LONGEST} characters")
        if not self.text.strip():
            raise self.error(0, "the expression is empty", "Write a condition, such as layers > 2.")
        if (bad := re.search(r"[^\S \n]|[\x00-\x09\x0b-\x1f\x7f]", self.text)) is not None:
            raise self.error(bad.start(), "there is an invisible character")
        check_brackets(self.text, self.plain())
        # in brackets a line may break anywhere
        self.source = f"({self.unquoted()}\n)"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(self.source, mode="eval")
        except SyntaxError as error:
            raise self.wrong(error) from None
        except (ValueError, RecursionError, MemoryError, OverflowError):
            raise self.error(0, "this cannot be read") from None
        return self.node(tree.body, 0)

    def unquoted(self) -> str:
        """Text with a word of the same length in place of each name in backquotes."""

        def word(match: re.Match[str]) -> str:
            if match[1] is not None:
                return match[1]
            self.quoted[len(f"({self.text[: match.start()]}".encode())] = match[2]
            return "_" * len(match[0].encode())

        return _QUOTED.sub(word, self.text)

    def plain(self) -> str:
        """Text with blanks in place of all that is in quotes."""
        return _QUOTED.sub(lambda match: " " * len(match[0]), self.text)

    def wrong(self, error: SyntaxError) -> ExpressionError:
        plain = self.plain()
        if single := re.search(r"(?<![=<>!])=(?!=)", plain):
            return self.error(single.start(), "write == to compare")
        if quote := re.search(r"[`'\"]", plain):
            return self.error(quote.start(), "this quote is not closed")
        place = self.at(error.lineno or 1, error.offset or 1)
        return self.error(place, "this is no expression")

    def at(self, line: int, offset: int) -> int:
        """Character of the text from the parser's line and column."""
        lines = self.source.split("\n")[: line - 1]
        return min(max(sum(len(x) + 1 for x in lines) + offset - 2, 0), len(self.text))

    def error(self, column: int, what: str, hint: str | None = None) -> ExpressionError:
        """COLUMN counts from 0."""
        return ExpressionError(self.text, column + 1, what, hint)

    def column(self, node: ast.AST) -> int:
        line, offset = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        start = self.source.split("\n")[line - 1].encode()[:offset]
        return self.at(line, len(start.decode(errors="ignore")) + 1)

    def node(self, node: ast.AST, depth: int) -> _Node:
        if depth > DEEPEST:
            raise self.error(self.column(node), f"this is nested deeper than {DEEPEST} levels")
        if name := self.name(node):
            return self.lookup(name, node)
        make = getattr(self, f"_{type(node).__name__.lower()}", None)
        if make is None:
            raise self.error(self.column(node), *forbidden(node))
        made: _Node = make(node, depth + 1)
        return made

    def name(self, node: ast.AST) -> str | None:
        """Return the dotted name that a chain of attributes spells."""
        if isinstance(node, ast.Name):
            before = sum(len(x.encode()) + 1 for x in self.source.split("\n")[: node.lineno - 1])
            return self.quoted.get(before + node.col_offset, node.id)
        if isinstance(node, ast.Attribute):
            above = self.name(node.value)
            return f"{above}.{node.attr}" if above else None
        return None

    def lookup(self, name: str, node: ast.AST) -> _Node:
        if name not in self.names:
            raise self.error(self.column(node), *self.unknown(name))
        self.places.append((name, self.column(node)))

        def value(values: Values) -> Any:
            try:
                return values[name]
            except KeyError:
                raise Absent from None

        return value

    def unknown(self, name: str) -> tuple[str, str]:
        if name in FUNCTIONS:
            return f"{name} is a function", f"Write {name}(...)."
        if name in ("true", "false", "null"):
            return f"nothing is called '{name}'", f"Write {name.capitalize() if name != 'null' else 'None'}."
        near = difflib.get_close_matches(name, self.names, 1)
        hint = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(sorted(self.names)[:12])}."
        return f"nothing is called '{name}'", hint

    def guard(self, node: ast.AST, work: _Node) -> _Node:
        """Turn what can go wrong with some values into an error with the place."""
        column = self.column(node)

        def guarded(values: Values) -> Any:
            try:
                return work(values)
            except (IndexError, KeyError):
                raise Absent from None
            except ZeroDivisionError:
                raise self.error(column, "this divides by zero") from None
            except Refused as error:
                raise self.error(column, str(error)) from None
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                raise self.error(column, f"this has no answer: {error}") from None

        return guarded

    def _constant(self, node: ast.Constant, depth: int) -> _Node:
        value = node.value
        if not isinstance(value, bool | int | float | str | None):
            raise self.error(self.column(node), *forbidden(node))
        if isinstance(value, int) and value.bit_length() > BITS:
            raise self.error(self.column(node), "this number is too large")
        return lambda values: value

    def _list(self, node: ast.List | ast.Tuple, depth: int) -> _Node:
        if any(isinstance(item, ast.Starred) for item in node.elts):
            raise self.error(self.column(node), "a list cannot be unpacked here")
        items = [self.node(item, depth) for item in node.elts]
        return lambda values: [item(values) for item in items]

    _tuple = _list

    def _boolop(self, node: ast.BoolOp, depth: int) -> _Node:
        parts = [self.node(part, depth) for part in node.values]
        stop = isinstance(node.op, ast.Or)

        def work(values: Values) -> Any:
            found: Any = not stop
            absent = False
            for part in parts:
                try:
                    found = part(values)
                except Absent:
                    # another part may decide, whatever the order
                    absent = True
                    continue
                if bool(found) is stop:
                    return found
            if absent:
                raise Absent
            return found

        return work

    def _unaryop(self, node: ast.UnaryOp, depth: int) -> _Node:
        inner = self.node(node.operand, depth)
        if isinstance(node.op, ast.Not):
            return lambda values: not inner(values)
        if isinstance(node.op, ast.Invert):
            raise self.error(self.column(node), "there is no ~ here", "Write `not`.")
        sign = -1 if isinstance(node.op, ast.USub) else 1
        return self.guard(node, lambda values: sign * number(inner(values)))

    def _binop(self, node: ast.BinOp, depth: int) -> _Node:
        work = ARITHMETIC.get(type(node.op))
        if work is None:
            raise self.error(
                self.column(node), "there is no such operation", "Write `and`, `or`, +, -, *, /, //, %, **."
            )
        left, right = self.node(node.left, depth), self.node(node.right, depth)
        return self.guard(node, lambda values: small(work(number(left(values)), number(right(values)))))

    def _compare(self, node: ast.Compare, depth: int) -> _Node:
        if any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops):
            raise self.error(self.column(node), "there is no `is` here", "Write == or !=.")
        first = self.node(node.left, depth)
        rest = [
            (COMPARISONS[type(op)], self.node(value, depth))
            for op, value in zip(node.ops, node.comparators, strict=True)
        ]

        def work(values: Values) -> bool:
            left = first(values)
            for compare, value in rest:
                right = value(values)
                if not compare(left, right):
                    return False
                left = right
            return True

        return self.guard(node, work)

    def _ifexp(self, node: ast.IfExp, depth: int) -> _Node:
        test, then, other = (self.node(x, depth) for x in (node.test, node.body, node.orelse))
        return lambda values: then(values) if test(values) else other(values)

    def _subscript(self, node: ast.Subscript, depth: int) -> _Node:
        of, at = self.node(node.value, depth), self.node(node.slice, depth)

        def work(values: Values) -> Any:
            found, place = of(values), at(values)
            if not isinstance(found, list | tuple | str):
                raise Refused(f"{found!r} is no list")
            if isinstance(place, bool) or not isinstance(place, int | slice):
                raise Refused(f"{place!r} is no whole number")
            return found[place]

        return self.guard(node, work)

    def _slice(self, node: ast.Slice, depth: int) -> _Node:
        if node.step is not None:
            raise self.error(self.column(node), "a slice is [first:last]")
        first = self.node(node.lower, depth) if node.lower else None
        last = self.node(node.upper, depth) if node.upper else None
        return lambda values: slice(first(values) if first else None, last(values) if last else None)

    def _call(self, node: ast.Call, depth: int) -> _Node:
        function = FUNCTIONS.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if function is None:
            raise self.error(
                self.column(node), "this function is not known", f"There are: {', '.join(FUNCTIONS)}."
            )
        if any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self.error(self.column(node), "arguments cannot be unpacked")
        reverse = [k for k in node.keywords if k.arg == "reverse" and function is in_order]
        if len(reverse) != len(node.keywords):
            raise self.error(self.column(node), "a function takes values only")
        given = [self.node(argument, depth) for argument in node.args]
        given += [self.node(k.value, depth) for k in reverse]
        return self.guard(node, lambda values: small(function(*[one(values) for one in given])))
