"""Waiting for a host: what is safe to repeat is repeated, what a person must do is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ml_suite.errors import CredentialNeeded, HostError, HostUnreachable, MlSuiteError, OutcomeUnknown
from ml_suite.hosts.reach import Reach
from ml_suite.software.patience import Line, Patience


def failing(*errors: MlSuiteError) -> Callable[[], str]:
    """Something that works after these errors."""
    left = list(errors)

    def what() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return what


def test_a_login_that_ended_is_waited_for_and_its_command_said_once() -> None:
    told: list[str] = []
    line = Line(Reach("big"), told.append, Patience(pause=0.01))
    expired = CredentialNeeded("the certificate has expired", "Run: ml-suite hosts login big")
    lost = OutcomeUnknown("the answer was lost")
    assert line.patiently(failing(lost, expired, expired, lost)) == "done"
    assert told == [
        "waits: the answer was lost",
        "waits: Run: ml-suite hosts login big",
        "waits: the answer was lost",
    ]


def test_patience_ends() -> None:
    line = Line(Reach("big"), lambda text: None, Patience(silence=0.0, login=60.0, pause=0.01))
    with pytest.raises(HostUnreachable):
        line.patiently(failing(HostUnreachable("nobody")))
    assert line.patiently(failing(CredentialNeeded("expired"))) == "done"


def test_what_will_not_be_better_later_is_told_at_once() -> None:
    line = Line(Reach("big"), lambda text: None, Patience(pause=0.01))
    with pytest.raises(HostError, match="full"):
        line.patiently(failing(HostError("the disk is full")))
