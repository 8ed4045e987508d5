"""RFC 6902 patches: all operations of a list or none."""

from __future__ import annotations

from typing import Any

from jsonpatch import JsonPatch, JsonPatchException, JsonPatchTestFailed
from jsonpointer import JsonPointerException

from ml_suite.catalogue.records import Record
from ml_suite.catalogue.refusal import Refusal


def apply(record: Record, operations: Any) -> Any:
    """Apply a patch to RECORD, which is used up: read it afresh after a refusal.

    Raises
    ------
    Refusal
        409 if a ``test`` fails, 422 if the patch is malformed or does not fit the record.
    """
    if not isinstance(operations, list) or not operations:
        raise Refusal(422, "a patch is a JSON list of operations")
    try:
        # a fresh copy of the record is read for every patch, so there is no need for another one
        return JsonPatch(operations).apply(record, in_place=True)
    except JsonPatchTestFailed as error:
        raise Refusal(409, f"a test of the patch failed: {first_line(error)}") from error
    except (JsonPatchException, JsonPointerException) as error:
        raise Refusal(422, f"the patch does not fit: {first_line(error)}") from error
    except (TypeError, KeyError, IndexError, ValueError, AttributeError) as error:
        # jsonpatch lets these out when an operation goes through a scalar
        raise Refusal(422, f"the patch is malformed: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """The message without the values, which may be megabytes."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
