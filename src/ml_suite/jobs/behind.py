"""How far deliveries of a host are behind: ``watch/behind-HOST.json`` beside the ecFlow server.

The courier of the host writes it every minute, `ml-suite status` reads it; neither asks the other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from ml_suite.study.contract import Document

_STALE = timedelta(minutes=10)
"""Without a word for longer, the courier is not running."""


class SuiteBehind(Document):
    """Parcels of one suite that the host left and that are not delivered."""

    parcels: int
    oldest: datetime | None = None
    """When the host left the one that waits longest."""
    problem: str = ""
    """What MLflow, the object store or a parcel did not allow."""


class Behind(Document):
    """What the courier of a host saw last."""

    host: str
    checked: datetime
    contact: datetime | None
    """When the host last answered; what it has left since is not counted."""
    problem: str = ""
    """Why it did not answer this time."""
    hint: str | None = None
    """What to type next."""
    suites: dict[str, SuiteBehind]

    def words(self, now: datetime, suite: str | None = None) -> str:
        """One line for a person, of all suites or of one."""
        chosen = [s for name, s in self.suites.items() if suite in (None, name)]
        parcels = sum(s.parcels for s in chosen)
        told = "up to date"
        if parcels:
            told = f"{parcels} parcel{'s' if parcels > 1 else ''}"
            oldest = min((s.oldest for s in chosen if s.oldest), default=None)
            told += f", oldest {_minutes(now, oldest)} min" if oldest else ""
        told += (
            f"; last contact {self.contact.astimezone():{_clock(now, self.contact)}}"
            if self.contact
            else "; no contact yet"
        )
        problems = [self.problem, *(s.problem for s in chosen)]
        if now - self.checked > _STALE:
            problems.append(f"the courier has not run for {_minutes(now, self.checked)} min")
        return "; ".join([told, *dict.fromkeys(filter(None, problems))])


def path(home: Path, host: str) -> Path:
    """Where the courier of HOST writes."""
    return home / "watch" / f"behind-{host}.json"


def read(home: Path, host: str) -> Behind | None:
    """What was written last; None if nothing was, or another version wrote it."""
    try:
        return Behind.load(path(home, host))
    except (OSError, ValueError):
        return None


def read_all(home: Path) -> list[Behind]:
    """What the couriers of all hosts wrote last, by name."""
    names = sorted(found.stem.removeprefix("behind-") for found in (home / "watch").glob("behind-*.json"))
    return [seen for name in names if (seen := read(home, name))]


def _minutes(now: datetime, then: datetime) -> int:
    return max(0, int((now - then).total_seconds() // 60))


def _clock(now: datetime, then: datetime) -> str:
    return "%H:%M" if now - then < timedelta(hours=20) else "%Y-%m-%d %H:%M"
