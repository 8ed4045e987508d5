"""YAML text as plain data with the place of every key and value, and files read into models.

`load` reads the text, `parse` makes a `Deployment` of it. Both collect everything that is wrong and raise it
at once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from ml_suite.config import rules, secrets, syntax, wording
from ml_suite.config.deployment import Deployment
from ml_suite.config.findings import FileError, Finding, Place, Problem, Severity
from ml_suite.config.values import WRITTEN
from ml_suite.errors import ConfigError

Keys = tuple[str | int, ...]
"""Keys and list positions from the top of a file to a value."""

_MOST = 20_000
"""Values in one file; more is an alias that multiplies."""

_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Source:
    """A YAML file as it was written."""

    file: str
    """As messages name it."""
    lines: tuple[str, ...]
    """Without secrets."""
    data: Any
    """Dictionaries, lists and scalars; times stay text."""
    keys: dict[Keys, Place] = field(repr=False)
    """Places of keys."""
    values: dict[Keys, Place] = field(repr=False)
    """Places of values, list items included."""
    findings: tuple[Finding, ...] = ()
    """What is wrong with the text itself: double keys, empty values, secrets."""

    def at(self, path: Keys, key: bool = False) -> Place:
        """Place of a value, or of its KEY; of the nearest thing around it when there is none."""
        for n in range(len(path), 0, -1):
            first, second = (self.keys, self.values) if key or n < len(path) else (self.values, self.keys)
            for places in (first, second):
                if path[:n] in places:
                    return places[path[:n]]
        return self.values.get((), Place(self.file, 1, 1, self.lines[0] if self.lines else ""))

    def finding(
        self,
        severity: Severity,
        path: Keys,
        message: str,
        hint: str | None = None,
        key: bool = False,
        column: int | None = None,
    ) -> Finding:
        """Return a message about the value at PATH, or about its KEY, or a character of its text: COLUMN, from 1."""
        place = self.at(path, key)
        if column is not None and path in self.values:
            inside = self._inside(place, self._text(path), column - 1)
            # a text of several lines, or with characters that YAML writes otherwise, is counted by the reader
            place, message = (inside, message) if inside else (place, f"column {column} of this: {message}")
        return Finding(severity, message, place, ".".join(map(str, path)), hint)

    def _text(self, path: Keys) -> str:
        node = self.data
        for key in path:
            node = node[key]
        return str(node)

    @staticmethod
    def _inside(place: Place, text: str, offset: int) -> Place | None:
        """Place of a character of a value that stands in its line as it is, in quotes or without."""
        start = place.column - 1
        start += place.text[start : start + 1] in ("'", '"')
        if not place.text.startswith(text[: offset + 1], start):
            return None
        return replace(place, column=start + offset + 1)


def load(path: Path, shown: str | None = None) -> Source:
    """Read a YAML file.

    Parameters
    ----------
    shown
        Name of the file in messages; default: PATH.

    Raises
    ------
    ConfigError
        If the file cannot be read, or is no YAML.
    """
    name = shown or str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(f"{name}: {reason}", "Give the path of a YAML file.") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        finding = Finding(
            Severity.ERROR, "this is not UTF-8 text", Place(name, line, column), hint="save the file as UTF-8"
        )
        raise FileError(name, [finding]) from error
    return loads(text, name)


def loads(text: str, file: str = "<text>") -> Source:
    """Read YAML text; see `load`."""
    # split as YAML does, and show no control character to a terminal
    lines = tuple(_CONTROL.sub("\ufffd", secrets.mask(line)) for line in _BREAK.split(text))
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True
    try:
        node = yaml.compose(text)
    except (MarkedYAMLError, YAMLError) as error:
        raise FileError(file, [syntax.finding(error, file, lines)]) from error
    reader = _Reader(yaml, file, lines)
    data = reader.read(node, ()) if node is not None else None
    told = {finding.place.line for finding in reader.findings if finding.place}
    for number, line in enumerate(_BREAK.split(text)):
        for start, _ in secrets.spans(line) if number + 1 not in told else ():
            reader.findings.append(
                Finding(
                    Severity.ERROR,
                    "this looks like a secret, and this file is shared",
                    reader.place(number, start),
                    hint=secrets.HINT,
                )
            )
    return Source(file, lines, data, reader.keys, reader.values, tuple(reader.findings))


class _Reader:
    """Walks the nodes of one text."""

    def __init__(self, yaml: YAML, file: str, lines: tuple[str, ...]) -> None:
        self.construct = yaml.constructor.construct_object
        self.file = file
        self.lines = lines
        self.keys: dict[Keys, Place] = {}
        self.values: dict[Keys, Place] = {}
        self.findings: list[Finding] = []
        self.open: list[Node] = []

    def place(self, line: int, column: int) -> Place:
        """Return the place of a line and column that count from 0."""
        text = self.lines[line] if line < len(self.lines) else ""
        return Place(self.file, line + 1, column + 1, text)

    def error(self, node: Node, path: Keys, message: str, hint: str | None = None) -> None:
        place = self.place(node.start_mark.line, node.start_mark.column)
        self.findings.append(Finding(Severity.ERROR, message, place, ".".join(map(str, path)), hint))

    def read(self, node: Node, path: Keys) -> Any:
        if node in self.open or len(self.values) > _MOST:
            self.error(
                node, path, "this alias contains itself, or multiplies too often", "write the values out"
            )
            return None
        self.values[path] = self.place(node.start_mark.line, node.start_mark.column)
        self.open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, path)
            if isinstance(node, SequenceNode):
                return [self.read(item, (*path, i)) for i, item in enumerate(node.value)]
            return self.scalar(node, path) if isinstance(node, ScalarNode) else None
        finally:
            self.open.pop()

    def mapping(self, node: MappingNode, path: Keys) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self.error(key_node, path, "a key is one word", "did you forget quotes?")
                continue
            key = key_node.value
            inner = (*path, key)
            if inner in self.keys:
                first = self.keys[inner].line
                self.error(key_node, inner, f"'{key}' is given twice", f"the first is on line {first}")
                continue
            self.keys[inner] = self.place(key_node.start_mark.line, key_node.start_mark.column)
            data[key] = self.read(value_node, inner)
            if secrets.is_secret_key(key) and data[key] not in (None, "", {}, []):
                self.error(key_node, inner, f"'{key}' is a secret, and this file is shared", secrets.HINT)
        return data

    def scalar(self, node: ScalarNode, path: Keys) -> Any:
        tag = str(node.tag).rsplit(":", 1)[-1]
        if tag == "null":
            return None
        if tag in ("int", "float", "bool"):
            return self.construct(node)
        if tag not in ("str", "timestamp"):
            self.error(node, path, f"the tag {node.tag} has no meaning here", "leave it out")
        return node.value


def is_study(data: Any) -> bool:
    """Tell a study file from a deployment."""
    return isinstance(data, dict) and "study" in data and "suite" not in data


def parse(source: Source) -> Deployment:
    """Check a deployment file by itself and return the model.

    Raises
    ------
    FileError
        With everything that is wrong: text, keys, values, and what the keys say together.
    """
    if is_study(source.data):
        message, hint = (
            "this is a study file, and no deployment",
            "run it on this machine: ml-suite study run FILE",
        )
        raise FileError(source.file, [source.finding(Severity.ERROR, ("study",), message, hint, key=True)])
    return read(source, Deployment, rules.problems)


def read(source: Source, model: type[M], together: Callable[[Any], Iterable[Problem]] | None = None) -> M:
    """Make a model of a file.

    Parameters
    ----------
    together
        Checks of what several keys say, on the plain data, which may be wrong in any way.

    Raises
    ------
    FileError
        With all errors of the text and of the model, and TOGETHER's.
    """
    found = list(source.findings)
    result: M | None = None
    problems = [*_empty(source.data, ())]
    try:
        # as JSON, because only there a list is a tuple while "3" and true are no numbers
        result = model.model_validate_json(json.dumps(source.data), strict=True, context=WRITTEN)
    except ValidationError as error:
        problems += wording.problems(error, model)
    if together is not None and isinstance(source.data, dict):
        problems += together(source.data)
    told: set[Keys | Place | None] = {finding.place for finding in found}
    for problem in problems:
        finding = source.finding(
            Severity.ERROR, problem.path, problem.message, problem.hint, problem.on_key, problem.column
        )
        if problem.path not in told and finding.place not in told:
            found.append(finding)
        told.add(problem.path)
    if found or result is None:
        raise FileError(source.file, found)
    return result


def _empty(data: Any, path: Keys) -> Iterator[Problem]:
    """Keys without a value, where none is no value."""
    if path == () and data is None:
        hint = "`ml-suite init` writes a deployment to start from; docs/study-files.md shows a study file"
        yield Problem((), "the file is empty", hint)
    elif data is None and not {"overrides", "choice"} & set(path) and "when" not in path[:-1]:
        yield Problem(path, f"'{path[-1]}' has no value", "write one, or leave the key out", on_key=True)
    elif isinstance(data, dict):
        for key, value in data.items():
            yield from _empty(value, (*path, key))
    elif isinstance(data, list):
        for i, value in enumerate(data):
            yield from _empty(value, (*path, i))
