"""Start-up of the command line and of the per-job submit command, against a bare ``python -c "import click"``.

Run with the Python of the light environment: ``.venv/bin/python ci/bench/startup.py``. The three commands take turns,
so that a busy machine slows all of them alike.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROUNDS = 40
LIMITS = {"ml-suite --help": 1.5, "submit": 3.0}


def commands(outputs: str) -> dict[str, list[str]]:
    """Command lines by name, the peer first."""
    python = sys.executable
    import ml_suite.hosts

    job = Path(ml_suite.hosts.__file__).with_name("job.py")
    return {
        'python -c "import click"': [python, "-c", "import click"],
        "ml-suite --help": [str(Path(python).with_name("ml-suite")), "--help"],
        # as in ECF_JOB_CMD, for a job that is there: it really starts a process
        "submit": [python, "-I", "-S", str(job), "submit", "local", f"{outputs}/t.job1", f"{outputs}/t.1"],
    }


def main() -> int:
    """Print the medians and their ratios; fail when a limit is passed."""
    with tempfile.TemporaryDirectory() as outputs:
        # the job says that ecFlow was told, so that its keeper has nobody to call
        job = """printf 'complete\\nsaid\\n' > "$ML_SUITE_OUTCOME"\n"""
        Path(outputs, "t.job1").write_text(f"#!/bin/bash\n{job}")
        lines = commands(outputs)
        seconds: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(ROUNDS):
            for name, line in lines.items():
                start = time.perf_counter()
                subprocess.run(
                    line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ, check=True
                )
                seconds[name].append(time.perf_counter() - start)
        time.sleep(1)  # the last job's keeper still writes into the folder
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    peer, *ours = medians
    passed = True
    for name in ours:
        ratio = medians[name] / medians[peer]
        passed &= ratio <= LIMITS[name]
        print(
            f"RATIO start-up of {name}: {medians[name] * 1000:.1f} ms / {medians[peer] * 1000:.1f} ms = {ratio:.2f}"
            f" (at most {LIMITS[name]:g})"
        )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
