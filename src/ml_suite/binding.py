"""The Python binding of ecFlow: from Debian or conda, so imported only where a server or a suite needs it."""

from __future__ import annotations

from typing import Any

from ml_suite.errors import ServerUnreachable


def binding() -> Any:
    """The ``ecflow`` module.

    Raises
    ------
    ServerUnreachable
        If it is not installed.
    """
    try:
        import ecflow
    except ImportError as error:
        raise ServerUnreachable(
            "the Python binding of ecFlow is not installed, so no server can be asked and no suite built",
            "Debian: apt install python3-ecflow    conda: conda install -c conda-forge ecflow    "
            "(it is not on the Python package index)",
        ) from error
    return ecflow
