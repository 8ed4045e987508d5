"""How the catalogue says no."""

from __future__ import annotations


class Refusal(Exception):
    """A request that is not carried out.

    The real client repeats 408, 429 and most 5xx silently for an hour, so a refusal is always another 4xx with a
    reason that a person understands.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
