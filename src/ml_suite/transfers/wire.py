"""How the catalogue is spoken to: by the Anemoi client where it is installed, else by requests of the same form."""

from __future__ import annotations

import getpass
import http.client
import importlib.util
import json
import os
import socket
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Protocol

from ml_suite import __version__
from ml_suite.errors import DeliveryError
from ml_suite.stores import catalogue_reader
from ml_suite.stores.catalogue_reader import Record
from ml_suite.stores.connections import Connections

Operations = list[dict[str, Any]]
"""RFC 6902."""


class Wire(Protocol):
    """Reads and writes entries; every method raises `DeliveryError` when the catalogue fails or refuses."""

    def get(self, collection: str, key: str) -> Record | None:
        """Read one entry; None if there is none."""

    def query(self, collection: str, **filters: str) -> list[Record]:
        """Read the entries that match all filters."""

    def post(self, collection: str, record: Record) -> Record:
        """Add an entry and return it as stored."""

    def patch(self, collection: str, key: str, operations: Operations) -> Record:
        """Change an entry, all operations or none."""

    def delete(self, collection: str, key: str) -> None:
        """Remove an entry."""


def open_wire(connections: Connections) -> Wire:
    """Whatever this Python has.

    Raises
    ------
    DeliveryError
        If the catalogue does not answer.
    """
    if importlib.util.find_spec("anemoi") and importlib.util.find_spec("anemoi.registry"):
        from ml_suite.stores.catalogue import connect

        return ClientWire(connect(connections))
    return plain(connections)


def plain(connections: Connections) -> RestWire:
    """Requests by the standard library: they touch nothing of this process, so any thread may make them."""
    catalogue = connections.catalogue
    return RestWire(catalogue.url.rstrip("/"), catalogue.token.get_secret_value())


@dataclass(frozen=True)
class ClientWire:
    """The unmodified Anemoi client."""

    catalogue: Any
    """A `ml_suite.stores.catalogue.Catalogue`."""

    def get(self, collection: str, key: str) -> Record | None:
        """Read one entry; None if there is none."""
        found: Record | None = self.catalogue.get(collection, key)
        return found

    def query(self, collection: str, **filters: str) -> list[Record]:
        """Read the entries that match all filters."""
        found: list[Record] = self.catalogue.query(collection, **filters)
        return found

    def post(self, collection: str, record: Record) -> Record:
        """Add an entry and return it as stored."""

        def work() -> Record:
            from anemoi.registry.rest import RestItemList

            stored: Record = RestItemList(collection).post(record)
            return stored

        stored: Record = self.catalogue.client.call(f"add to {collection}", work)
        return stored

    def patch(self, collection: str, key: str, operations: Operations) -> Record:
        """Change an entry, all operations or none."""

        def work() -> Record:
            from anemoi.registry.rest import RestItem

            # sent once: a repeated test of the status would find what the first attempt left
            stored: Record = RestItem(collection, key).patch(operations)
            return stored

        stored: Record = self.catalogue.client.call(f"change {collection}/{key}", work)
        return stored

    def delete(self, collection: str, key: str) -> None:
        """Remove an entry."""

        def work() -> None:
            from anemoi.registry.rest import RestItem

            RestItem(collection, key).unprotected_delete()

        self.catalogue.client.call(f"remove {collection}/{key}", work)


@dataclass(frozen=True)
class RestWire:
    """The same requests without the client."""

    url: str
    token: str = field(repr=False)
    seconds: float = 20.0

    def get(self, collection: str, key: str) -> Record | None:
        """Read one entry; None if there is none."""
        return catalogue_reader.read(self.url, collection, key, self.token, self.seconds)

    def query(self, collection: str, **filters: str) -> list[Record]:
        """Read the entries that match all filters."""
        return catalogue_reader.query(self.url, collection, self.token, self.seconds, **filters)

    def post(self, collection: str, record: Record) -> Record:
        """Add an entry and return it as stored."""
        stored: Record = self._send("POST", collection, record)
        return stored

    def patch(self, collection: str, key: str, operations: Operations) -> Record:
        """Change an entry, all operations or none."""
        stored: Record = self._send("PATCH", f"{collection}/{urllib.parse.quote(key, safe='')}", operations)
        return stored

    def delete(self, collection: str, key: str) -> None:
        """Remove an entry."""
        self._send("DELETE", f"{collection}/{urllib.parse.quote(key, safe='')}?force=True", None)

    def _send(self, method: str, path: str, body: Any) -> Any:
        api = catalogue_reader.settings(self.url, self.token, self.seconds)["api_url"]
        address = f"{api}/{path}"
        if not address.startswith(("http://", "https://")):
            raise DeliveryError(f"{address} is no web address", "Correct catalogue.url in connections.json.")
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        # as the client: for the catalogue's log of who did what
        headers |= {f"x-anemoi-registry-{name}": str(value) for name, value in trace().items()}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(address, data, headers, method=method)
        what = f"{method} {path.partition('?')[0]}"
        try:
            with urllib.request.urlopen(request, timeout=self.seconds) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            reason = error.read(300).decode(errors="replace")
            raise DeliveryError(f"the catalogue refused {what} ({error.code}): {reason}") from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise DeliveryError(f"the catalogue {self.url} did not take {what}: {error}") from error


def trace() -> dict[str, Any]:
    """Who asks."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    version = f"ml-suite {__version__}"
    return {"user": user, "host": socket.gethostname(), "pid": os.getpid(), "version": version}
