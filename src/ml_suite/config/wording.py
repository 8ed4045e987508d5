"""Validation errors of our models in our words.

`message` covers every type of error that the models can raise; a type that nobody foresaw gets a plain
sentence, never pydantic's.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ml_suite.config.findings import Problem
from ml_suite.config.hpo import SELECT
from ml_suite.config.values import S3_ADDRESS, SERVICE, SUITE_NAME

PATTERNS = {
    SUITE_NAME: "a suite's name has letters, digits, '_', '-' and '.', and starts with none of the last two",
    S3_ADDRESS: "write an address in an object store: s3://bucket/prefix",
    SELECT: "write one of: best, pareto, lightest within 5%",
    SERVICE: "write `embedded` or an address: https://...",
}

_PAIR = "write two numbers: [low, high]"
_PLAIN = {
    "string_type": "write text here",
    "int_type": "write a whole number",
    "int_from_float": "write a whole number",
    "int_parsing": "write a whole number",
    "int_parsing_size": "this number is too large",
    "float_type": "write a number",
    "float_parsing": "write a number",
    "finite_number": "write a finite number",
    "bool_type": "write true or false",
    "bool_parsing": "write true or false",
    "list_type": "write a list: [first, second]",
    "dict_type": "write keys and values: {key: value}",
    "model_type": "write keys and values: {key: value}",
    "model_attributes_type": "write keys and values: {key: value}",
    "tuple_type": _PAIR,
}
_TIME = "write a date and a time: 1996-01-05T18:00"


def message(error: ErrorDetails) -> str:
    """One error in our words."""
    return worded(error["type"], error.get("ctx", {}))


def worded(kind: str, ctx: Mapping[str, Any]) -> str:
    """Say what a type of validation error and its context mean; pure of anything that pydantic wrote."""
    if kind == "value_error":
        return str(ctx["error"])
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind.startswith(("datetime_", "date_", "timezone_")):
        return _TIME
    if kind in ("literal_error", "enum"):
        return f"write one of: {str(ctx['expected']).replace(' or ', ', ').replace(chr(39), '')}"
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(str(ctx["pattern"]), "this text has the wrong form")
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return _bound(kind, ctx)
    if kind in ("too_short", "too_long"):
        return _length(kind, ctx)
    return "this value does not fit here"


def _bound(kind: str, ctx: Mapping[str, Any]) -> str:
    word, key = {
        "greater_than": ("more than", "gt"),
        "greater_than_equal": ("at least", "ge"),
        "less_than": ("less than", "lt"),
        "less_than_equal": ("at most", "le"),
    }[kind]
    return f"this must be {word} {ctx[key]}"


def _length(kind: str, ctx: Mapping[str, Any]) -> str:
    if ctx.get("field_type") == "Tuple":
        return _PAIR
    if kind == "too_long":
        return f"at most {ctx['max_length']} values, not {ctx['actual_length']}"
    return "nothing is listed here" if ctx["min_length"] == 1 else f"at least {ctx['min_length']} values"


def problems(error: ValidationError, model: type[BaseModel]) -> Iterator[Problem]:
    """All errors of a model in our words, a missing key folded into the unknown key that explains it."""
    errors = [e | {"loc": _written(e["loc"])} for e in error.errors()]
    explained: set[tuple[str | int, ...]] = set()
    unknown = []
    for e in errors:
        if e["type"] == "extra_forbidden":
            *parent, key = e["loc"]
            known = _keys(_model_at(model, tuple(parent)))
            near = nearest(str(key), known)
            if near:
                explained.add((*parent, near))
            unknown.append(
                Problem(e["loc"], f"unknown key '{key}'", _advice(model, str(key), near, known), on_key=True)
            )
    yield from unknown
    yield from _missing(
        model, [e["loc"] for e in errors if e["type"] == "missing" and e["loc"] not in explained]
    )
    for e in errors:
        if e["type"] not in ("extra_forbidden", "missing"):
            named = e["loc"][-1:] == ("sampling",) and e["type"] == "literal_error"
            hint = "or let a sampler of Optuna choose: {optuna: tpe, rounds: 4}" if named else None
            yield Problem(e["loc"], message(e), hint)


def _written(loc: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Keys as a person wrote them, without the names of forms that a value may have."""
    return tuple(
        part
        for before, part in zip((None, *loc), loc, strict=False)
        if not (before == "sampling" and part in ("named", "drawn"))
    )


def _missing(model: type[BaseModel], locs: list[tuple[str | int, ...]]) -> Iterator[Problem]:
    """Yield one problem for each mapping that lacks keys."""
    for parent in dict.fromkeys(loc[:-1] for loc in locs):
        keys = [loc[-1] for loc in locs if loc[:-1] == parent]
        if isinstance(keys[0], int):
            yield Problem(parent, _PAIR)
            continue
        where = f" in {'.'.join(map(str, parent))}" if parent else ""
        names = ", ".join(f"'{key}'" for key in keys)
        hint = _described(model, (*parent, keys[0])) if len(keys) == 1 else None
        yield Problem(
            (*parent, keys[0]), f"{names} {'is' if len(keys) == 1 else 'are'} required{where}", hint, True
        )


def nearest(word: str, known: list[str]) -> str | None:
    """Return the known word that was probably meant."""
    plain = {k.lower().replace("_", "").replace("-", ""): k for k in known}
    found = difflib.get_close_matches(word.lower().replace("_", "").replace("-", ""), plain, 1, cutoff=0.7)
    return plain[found[0]] if found else None


def _advice(model: type[BaseModel], key: str, near: str | None, known: list[str]) -> str:
    if near:
        return f"did you mean '{near}'?"
    if elsewhere := _paths_of(model, key):
        return f"'{key}' belongs in {' or '.join(elsewhere[:2])}"
    return f"known keys: {', '.join(known)}"


def _described(model: type[BaseModel], loc: tuple[str | int, ...]) -> str | None:
    parent = _model_at(model, loc[:-1])
    described = parent.model_fields[str(loc[-1])].description if parent else None
    return " ".join(described.split()) if described else None


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [m for arg in get_args(annotation) for m in _models_in(arg)]


def _model_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> type[BaseModel] | None:
    """Return the model that holds the keys below LOC; free keys such as a host's name are passed over."""
    here: type[BaseModel] | None = model
    for part in loc:
        if here is not None and part in here.model_fields:
            inner = _models_in(here.model_fields[str(part)].annotation)
            here = inner[0] if inner else None
    return here


def _keys(model: type[BaseModel] | None) -> list[str]:
    return list(model.model_fields) if model else []


def _paths_of(model: type[BaseModel], key: str, at: tuple[str, ...] = ()) -> list[str]:
    """Dotted paths of the mappings that know KEY."""
    found = [".".join(at) or "the top level"] if key in model.model_fields else []
    for name, field in model.model_fields.items():
        for inner in _models_in(field.annotation):
            found += _paths_of(inner, key, (*at, name))
    return found
