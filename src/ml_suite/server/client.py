"""Talk to an ecFlow server: the only place that makes an ``ecflow.Client``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from ml_suite.binding import binding
from ml_suite.errors import MlSuiteError, ServerUnreachable
from ml_suite.server import address as addresses
from ml_suite.server.address import Address
from ml_suite.server.definition import Definition, parse

if TYPE_CHECKING:
    from pathlib import Path

    import ecflow

_PING_SECONDS = "5"
_REQUEST_SECONDS = "120"
"""The longest that one request may take; a replace of 10,000 tasks takes 0.1 s."""

T = TypeVar("T")


def definition(defs: ecflow.Defs, suite: str | None = None) -> Definition:
    """One suite of ecFlow's own definition as ours; the first one without a name.

    Raises
    ------
    KeyError
        If there is no such suite.
    """
    ecflow = binding()
    node = next(iter(defs.suites), None) if suite is None else defs.find_suite(suite)
    if node is None:
        raise KeyError(suite)
    externs = "".join(f"extern {path}\n" for path in defs.externs)
    return parse(externs + _text(node, ecflow.Style.DEFS), _text(node, ecflow.Style.MIGRATE))


def _text(node: Any, style: Any) -> str:
    ecflow = binding()
    ecflow.PrintStyle.set_style(style)
    try:
        return str(node)
    finally:
        # the style is global to the binding
        ecflow.PrintStyle.set_style(ecflow.Style.DEFS)


class Server:
    """A server that answered.

    Every method raises `ServerUnreachable` when it does not answer any more or refuses the user, and `MlSuiteError`
    when it does not accept what is asked.
    """

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client = self._open()
        self._read: tuple[str, Definition] | None = None

    def fetch(self, suite: str) -> Definition | None:
        """The suite with its state, None when there is none of that name."""
        self._ask(lambda: self._client.sync_local())
        defs = self._client.get_defs()
        found = defs.find_suite(suite) if defs is not None else None
        if found is None:
            return None
        text = _text(found, binding().Style.MIGRATE)
        if self._read is None or self._read[0] != text:
            self._read = (text, definition(defs, suite))
        return self._read[1]

    def suspended(self, suite: str) -> bool:
        """Whether a suite is suspended; False when there is none of that name."""
        self._ask(lambda: self._client.sync_local())
        defs = self._client.get_defs()
        found = defs.find_suite(suite) if defs is not None else None
        return found is not None and bool(found.is_suspended())

    def suites(self) -> list[str]:
        """Names of all suites on the server."""
        self._ask(lambda: self._client.sync_local())
        defs = self._client.get_defs()
        return [s.name() for s in defs.suites] if defs is not None else []

    def changed(self) -> bool:
        """Whether anything changed on the server since the last `fetch`."""
        return bool(self._ask(lambda: self._client.news_local()))

    def running(self) -> bool:
        """Whether the server submits jobs; a halted or shut down one does not."""
        self._ask(lambda: self._client.sync_local())
        return str(self._client.get_defs().get_server_state()) == "RUNNING"

    def load(self, defs: ecflow.Defs) -> None:
        """Add new suites."""
        self._ask(lambda: self._client.load(defs))

    def begin(self, suite: str) -> None:
        """Start a loaded suite."""
        self._ask(lambda: self._client.begin_suite(suite))

    def replace(self, suite: str, file: Path) -> None:
        """Replace the suite by the definition in FILE, state included, in one request."""
        self._ask(lambda: self._client.replace(f"/{suite}", str(file), True, True))

    def suspend(self, path: str) -> None:
        """Submit nothing below PATH until `resume`; what runs goes on."""
        self._ask(lambda: self._client.suspend(path))

    def resume(self, path: str) -> None:
        """Submit again below PATH."""
        self._ask(lambda: self._client.resume(path))

    def requeue(self, paths: list[str]) -> None:
        """Queue PATHS again, whatever their state."""
        self._ask(lambda: self._client.requeue(paths, "force"))

    def log(self, lines: int) -> list[str]:
        """The last LINES of the server's log."""
        return str(self._ask(lambda: self._client.get_log(lines))).splitlines()

    def write_log(self, message: str) -> None:
        """Leave a line in the server's log."""
        self._ask(lambda: self._client.log_msg(message))

    def alter(self, path: str, kind: str, name: str, value: str) -> None:
        """Change a meter, label, event or variable of a node."""
        self._ask(lambda: self._client.alter(path, "change", kind, name, value))

    def force(self, path: str, state: str) -> None:
        """Set the state of a task."""
        state_of = getattr(binding().State, state)
        self._ask(lambda: self._client.force_state(path, state_of))

    def child(self, path: str, password: str, try_number: int, pid: str) -> Any:
        """Client that speaks for a task's job; its requests go through `tell`."""
        child = self._open()
        child.set_child_path(path)
        child.set_child_password(password)
        child.set_child_try_no(try_number)
        child.set_child_pid(pid)
        return child

    def tell(self, request: Callable[[], T]) -> T:
        """Send one request of a `child`."""
        return self._ask(request)

    def _open(self) -> Any:
        client = binding().Client(self.address.host, self.address.port)
        client.set_connection_attempts(1)
        client.set_retry_connection_period(1)
        return client

    def ping(self) -> None:
        """Ask for a sign of life, with little patience."""
        with _environment({**self.address.environment, "ECF_CONNECT_TIMEOUT": _PING_SECONDS}):
            client = self._open()
            try:
                client.ping()
            except RuntimeError as error:
                raise self._explained(error) from error
        # the patience of a client is fixed when it is made
        with _environment({**self.address.environment, "ECF_CONNECT_TIMEOUT": _REQUEST_SECONDS}):
            self._client = self._open()

    def _ask(self, request: Callable[[], T]) -> T:
        # the binding reads the password file's name when a request is sent
        with _environment({**self.address.environment, "ECF_DENIED": "1"}):
            try:
                return request()
            except RuntimeError as error:
                raise self._explained(error) from error

    def _explained(self, error: RuntimeError) -> MlSuiteError:
        text = str(error)
        if "authentication failed" in text or "not allowed" in text:
            return ServerUnreachable(
                f"the ecFlow server at {self.address} ({self.address.origin}) refused user or password",
                "Name the server's password file: export ECF_PASSWD=FILE, with a line 'USER HOST PORT PASSWORD'; "
                "the embedded server's comes from ML_SUITE_HOME",
            )
        if "Failed to connect" in text:
            return ServerUnreachable(
                f"something listens at {self.address} ({self.address.origin}) but does not answer as an ecFlow server",
                "Is it another program's port, or an ecFlow server with SSL (then export ECF_SSL=1)?",
            )
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return MlSuiteError(f"the ecFlow server at {self.address} refused: {' '.join(lines[:3])}")


def connect(address: Address) -> Server:
    """Reach a server.

    Raises
    ------
    ServerUnreachable
        If the binding is missing, nobody answers, what answers is no ecFlow server, or it refuses user or password.
    """
    server = Server(address)
    try:
        server.ping()
    except ServerUnreachable:
        # a bare connection leaves error lines in the server's log, so it is only made to tell what is wrong
        addresses.check(address)
        raise
    return server


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
