"""Values of deployment and host files: text with units, parsed by `ml_suite.quantities`, and what a word may be.

Only pydantic is imported here, so jobs on a host read the same models from the resolved deployment.
"""

from __future__ import annotations

import string
from datetime import timedelta
from typing import Annotated

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from ml_suite import quantities

S3_ADDRESS = r"^s3://[^/\s]+(/\S*)?$"
SERVICE = r"^(embedded|https?://\S+)$"
SUITE_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$"


def node_name(name: str) -> str:
    """Name of an ecFlow node: the same, with underscores where ecFlow takes no hyphens.

    >>> node_name("aifs-o96")
    'aifs_o96'
    """
    return name.replace("-", "_")


WRITTEN = {"written": True}
"""Validation context of values that a person wrote: a share then needs its percent sign."""


def share(value: object, info: ValidationInfo) -> float:
    """Read a share; a person writes it with a percent sign."""
    if isinstance(value, float) and not info.context:
        return value
    return quantities.fraction(value)


Duration = Annotated[
    timedelta,
    BeforeValidator(quantities.duration),
    PlainSerializer(quantities.format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(\d+\s*[smhdw])+$", "examples": ["30m", "12h"]}),
]
Share = Annotated[
    float,
    BeforeValidator(share),
    PlainSerializer(quantities.format_fraction, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$", "examples": ["5%"]}),
]
GpuHours = Annotated[
    float,
    BeforeValidator(quantities.gpu_hours),
    PlainSerializer(quantities.format_gpu_hours, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?\s*GPUh$", "examples": ["3000 GPUh"]}),
]

PLACEHOLDERS = ("account", "user", "home", "ml_suite_home", "cache")


def _known_placeholders(text: str) -> str:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError("a { or } is alone") from error
    for name in names:
        if name not in PLACEHOLDERS:
            raise ValueError(f"{{{name}}} has no meaning; a path may hold {{{'}, {'.join(PLACEHOLDERS)}}}")
    return text


Template = Annotated[str, AfterValidator(_known_placeholders)]
"""A path that may hold placeholders."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+\-]*$")]
"""A word that a site gave out; it goes into command lines, so it is nothing but a word."""


class Strict(BaseModel):
    """Unknown keys are errors and nothing changes after parsing."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
