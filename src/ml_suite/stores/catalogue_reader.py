"""Read an Anemoi catalogue with the standard library only, for the command line."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from ml_suite.errors import DeliveryError

Record = dict[str, Any]
"""An entry of the catalogue: an open JSON object."""

_SECONDS = 10.0


def settings(url: str, token: str | None = None, seconds: float = _SECONDS) -> Record:
    """What the catalogue says about itself: addresses, buckets, platforms.

    Raises
    ------
    DeliveryError
        If it does not answer in time, or is no Anemoi catalogue.
    """
    found = _get(f"{url.rstrip('/')}/settings", token, seconds)
    registry = found.get("registry") if isinstance(found, dict) else None
    if not isinstance(registry, dict) or "api_url" not in registry:
        raise DeliveryError(f"{url} is no Anemoi catalogue: its /settings has no registry.api_url")
    return registry


def read(
    url: str, collection: str, key: str, token: str | None = None, seconds: float = _SECONDS
) -> Record | None:
    """Read one entry; None if there is none.

    Parameters
    ----------
    url
        Address of the catalogue, without ``/api``.
    collection
        ``datasets``, ``trainings``, ``weights``, ``experiments`` or ``tasks``.
    seconds
        Time for each of the two requests.

    Raises
    ------
    DeliveryError
        If the catalogue does not answer, or refuses.
    """
    api = settings(url, token, seconds)["api_url"]
    found = _get(f"{api}/{collection}/{urllib.parse.quote(key, safe='')}", token, seconds, absent=True)
    return found if isinstance(found, dict) else None


def query(
    url: str, collection: str, token: str | None = None, seconds: float = _SECONDS, **filters: str
) -> list[Record]:
    """Read the entries that match all filters; the catalogue may leave large members out.

    Raises
    ------
    DeliveryError
        If the catalogue does not answer, or refuses.
    """
    api = settings(url, token, seconds)["api_url"]
    words = f"?{urllib.parse.urlencode(filters)}" if filters else ""
    found = _get(f"{api}/{collection}{words}", token, seconds)
    if not isinstance(found, list):
        raise DeliveryError(f"{api}/{collection} did not answer with a list")
    return found


def page(url: str, collection: str, key: str) -> str:
    """Address of an entry's web page."""
    return f"{url.rstrip('/')}/{collection}/{key}"


def _get(address: str, token: str | None, seconds: float, absent: bool = False) -> Any:
    if not address.startswith(("http://", "https://")):
        raise DeliveryError(f"{address} is no web address", "Correct catalogue.url in connections.json.")
    request = urllib.request.Request(address)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=seconds) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404 and absent:
            return None
        raise DeliveryError(f"the catalogue answered {error.code} to {address}: {_reason(error)}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DeliveryError(
            f"the catalogue does not answer at {address}: {reason}",
            "Run: ml-suite services status",
        ) from error


def _reason(error: urllib.error.HTTPError) -> str:
    body = error.read(2000).decode(errors="replace")
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:300]
