"""Errors of YAML's grammar in the words of this package."""

from __future__ import annotations

from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ml_suite.config.findings import Finding, Place, Severity

# part of the parser's sentence -> what it means, and what to do
_WORDS = (
    ("found character '\\t'", "a tab cannot indent YAML", "use spaces"),
    (
        "mapping values are not allowed",
        "there is a ':' where no key can be",
        "indent like the line above, or put quotes around a value that holds ': '",
    ),
    ("could not find expected ':'", "a key without ':'", "write `key: value`"),
    ("expected <block end>", "the indentation does not fit the lines above", "align keys of one level"),
    ("expected ',' or '}'", "a '}' or a ',' is missing", "close every { with a }"),
    ("expected ',' or ']'", "a ']' or a ',' is missing", "close every [ with a ]"),
    ("found unexpected end of stream", "quotes are opened and not closed", "close the quotes"),
    ("did not find expected <document start>", "the file ends in the middle", None),
    ("expected a single document", "there is more than one document", "remove the line `---` between them"),
    ("but found another document", "there is more than one document", "remove the line `---` between them"),
    ("undefined alias", "this alias is not defined", "write the value out"),
    ("found unknown escape", "this escape has no meaning in double quotes", "use single quotes"),
    ("cannot start any token", "this character cannot start a value", "put quotes around the value"),
    ("found duplicate anchor", "this anchor is defined twice", None),
    ("special characters are not allowed", "there is an invisible control character", "delete it"),
    (
        "expected the node content",
        "a value is missing or starts with a reserved character",
        "put quotes around it",
    ),
)


def finding(error: YAMLError, file: str, lines: tuple[str, ...]) -> Finding:
    """Return the error as a finding of FILE with the given LINES."""
    sentence = " ".join(str(error).split())
    line = column = 0
    if isinstance(error, MarkedYAMLError):
        sentence = " ".join(part for part in (error.context, error.problem) if part)
        mark = error.problem_mark or error.context_mark
        if mark is not None:
            line, column = mark.line, mark.column
    elif (position := getattr(error, "position", None)) is not None:
        line, column = _line_and_column(lines, position)
    while line and (line >= len(lines) or not lines[line].strip()):
        # the parser noticed at the end of the file: show the last line with text
        line -= 1
        column = len(lines[line]) if line < len(lines) else 0
    unknown = ("this is not YAML", "check quotes, brackets and indentation around here")
    message, hint = next(((m, h) for part, m, h in _WORDS if part in sentence), unknown)
    return Finding(
        Severity.ERROR, message, Place(file, line + 1, column + 1, lines[line] if lines else ""), hint=hint
    )


def _line_and_column(lines: tuple[str, ...], position: int) -> tuple[int, int]:
    for number, line in enumerate(lines):
        if position <= len(line):
            return number, position
        position -= len(line) + 1
    return 0, 0
