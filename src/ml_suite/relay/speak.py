"""Say child commands to the ecFlow server in the name of jobs, with one client for all of them."""

from __future__ import annotations

import os
from typing import Any

from ml_suite.errors import MlSuiteError, ServerUnreachable
from ml_suite.relay.replay import Known
from ml_suite.relay.spool import Message
from ml_suite.server.address import Address, check
from ml_suite.server.client import connect


class Speaker:
    """A connection to the server that looks at tasks and speaks for their jobs.

    Raises
    ------
    ServerUnreachable
        On construction, `look` and `say`, when nobody answers or the server is halted: nothing was said then.
    """

    def __init__(self, address: Address) -> None:
        # a client reads this when it is made: without it one zombie holds everything up for a day
        os.environ["ECF_DENIED"] = "1"
        self._server = connect(address)
        self._client: Any = self._server.child("", "", 1, "")

    def look(self) -> None:
        """Bring what `task` knows up to date."""
        try:
            self._server.tell(self._client.sync_local)
        except ServerUnreachable:
            # says better what is wrong, if nobody listens at all
            check(self._server.address)
            raise
        if str(self._client.get_defs().get_server_state()) == "HALTED":
            raise ServerUnreachable(
                f"the ecFlow server at {self._server.address} is halted", "Go on: ecflow_client --restart"
            )

    @property
    def process(self) -> str:
        """The server's process as of the last `look`: another one has forgotten what came after its checkpoint."""
        variables = self._client.get_defs().server_variables
        return next((v.value() for v in variables if v.name() == "ECF_PID"), "")

    def task(self, path: str) -> Known | None:
        """The task as of the last `look`."""
        task = self._client.get_defs().find_abs_node(path)
        # ecflow's nodes have a length: an ordinary task is false
        if task is None or not hasattr(task, "get_jobs_password"):
            return None
        return Known(
            str(task.get_state()),
            task.get_int_try_no(),
            task.get_jobs_password(),
            task.get_process_or_remote_id(),
            {meter.name(): meter.value() for meter in task.meters},
            {label.name(): label.new_value() for label in task.labels},
            {event.name_or_number(): event.value() for event in task.events},
        )

    def say(self, message: Message) -> str:
        """Say one command.

        Returns
        -------
        Why the server refused it; empty if it took it.
        """
        client = self._client
        client.set_child_path(message.path)
        client.set_child_password(message.password)
        client.set_child_try_no(message.try_number)
        client.set_child_pid(message.pid)
        try:
            self._server.tell(lambda: _say(client, message))
        except MlSuiteError:
            # a refused command and a dead server look alike to the client
            self.look()
            return "the server refused it"
        return ""


def _say(client: Any, message: Message) -> None:
    name = message.arguments[0] if message.arguments else ""
    match message.verb:
        case "init":
            client.child_init()
        case "complete":
            client.child_complete()
        case "abort":
            client.child_abort(message.text)
        case "event":
            client.child_event(name, message.arguments[1:] != ("clear",))
        case "meter":
            client.child_meter(name, int(message.arguments[1]))
        case "label":
            client.child_label(name, message.text)
