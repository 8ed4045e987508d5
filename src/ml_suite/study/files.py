"""Read a file that a study may have."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from ml_suite.errors import StudyError

Model = TypeVar("Model", bound=BaseModel)


def load(model: type[Model], path: Path) -> Model | None:
    """Read a file of a study; None if there is none.

    Raises
    ------
    StudyError
        If it is damaged.
    """
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise StudyError(
            f"{path} is damaged or of another version", "Run again what wrote it: the study, or its task."
        ) from error
