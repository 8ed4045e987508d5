"""Put an Apptainer image at a host, with an environment whose programs run in it: nothing else needs to know.

::

    WORK/images/SHA256.sif
    WORK/env/DIGEST/bin/python        a script that runs python3 of the image; other programs by the same script
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

from ml_suite.errors import HostError
from ml_suite.quantities import format_bytes
from ml_suite.software.patience import Line
from ml_suite.software.send import File, send

PROGRAMS = ("python", "python3", "anemoi-training")
"""What the suite starts by its path in the environment."""

_ABSENT = 79

# the script, then the image's path and size; the first line says what is wrong
_LOOK = f"""\
cmp -s - "$1/bin/python" || {{ echo "there is no environment yet, or another"; exit {_ABSENT}; }}
[ "$(stat -L -c %s "$2" 2>/dev/null)" = "$3" ] || {{ echo "the image is missing"; exit {_ABSENT}; }}
for name in {" ".join(PROGRAMS)}; do
    [ -x "$1/bin/$name" ] || {{ echo "bin/$name is missing"; exit {_ABSENT}; }}
done
"""

_MAKE = f"""\
new=$(dirname "$1")/.$(basename "$1").$(uname -n).$$
trap 'rm -rf "$new"' EXIT
mkdir -p "$new/bin" && cat >"$new/bin/python" && [ "$(stat -c %s "$new/bin/python")" = "$2" ] || exit 1
chmod 755 "$new/bin/python" || exit 1
for name in {" ".join(PROGRAMS[1:])}; do
    ln -s python "$new/bin/$name" || exit 1
done
[ ! -e "$1" ] || mv -T "$1" "$new.old" || exit 1
mv -T "$new" "$1" || exit 1
rm -rf "$new.old"
"""


@dataclass(frozen=True)
class Image:
    """An image and how it is run."""

    environment: PurePath
    """WORK/env/DIGEST."""
    file: Path
    """On this machine."""
    sha256: str
    options: tuple[str, ...] = ()
    runtime: str | None = None
    """Program; None: apptainer, else singularity."""

    @property
    def work(self) -> PurePath:
        """Work folder of the host."""
        return self.environment.parent.parent

    @property
    def there(self) -> PurePath:
        """The image at the host."""
        return self.work / "images" / f"{self.sha256}.sif"


def ensure(line: Line, image: Image) -> bool:
    """Make sure that the host has the image and the environment around it: one round trip when it has.

    Returns
    -------
    bool
        It was put there now.

    Raises
    ------
    HostError
        If they cannot be written there; else as `channel.run`.
    """
    size = image.file.stat().st_size
    text = wrapper(image.there, image.work, image.options, image.runtime).encode()
    words = [str(image.environment), str(image.there), str(size)]
    look = line.run(["sh", "-c", _LOOK, "look", *words], stdin=text)
    if look.code == 0:
        return False
    if look.code != _ABSENT:
        raise HostError(f"{line.way.host}: {image.environment}: {look.err.strip()[-300:] or 'no word'}")
    line.say(f"{look.out.strip()}: sends {image.file.name}, {format_bytes(size)}")
    send(line, [File(image.file, image.there.name, image.sha256, size)], image.there.parent)
    done = line.run(["sh", "-c", _MAKE, "make", str(image.environment), str(len(text))], stdin=text)
    if done.code:
        raise HostError(
            f"{line.way.host}: {image.environment} cannot be written: {done.err.strip()[-300:] or 'no word'}",
            "Make room there or raise the quota, or name another folder: hosts.NAME.work.",
        )
    return True


def wrapper(image: PurePath, work: PurePath, options: Sequence[str] = (), runtime: str | None = None) -> str:
    """Script that runs the program of its own name in the image; a program of the image that calls it stays there."""
    choice = shlex.quote(runtime) if runtime else "apptainer singularity"
    wanted = runtime or "apptainer or singularity"
    return f"""\
#!/bin/sh
# Made by ml-suite: runs the program of this name in the image.
name=${{0##*/}}
[ "$name" != python ] || name=python3
if [ -n "${{APPTAINER_CONTAINER:-}}${{SINGULARITY_CONTAINER:-}}" ]; then
    exec "$name" "$@"
fi
runtime=
for one in {choice}; do
    if runtime=$(command -v "$one"); then break; fi
done
if [ -z "$runtime" ]; then
    echo "error: $(uname -n) has no {wanted} on its PATH" >&2
    exit 127
fi
work={shlex.quote(str(work))}
# what leaves ecFlow's messages as files is on the PATH of the host, and must be on that of the image
client=$(command -v ecflow_client) || client=
case $client in
    "$work"/*) export APPTAINERENV_PREPEND_PATH="${{client%/*}}" SINGULARITYENV_PREPEND_PATH="${{client%/*}}" ;;
esac
# packages in the home folder are of another Python
export PYTHONNOUSERSITE=1
real=$(readlink -f "$work")
[ "$real" = "$work" ] || work=$work,$real
exec "$runtime" exec --bind "$work" {shlex.join(options)} {shlex.quote(str(image))} "$name" "$@"
"""
