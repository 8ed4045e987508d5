"""One child command as ``shim/ecflow_client`` leaves it: a file ``KEY.NUMBER`` with fields that end in NUL.

::

    ml-suite spool 1 · ECF_NAME · ECF_PASS · ECF_TRYNO · ECF_RID · VERB · COUNT · ARGUMENT... · end

KEY names the counter of a job, NUMBER its place in it. The file was written by a machine that we do not run, so nothing
in it is believed before it was checked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

LONGEST_FILE = 16384
"""Bytes; the shim takes texts of up to 8000."""

SHIM = Path(__file__).parent / "shim"
"""Folder that goes first into PATH where there is no route."""

_NAME = re.compile(r"(?P<key>[A-Za-z0-9_][A-Za-z0-9_.-]{0,230})\.(?P<number>\d{9})", re.ASCII)
_PATH = re.compile(r"(/[A-Za-z0-9_][A-Za-z0-9_.]*)+", re.ASCII)
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*", re.ASCII)
_COUNTS = {"init": (1,), "complete": (0,), "abort": (0, 1), "event": (1, 2), "meter": (2,)}
_INT32 = 2**31


class Refused(ValueError):
    """A file that is no child command; the message says why."""


@dataclass(frozen=True)
class Message:
    """A child command and the job that gave it."""

    name: str
    """Of the file."""
    key: str
    number: int
    path: str
    password: str = field(repr=False)
    try_number: int
    pid: str
    verb: str
    arguments: tuple[str, ...] = ()

    @property
    def settles(self) -> bool:
        """Whether it moves the task from one state to the next."""
        return self.verb in ("init", "complete", "abort")

    @property
    def run(self) -> tuple[str, str, int]:
        """What tells one run of a task from another."""
        return self.path, self.password, self.try_number

    @property
    def text(self) -> str:
        """Of a label or an abort."""
        return " ".join(self.arguments[1:] if self.verb == "label" else self.arguments)

    def __str__(self) -> str:
        what = " ".join((f"--{self.verb}", *self.arguments))
        return f"{self.path} try {self.try_number}: {what[:120]}"


def split(name: str) -> tuple[str, int] | None:
    """Key and number in the name of a file; None when it has another form.

    >>> split("s.t.1.1795236596-77.000000012")
    ('s.t.1.1795236596-77', 12)
    >>> split("../etc/passwd.000000001") is None
    True
    """
    found = _NAME.fullmatch(name)
    return (found["key"], int(found["number"])) if found else None


def parse(name: str, content: bytes) -> Message:
    """Read a file of the spool.

    Raises
    ------
    Refused
        If its name, size or content is not what the shim writes.
    """
    place = split(name)
    if place is None:
        raise Refused("the name is not KEY.NUMBER")
    if len(content) > LONGEST_FILE:
        raise Refused(f"it has {len(content)} bytes, more than {LONGEST_FILE}")
    fields = content.decode(errors="replace").split("\0")
    if len(fields) < 9 or fields[0] != "ml-suite spool 1" or fields[-2:] != ["end", ""]:
        raise Refused("it is cut off or no child command")
    _, path, password, try_number, pid, verb, count = fields[:7]
    arguments = tuple(fields[7:-2])
    if count != str(len(arguments)):
        raise Refused(f"it announces {count[:20]} arguments and has {len(arguments)}")
    if not _PATH.fullmatch(path):
        raise Refused("ECF_NAME is no path of a task")
    if not (try_number.isascii() and try_number.isdecimal() and len(try_number) < 7):
        raise Refused("ECF_TRYNO is no number")
    _check(verb, arguments)
    key, number = place
    return Message(name, key, number, path, password, int(try_number), pid, verb, arguments)


def _check(verb: str, arguments: tuple[str, ...]) -> None:
    if verb == "label":
        if len(arguments) < 2:
            raise Refused("a label without a text")
    elif verb not in _COUNTS or len(arguments) not in _COUNTS[verb]:
        raise Refused(f"no child command: {verb[:20]} with {len(arguments)} arguments")
    if verb in ("event", "meter", "label") and not _WORD.fullmatch(arguments[0]):
        raise Refused(f"no name of a {verb}")
    if verb == "event" and arguments[1:] not in ((), ("set",), ("clear",)):
        raise Refused("an event is set or clear")
    if verb == "meter" and not (
        re.fullmatch(r"-?\d{1,10}", arguments[1], re.ASCII) and abs(int(arguments[1])) < _INT32
    ):
        raise Refused("the value of a meter is no whole number of 32 bits")
