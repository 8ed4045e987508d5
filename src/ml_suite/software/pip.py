"""Ask pip for wheels that another machine takes."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ml_suite.errors import HostError
from ml_suite.software.lock import Lock, Pin
from ml_suite.software.target import Target

INSTALLER = Pin("pip", "25.3", ("sha256:9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd",))
"""What installs wheels at hosts; one version for all, so that all installs are alike."""

_LONGEST = 3600.0
"""Seconds for a download."""

_NONE = re.compile(r"No matching distribution found for ([A-Za-z0-9._-]+?)==")


def download(pins: Sequence[Pin], lock: Lock, target: Target, to: Path) -> list[Pin]:
    """Download the wheel of every package that has one.

    Returns
    -------
    list of Pin
        Packages without a wheel for the target.

    Raises
    ------
    HostError
        If pip is missing, the index does not answer, or a file has another hash.
    """
    sources: list[Pin] = []
    while wanted := [pin for pin in pins if pin not in sources]:
        words = ["download", "--no-deps", "--only-binary=:all:", *target.options, "--dest", str(to)]
        done = _run([*words, *lock.options], wanted)
        if done.returncode == 0:
            break
        found = _NONE.search(done.stdout)
        name = re.sub(r"[-_.]+", "-", found[1]).lower() if found else None
        lacking = next((pin for pin in wanted if pin.name == name), None)
        if lacking is None:
            raise _refused(done.stdout, target)
        sources.append(lacking)
    return sources


def build(pin: Pin, lock: Lock, target: Target, to: Path) -> None:
    """Make the wheel of a package of which only the source is given out; it must hold nothing compiled.

    Raises
    ------
    HostError
        If there is no source, or the wheel is for this machine only.
    """
    with tempfile.TemporaryDirectory(dir=to) as folder:
        words = ["wheel", "--no-deps", f"--no-binary={pin.name}", "--wheel-dir", folder, *lock.options]
        done = _run(words, [pin])
        if done.returncode and _NONE.search(done.stdout):
            raise HostError(
                f"{pin.name} {pin.version} has no wheel for {target.words}",
                "Take a version that has one, name an --extra-index-url in the requirements file, or use an image.",
            )
        if done.returncode:
            raise _refused(done.stdout, target)
        for made in Path(folder).glob("*.whl"):
            if not made.name.endswith("-none-any.whl"):
                raise HostError(
                    f"{pin.name} {pin.version} has no wheel for {target.words}, and its source must be compiled there",
                    "Take a version that has one, name an --extra-index-url in the requirements file, or use an image.",
                )
            made.rename(to / made.name)


def installer(to: Path) -> Path:
    """Download the pip that hosts get.

    Raises
    ------
    HostError
        If it cannot be had.
    """
    done = _run(["download", "--no-deps", "--only-binary=:all:", "--dest", str(to)], [INSTALLER])
    found = sorted(to.glob("pip-*.whl"))
    if done.returncode or not found:
        raise _refused(done.stdout, None)
    return found[0]


def _run(words: Sequence[str], pins: Sequence[Pin]) -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile("w", prefix="ml-suite-", suffix=".txt") as listed:
        listed.write("".join(f"{replace(pin, marker=None).line}\n" for pin in pins))
        listed.flush()
        hashes = ["--require-hashes"] if all(pin.hashes for pin in pins) else []
        common = ["--disable-pip-version-check", "--no-input", "--progress-bar=off", "--no-color"]
        try:
            return subprocess.run(
                [*_pip(), *words, *common, *hashes, "-r", listed.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_LONGEST,
                # wheels that are built twice are alike
                env={**os.environ, "SOURCE_DATE_EPOCH": "315532800", "PYTHONPATH": ""},
            )
        except subprocess.TimeoutExpired as error:
            raise HostError(
                "pip did not end in an hour", "Run it again: it goes on with its cache."
            ) from error


def _pip() -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if importlib.util.find_spec("ensurepip"):
        import ensurepip

        folder = Path(ensurepip.__file__).parent / "_bundled"
        if found := sorted(folder.glob("pip-*.whl")):
            return [sys.executable, str(found[-1] / "pip")]
    raise HostError(
        f"{sys.executable} has no pip to download wheels with", "Debian: apt install python3-pip python3-venv"
    )


def _refused(output: str, target: Target | None) -> HostError:
    r"""What pip said, in its own words where they are good.

    >>> print(_refused("ERROR: Could not find a version\nERROR: it broke", None).message)
    pip brings no wheels: it broke
    """
    if "DO NOT MATCH THE HASHES" in output:
        # pip calls both by their place in what it was asked for
        wrong = re.search(r"^\s+([A-Za-z0-9._-]+==\S+) from", output, re.M)
        got = re.search(r"Got\s+([0-9a-f]{12})", output)
        what = wrong[1] if wrong else "a package"
        return HostError(
            f"{what} is not what the requirements file says: it has the hash {got[1] if got else 'of another'}...",
            "Somebody changed the package or the file: find out who, then make the file again.",
        )
    told = [line.partition("ERROR: ")[2] for line in output.splitlines() if line.startswith("ERROR: ")]
    said = told[-1] if told else next(iter(reversed(output.split("\n"))), "")
    where = f" for {target.words}" if target else ""
    return HostError(f"pip brings no wheels{where}: {said or 'no word'}", "See what the job printed.")
