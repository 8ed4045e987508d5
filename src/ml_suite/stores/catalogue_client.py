"""Run the Anemoi client library safely: its own settings, a deadline, and errors that say something.

The client reads its settings from the environment and from the home folder, writes files there, repeats a request to
a dead server silently for an hour, and reports errors as tracebacks. Here it gets a private home folder, every call
has a deadline, and what goes wrong becomes a `DeliveryError`.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from ml_suite.errors import DeliveryError
from ml_suite.stores import catalogue_reader
from ml_suite.stores.connections import Connections

Result = TypeVar("Result")

_OBJECT_STORE = "ANEMOI_SETTINGS_OBJECT_STORAGE__"
_SECONDS_TO_ANSWER = 15.0
_connected: list[str] = []


def configure(connections: Connections) -> None:
    """Set the client's environment variables; before `anemoi.registry` is imported.

    Raises
    ------
    DeliveryError
        If this process already talks to another catalogue: the client keeps the first one's settings.
    """
    url = connections.catalogue.url.rstrip("/")
    if _connected and _connected != [url]:
        raise DeliveryError(f"this process already uses the catalogue {_connected[0]}, not {url}")
    _connected[:] = [url]
    # the client stops with AttributeError when only this one is set
    os.environ.pop("ANEMOI_CATALOGUE_TOKEN", None)
    os.environ["ANEMOI_CATALOGUE"] = url
    os.environ["ANEMOI_CONFIG_REGISTRY_API_TOKEN"] = connections.catalogue.token.get_secret_value()
    os.environ[_OBJECT_STORE + "ENDPOINT_URL"] = connections.s3.endpoint
    os.environ[_OBJECT_STORE + "REGION"] = connections.s3.region
    os.environ[_OBJECT_STORE + "ACCESS_KEY_ID"] = connections.s3.access_key_id
    os.environ[_OBJECT_STORE + "SECRET_ACCESS_KEY"] = connections.s3.secret_access_key.get_secret_value()
    if connections.s3.endpoint.startswith("http://"):
        os.environ["AWS_ALLOW_HTTP"] = "true"


@dataclass(frozen=True)
class Client:
    """The client library with a deadline per call."""

    url: str
    token: str = field(repr=False)
    seconds: float
    folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(
            prefix="ml-suite-anemoi-", ignore_cleanup_errors=True
        ),
        repr=False,
    )
    """The client's home folder."""

    def call(self, what: str, function: Callable[[], Result]) -> Result:
        """Run FUNCTION, which uses `anemoi.registry`.

        Parameters
        ----------
        what
            For the message, for example ``register the dataset x``.

        Raises
        ------
        DeliveryError
            If the catalogue does not answer, refuses, or takes longer than the deadline.
        """
        catalogue_reader.settings(self.url, self.token, _SECONDS_TO_ANSWER)
        done: list[Result] = []
        failed: list[BaseException] = []

        def work() -> None:
            try:
                done.append(function())
            except BaseException as error:
                failed.append(error)

        # a daemon thread: nothing else stops the client's retries, and the job must not wait for them at its end
        thread = threading.Thread(target=work, name=f"catalogue: {what}", daemon=True)
        with _home(self.folder.name):
            thread.start()
            thread.join(self.seconds)
        if thread.is_alive():
            raise DeliveryError(
                f"the catalogue {self.url} did not {what} within {self.seconds:.0f} s",
                "Look at the catalogue's log; the job can be run again.",
            )
        if failed:
            raise _translated(self.url, what, failed[0])
        return done[0]


def _translated(url: str, what: str, error: BaseException) -> BaseException:
    """The server's own reason instead of a traceback; a bug stays what it is."""
    from requests import RequestException

    if not isinstance(error, RequestException):
        return error
    if error.response is None:
        return DeliveryError(f"the catalogue {url} did not {what}: {error}")
    try:
        reason = error.response.json()["error"]
    except (ValueError, KeyError, TypeError):
        reason = error.response.text[:300]
    code = error.response.status_code
    hint = "Renew the token in connections.json." if code in (401, 403) else None
    return DeliveryError(f"the catalogue {url} did not {what} ({code}): {reason}", hint)


@contextmanager
def _home(folder: str) -> Iterator[None]:
    """Let the client write its files to FOLDER and ignore a person's own settings."""
    old = os.environ.get("HOME")
    os.environ["HOME"] = folder
    try:
        yield
    finally:
        if old is None:
            os.environ.pop("HOME", None)
        else:
            os.environ["HOME"] = old
