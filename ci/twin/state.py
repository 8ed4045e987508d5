"""The twin's folder: what was started, keys, homes. Mode 0700, owned by root.

::

    lock                     held by commands that change something
    settings.json            what `up` was asked for
    faults.json              what `cut` broke
    secrets/                 keys of hosts, users and the certificate authority, munge keys, seeds of codes
    hosts/<host>/            pid (pid and start of its first process), log/, etc/, var/, tmp/
    homes/<site>/            /home of all hosts of a site, kept by `down`
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ml_suite import atomic
from ml_suite.errors import MlSuiteError
from ml_suite.home import cache
from ml_suite.services.process import Process


@dataclass(frozen=True)
class Settings:
    """What `up` was asked for; a host that is started again gets the same."""

    binds: tuple[str, ...] = ()
    """Folders of the machine that every host sees, read-only, at the same place."""
    services: bool = False
    accounting: bool = False
    checkout: str = ""
    python: str = ""

    def joined(self, more: Settings) -> Settings:
        """What was asked for before and now: `up` takes nothing away from what runs."""
        return replace(
            more,
            binds=tuple(dict.fromkeys((*self.binds, *more.binds))),
            services=self.services or more.services,
            accounting=self.accounting or more.accounting,
        )


@dataclass(frozen=True)
class Folder:
    """Places in the twin's folder."""

    root: Path

    @property
    def secrets(self) -> Path:
        """Keys and seeds."""
        return self.root / "secrets"

    def host(self, name: str) -> Path:
        """Files of one host."""
        return self.root / "hosts" / name

    def home(self, group: str) -> Path:
        """/home of a site."""
        return self.root / "homes" / group

    def prepare(self) -> None:
        """Make the folders.

        Raises
        ------
        MlSuiteError
            If they cannot be made.
        """
        try:
            for path in (self.root, self.secrets, self.root / "hosts", self.root / "homes"):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.chmod(0o700)
        except OSError as error:
            message = f"{error.filename} cannot be made: {error.strerror}"
            raise MlSuiteError(message, "Choose another folder: ML_SUITE_TWIN=DIR") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands on this twin waiting."""
        self.prepare()
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def remember(self, name: str, process: Process) -> None:
        """Note the first process of a host."""
        atomic.write(self.host(name) / "pid", f"{process.pid} {process.start}\n", mode=0o600)

    def forget(self, name: str) -> None:
        """Drop the note."""
        (self.host(name) / "pid").unlink(missing_ok=True)

    def first_process(self, name: str) -> Process | None:
        """The first process of a host, if it is still the one that was started."""
        try:
            pid, start = (self.host(name) / "pid").read_text().split()
        except (OSError, ValueError):
            return None
        process = Process(int(pid), start)
        return process if process.alive else None

    @property
    def settings(self) -> Settings:
        """What `up` was asked for last."""
        found = self._read("settings.json")
        if not found:
            return Settings()
        return Settings(
            binds=tuple(map(str, found["binds"])),
            services=bool(found["services"]),
            accounting=bool(found["accounting"]),
            checkout=str(found["checkout"]),
            python=str(found["python"]),
        )

    def save_settings(self, settings: Settings) -> None:
        """Remember them."""
        atomic.write(self.root / "settings.json", json.dumps(asdict(settings), indent=1) + "\n", mode=0o600)

    @property
    def faults(self) -> dict[str, list[str]]:
        """Kinds of faults by the name given to `cut`."""
        return {name: list(kinds) for name, kinds in self._read("faults.json").items()}

    def save_faults(self, faults: Mapping[str, list[str]]) -> None:
        """Remember those that remain."""
        left = {name: kinds for name, kinds in faults.items() if kinds}
        atomic.write(self.root / "faults.json", json.dumps(left) + "\n", mode=0o600)

    def _read(self, name: str) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.root / name).read_text())
        except FileNotFoundError:
            return {}
        return found


def default_folder() -> Path:
    """ML_SUITE_TWIN, else ``twin`` below ML_SUITE_HOME, else below the cache."""
    if chosen := os.environ.get("ML_SUITE_TWIN"):
        return Path(chosen).expanduser().absolute()
    if home := os.environ.get("ML_SUITE_HOME"):
        return Path(home).expanduser().absolute() / "twin"
    return cache() / "twin"
