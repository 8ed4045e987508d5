"""The machine that wheels are made for: Python, processor, C library."""

from __future__ import annotations

from dataclasses import dataclass

from ml_suite.errors import ConfigError
from ml_suite.software.lock import Lock, Pin

_ALIASES = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_OLDEST = {"x86_64": 5, "aarch64": 17}
"""Minor version of the first glibc 2 that wheels are built for."""


@dataclass(frozen=True)
class Target:
    """What wheels must run on."""

    python: str
    """``3.11``"""
    machine: str
    """As ``uname -m`` says."""
    glibc: tuple[int, int]

    @property
    def words(self) -> str:
        """For messages.

        >>> Target("3.11", "aarch64", (2, 34)).words
        'Python 3.11, aarch64, glibc 2.34'
        """
        return f"Python {self.python}, {self.machine}, glibc {self.glibc[0]}.{self.glibc[1]}"

    @property
    def abi(self) -> str:
        """Tag of the interpreter.

        >>> Target("3.11", "aarch64", (2, 34)).abi
        'cp311'
        """
        return "cp" + self.python.replace(".", "")

    @property
    def platforms(self) -> list[str]:
        """Platform tags that it takes, the best first: wheels for an older C library run with a newer one.

        >>> Target("3.11", "aarch64", (2, 18)).platforms
        ['manylinux_2_18_aarch64', 'manylinux_2_17_aarch64', 'manylinux2014_aarch64', 'linux_aarch64']
        """
        tags = []
        major, newest = self.glibc
        for minor in range(newest, _OLDEST.get(self.machine, 17) - 1, -1):
            tags.append(f"manylinux_{major}_{minor}_{self.machine}")
            if alias := _ALIASES.get((major, minor)):
                tags.append(f"{alias}_{self.machine}")
        return [*tags, f"linux_{self.machine}"]

    @property
    def options(self) -> list[str]:
        """Options of ``pip download``."""
        words = ["--python-version", self.python, "--implementation", "cp", "--abi", self.abi]
        return [*words, *(word for tag in self.platforms for word in ("--platform", tag))]

    def needs(self, lock: Lock) -> list[Pin]:
        """Packages whose markers hold there.

        Raises
        ------
        ConfigError
            If a marker cannot be read.
        """
        return [pin for pin in lock.pins if pin.marker is None or self._holds(pin)]

    def _holds(self, pin: Pin) -> bool:
        from packaging.markers import InvalidMarker, Marker, UndefinedEnvironmentName

        there = {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
        }
        try:
            return Marker(pin.marker or "").evaluate(there)
        except (InvalidMarker, UndefinedEnvironmentName) as error:
            raise ConfigError(
                f"{pin.name}: {pin.marker!r} cannot be read: {error}".splitlines()[0]
            ) from error
