"""Show on the task how far a transfer is."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ml_suite.jobs import callback
from ml_suite.quantities import format_bytes

_SECONDS = 5.0


@dataclass
class Moving:
    """A progress callback that moves the meter ``percent`` and sets the label ``moved``, at most every five seconds."""

    said: float = field(default_factory=time.monotonic)

    def __call__(self, done: int, total: int) -> None:
        """Tell DONE of TOTAL bytes."""
        now = time.monotonic()
        if now - self.said < _SECONDS:
            return
        self.said = now
        callback.meter("percent", 100 * done // total if total else 100)
        callback.label("moved", f"{format_bytes(done)} of {format_bytes(total)}")

    def finish(self, text: str) -> None:
        """Tell the end."""
        print(text, flush=True)
        callback.meter("percent", 100)
        callback.label("moved", text)
