#!/usr/bin/env python3
"""Time of the real client's edit by name against the client's own start-up.

usage: ci/bench/catalogue.py [--client PATH_OF_anemoi-registry] [--runs N]

Both are run in turn, so that whatever else the machine does falls on both; the entry has the size of a real one (97 kB)
and lies among 300 others. Prints ``RATIO catalogue edit: SECONDS / SECONDS = X``; the goal is at most 1.3.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from ml_suite.home import cache

TOKEN = "bench"
NAME = "aifs-ea-an-oper-0000-mars-o96-1979-2024-6h-v1"
METADATA = {
    "variables_metadata": {f"v{i}": {"mars": {"param": "x" * 40, "levtype": "pl"}} for i in range(1150)}
}


def main() -> int:
    """Measure and print; exit code 1 when the goal is missed."""
    parser = argparse.ArgumentParser(description="Client's edit by name against the client's start-up.")
    parser.add_argument("--client", type=Path, default=cache() / "anemoi" / "bin" / "anemoi-registry")
    parser.add_argument("--runs", type=int, default=15)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server, url = start(Path(folder))
        try:
            fill(url)
            environment = {**os.environ, "HOME": folder, "ANEMOI_CATALOGUE": url}
            environment["ANEMOI_CONFIG_REGISTRY_API_TOKEN"] = TOKEN
            edits, starts = [], []
            for n in range(chosen.runs + 1):
                starts.append(seconds([chosen.client, "--version"], environment))
                edit = [chosen.client, "datasets", NAME, "--set-status", f"s{n}"]
                edits.append(seconds(edit, environment))
        finally:
            server.terminate()
            server.wait(20)
    # the first of each reads the programs from the disk
    edit, start_up = statistics.median(edits[1:]), statistics.median(starts[1:])
    print(f"RATIO catalogue edit: {edit:.3f} s / {start_up:.3f} s = {edit / start_up:.2f}")
    return 0 if edit <= 1.3 * start_up else 1


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start the catalogue on a free port."""
    token = folder / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    command = [sys.executable, "-m", "ml_suite.catalogue", "--port", "0", "--data", str(folder / "data")]
    server = subprocess.Popen([*command, "--token-file", str(token)], stdout=subprocess.PIPE, text=True)
    assert server.stdout
    found = re.search(r"http://\S+", server.stdout.readline())
    if not found:
        raise SystemExit("the catalogue did not start")
    return server, found[0]


def fill(url: str) -> None:
    """Register 300 datasets."""
    for n in range(300):
        name = NAME.replace("0000", f"{n:04d}", 1)
        body = json.dumps({"name": name, "metadata": {"uuid": f"u{n}", **METADATA}}).encode()
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{url}/api/v1/datasets", body, headers)
        urllib.request.urlopen(request, timeout=30).close()


def seconds(command: list[Path | str], environment: dict[str, str]) -> float:
    """Wall-clock time of a command that must succeed."""
    begin = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return time.perf_counter() - begin


if __name__ == "__main__":
    sys.exit(main())
