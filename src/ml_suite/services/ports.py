"""Choose TCP ports of this machine that nobody listens at."""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping

# below the range of Linux' outgoing connections, so that a port stays free while its server is down
_RANGE = range(20000, 32000)
_TRIES = 2000


def is_free(port: int) -> bool:
    """Whether a server could listen at the port, on every interface."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def answers(port: int) -> bool:
    """Whether something listens at the port of loopback."""
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


def choose(names: tuple[str, ...], remembered: Mapping[str, int], taken: set[int]) -> dict[str, int]:
    """Give every name a port: the remembered one if it is free, else a new one.

    Parameters
    ----------
    names
        ``other+10000`` is the port 10000 above that of ``other``.
    taken
        Ports that others will listen at soon; the chosen ones are added.

    Raises
    ------
    OSError
        If no port can be found.
    """
    chosen: dict[str, int] = {}
    for name in (name for name in names if "+" not in name):
        above = {other: int(other.partition("+")[2]) for other in names if other.startswith(f"{name}+")}
        steps = (0, *above.values())
        port = remembered.get(name, 0)
        if not port or not _usable(port, steps, taken):
            port = _new(steps, taken)
        taken.update(port + step for step in steps)
        chosen |= {name: port} | {other: port + step for other, step in above.items()}
    return chosen


def _usable(port: int, steps: tuple[int, ...], taken: set[int]) -> bool:
    return all(port + step not in taken and is_free(port + step) for step in steps)


def _new(steps: tuple[int, ...], taken: set[int]) -> int:
    for port in random.sample(_RANGE, _TRIES):
        if _usable(port, steps, taken):
            return port
    raise OSError(f"no free port between {_RANGE.start} and {_RANGE.stop}")
