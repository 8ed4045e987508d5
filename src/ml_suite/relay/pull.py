"""Fetch the files of a spool from the machine that has it, in one round trip, whatever the way there.

Each round trip first deletes the files that an earlier one brought and that are safe here, then brings what is new:
a file is on disk on one side or both, never on none.
"""

from __future__ import annotations

import base64
import io
import shlex
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath

from ml_suite.errors import HostError
from ml_suite.hosts import channel
from ml_suite.hosts.reach import Reach
from ml_suite.relay.spool import LONGEST_FILE, split

Run = Callable[[str, bytes], bytes]
"""Run a POSIX shell script with this input where the spool is and return its output; raises HostError."""

AT_ONCE = 4000
"""Files of one round trip; more come with the next."""

# stdin: names to delete. stdout: number of refused files, then a tar archive unless there is nothing new,
# as text because login shells and channels may mind other bytes.
# Names that tar could take for options, links and what is too large are put aside before anything reads them.
_SCRIPT = """\
LC_ALL=C; export LC_ALL; umask 077
cd {spool}/new 2>/dev/null || {{ echo 0; exit 0; }}
xargs rm -f stored || exit 1
mkdir -p ../refused
find . ! -name . -prune \\( ! -type f -o -size +{blocks} -o -name '*[!A-Za-z0-9_.-]*' -o -name '[!A-Za-z0-9_]*' \\) \
-exec mv -f {{}} ../refused/ \\;
ls ../refused | wc -l
names=$(ls | grep '^[A-Za-z0-9_][A-Za-z0-9_.-]*$' | head -n {most})
[ -z "$names" ] || tar -c -f - $names | gzip -1 | base64
"""
_TIDY = """\
find ../counters -type d -name '[A-Za-z0-9_]*.*' -mtime +30 -exec rm -r {} + 2>/dev/null
find ../tmp -type f -mtime +1 -exec rm -f {} + 2>/dev/null
:
"""


@dataclass(frozen=True)
class Taken:
    """What one round trip brought."""

    files: dict[str, bytes]
    refused: int
    """Files that lie in ``refused`` of the spool because of their name, kind or size."""


class Spool:
    """A spool folder on some machine."""

    def __init__(self, folder: PurePath, run: Run) -> None:
        self.folder = folder
        self._run = run

    def exchange(self, stored: Iterable[str] = (), tidy: bool = False) -> Taken:
        """Delete files and fetch others.

        Parameters
        ----------
        stored
            Files of earlier answers that are durable here.
        tidy
            Remove counters of jobs that ended a month ago too.

        Raises
        ------
        HostError
            If the machine cannot be asked or its answer is cut off; nothing is lost then.
        """
        script = _SCRIPT.format(
            spool=shlex.quote(str(self.folder)), blocks=LONGEST_FILE // 512, most=AT_ONCE
        ) + (_TIDY if tidy else "")
        names = [name for name in stored if split(name)]
        answer = self._run(script, "".join(f"{name}\n" for name in names).encode())
        count, _, archive = answer.partition(b"\n")
        if not count.strip().isdigit():
            raise HostError(f"the answer about {self.folder} makes no sense: {count[:80]!r}")
        files, strange = unpack(_bytes(archive))
        return Taken(files, int(count) + strange)


def _bytes(text: bytes) -> bytes:
    """Archive that travelled as base64 of gzip; never more than the largest that may come."""
    most = AT_ONCE * (LONGEST_FILE + 2048)
    inflate = zlib.decompressobj(wbits=31)
    try:
        data = inflate.decompress(base64.b64decode(text), most)
    except (ValueError, zlib.error) as error:
        raise HostError(f"the archive of the spool is damaged: {error}") from error
    if text and not inflate.eof:
        raise HostError("the archive of the spool is cut off or too large")
    return data


def unpack(archive: bytes) -> tuple[dict[str, bytes], int]:
    """Files of a tar archive from a machine that is not trusted, and how many members were refused.

    Raises
    ------
    HostError
        If it is damaged; one that was cut off between two files is only shorter.
    """
    files: dict[str, bytes] = {}
    refused = 0
    if not archive:
        return files, refused
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:") as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() and member.size <= LONGEST_FILE else None
                if content is None or split(member.name) is None:
                    refused += 1
                else:
                    files[member.name] = content.read()
    except (tarfile.TarError, EOFError) as error:
        raise HostError(f"the archive of the spool is damaged: {error}") from error
    return files, refused


def here(script: str, given: bytes) -> bytes:
    """Run a script on this machine: the spool is a folder that it sees.

    Raises
    ------
    HostError
        If it fails or takes longer than a minute.
    """
    try:
        done = subprocess.run(["sh", "-c", script], input=given, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise HostError("the spool did not answer within 60 s", "Does its file system hang?") from error
    if done.returncode != 0:
        raise HostError(f"the spool cannot be read: {done.stderr.decode(errors='replace').strip()[:300]}")
    return done.stdout


def over(way: Reach) -> Run:
    """Run scripts at a host, over its open connection."""

    def run(script: str, given: bytes) -> bytes:
        done = channel.run(way, script, stdin=given)
        if done.code != 0:
            raise HostError(f"{way.host}: the spool cannot be read: {done.err.strip()[-300:]}")
        return done.out.encode()

    return run
