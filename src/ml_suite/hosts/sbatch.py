"""Options of sbatch as lines of a script. Standard library only."""

from __future__ import annotations

import re
from datetime import timedelta

from ml_suite.hosts.chain import MINUTE

WARNING = timedelta(minutes=2)
"""Time between the warning and the end of a job: enough to write a checkpoint."""

_PLAIN = re.compile(r"[A-Za-z0-9_.,:@%+=/~-]+")


def lines(options: dict[str, str]) -> list[str]:
    """Write options as they stand in a script.

    Raises
    ------
    ValueError
        If a value breaks out of its line.

    >>> lines({"time": "02:00:00", "output": "/a b/c", "exclusive": ""})
    ['#SBATCH --time=02:00:00', '#SBATCH --output="/a b/c"', '#SBATCH --exclusive']
    """
    return [
        f"#SBATCH --{key}={_quoted(value)}" if value else f"#SBATCH --{key}" for key, value in options.items()
    ]


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if '"' in value or "\\" in value or not value.isprintable():
        raise ValueError(f"{value!r} cannot stand in a directive")
    return f'"{value}"'


def slurm_time(value: timedelta) -> str:
    """Write a time as Slurm reads it, rounded up to its minutes.

    >>> slurm_time(timedelta(hours=30, minutes=5))
    '1-06:05:00'
    >>> slurm_time(timedelta(seconds=90))
    '00:02:00'
    """
    minutes = -(-value // MINUTE)
    days, rest = divmod(minutes, 24 * 60)
    clock = f"{rest // 60:02}:{rest % 60:02}:00"
    return f"{days}-{clock}" if days else clock


def warning(time: timedelta, signal: str = "B:TERM") -> str:
    """Value of ``--signal``: what a job gets before its end, and when.

    >>> warning(timedelta(minutes=1)), warning(timedelta(days=1))
    ('B:TERM@15', 'B:TERM@120')
    """
    return f"{signal}@{int(min(WARNING, time / 4).total_seconds())}"


def gpus(per_node: int, request: str) -> dict[str, str]:
    """Option that asks for GPUs in the way of a site; none without GPUs."""
    if not per_node:
        return {}
    return {"gres": f"gpu:{per_node}"} if request == "gres" else {"gpus-per-node": str(per_node)}
