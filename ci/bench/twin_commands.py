"""The commands of ci/twin.sh for benchmarks on a twin that is up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SITES = {
    "lumi": ("key", "project_465000000"),
    "leonardo": ("certificate", "deste_340_26"),
    "marenostrum5": ("key", "ehpc01"),
    "jupiter": ("totp", "e-mlops"),
}
"""Way in and project of each site."""
LIMIT = 300.0
_STEP = 30
"""Seconds of a one-time code."""


def twin(*arguments: str, stdin: str = "", check: bool = True) -> str:
    """Run one command of ci/twin.sh; what it printed."""
    done = subprocess.run(
        ["bash", str(ROOT / "ci/twin.sh"), *arguments],
        env={**os.environ, "ML_SUITE_PYTHON": sys.executable},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    if check and done.returncode:
        sys.exit(f"ci/twin.sh {' '.join(arguments)[:200]}: {done.stderr or done.stdout}")
    return done.stdout


def inside(host: str, line: str, stdin: str = "", check: bool = True) -> str:
    """Run a line of shell at a host of the twin; what it printed."""
    return twin("exec", host, line, stdin=stdin, check=check)


class Operator:
    """The person who logs in, with a telephone whose codes work once."""

    def __init__(self) -> None:
        self._used: set[str] = set()

    def log_in(self, site: str) -> None:
        """Open the connections to a site that are not open."""
        codes = ""
        if SITES[site][0] == "certificate":
            twin("cert", site)
        elif SITES[site][0] == "totp":
            codes = self._codes(site)
        option = " --code-stdin" if codes else ""
        inside("ops", f"ml-suite hosts login {site}{option}", stdin=codes)

    def _codes(self, site: str) -> str:
        """Two codes that have not been used, for the two connections that may be missing."""
        while True:
            shown = twin("totp", site, "--codes", "2").split()
            if not self._used.intersection(shown):
                self._used.update(shown)
                return "\n".join(shown) + "\n"
            time.sleep(_STEP / 10)
