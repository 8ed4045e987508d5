"""How a program of the training environment answers the command line: one JSON document on stdout.

Libraries print what they like, so their output is sent to stderr; an expected error is a document too.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ml_suite.errors import MlSuiteError


class Answer:
    """Takes the result; `code` is the exit code to leave with."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.code = 0

    def __call__(self, text: str) -> None:
        """Keep the JSON document that is to be printed."""
        self.text = text


@contextmanager
def answering() -> Iterator[Answer]:
    """Print the answer, or the expected error, on the stdout that the process was started with."""
    answer = Answer()
    sys.stdout.flush()
    real = os.dup(1)
    os.dup2(2, 1)
    try:
        yield answer
    except MlSuiteError as error:
        answer.code = error.exit_code
        answer.text = json.dumps({"error": {"message": error.message, "hint": error.hint}})
    finally:
        sys.stdout.flush()
        if answer.text is not None:
            with os.fdopen(real, "w") as out:
                out.write(answer.text + "\n")
