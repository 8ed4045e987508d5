"""Expected errors and the exit codes of the command line.

::

    MlSuiteError                      exit 1
     ├ ConfigError                    exit 2   (file, line, column, hint)
     ├ CredentialNeeded               exit 4
     ├ ServerUnreachable              exit 5
     ├ HostError                      exit 1
     │  ├ HostUnreachable             (nothing was sent)
     │  ├ OutcomeUnknown              (it was sent, and its answer was lost: it may have been done)
     │  └ HostBusy                    (too many commands at once; nothing was sent)
     ├ StudyError                     exit 1
     ├ DatasetError                   exit 1   (unfinished, incomplete, or another dataset than expected)
     └ DeliveryError                  exit 1   (S3, MLflow or the catalogue did not take a delivery)

An expected error is shown as one short message without a traceback: what is wrong, where, what to type next.
A bug is any other exception and keeps its traceback.
"""

from __future__ import annotations


class MlSuiteError(Exception):
    """An expected error.

    Parameters
    ----------
    message
        What is wrong and where, one sentence.
    hint
        What to type or change next.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class ConfigError(MlSuiteError):
    """The deployment, a host file or a recipe says something that cannot be."""

    exit_code = 2


class CredentialNeeded(MlSuiteError):
    """A person has to log in or renew something first."""

    exit_code = 4


class ServerUnreachable(MlSuiteError):
    """No ecFlow server answers, or the binding to ask it is missing."""

    exit_code = 5


class HostError(MlSuiteError):
    """A host refused or lost a command."""


class HostUnreachable(HostError):
    """No connection: the command was not sent."""


class OutcomeUnknown(HostError):
    """The command was sent and the connection lost, or it took too long: it may have been done or not."""


class HostBusy(HostError):
    """As many commands as the host allows are running: the command was not sent."""


class StudyError(MlSuiteError):
    """The study has no usable result."""


class DatasetError(MlSuiteError):
    """A dataset is unfinished, incomplete, or another one than expected."""


class DeliveryError(MlSuiteError):
    """An object store, MLflow or the catalogue did not take what was sent, or did not keep it."""
