"""Run the command line of anemoi-datasets in this environment; its output goes to the job's log."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ml_suite.errors import ConfigError, DatasetError

_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large")
_ERROR = re.compile(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception|Exit)\b.*)$")
_PR_SET_PDEATHSIG = 1
_KEPT_LINES = 400


def anemoi_datasets(
    *arguments: str | Path, folder: Path, watch: Callable[[], None] | None = None, every: float = 2.0
) -> None:
    """Run ``anemoi-datasets ARGUMENTS`` in FOLDER, from which the recipe's relative paths are read.

    The exit code 0 proves nothing: the caller looks at the store afterwards. When this process is killed, so is the
    command, so that a task which runs again never meets a writer of its earlier try.

    Parameters
    ----------
    watch
        Called every EVERY seconds while the command runs.

    Raises
    ------
    ConfigError
        If FOLDER or the command is missing.
    DatasetError
        If the command fails: the message is its last error, or says that the disk is full.
    """
    program = Path(sys.executable).parent / "anemoi-datasets"
    if not program.exists():
        raise ConfigError(f"{program} is missing", "Install anemoi-datasets in the host's environment.")
    if not folder.is_dir():
        raise ConfigError(
            f"the folder of sources {folder} does not exist",
            "Create it with the files that the recipe names, or set dataset.sources in the deployment.",
        )
    process = subprocess.Popen(
        [program, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "TQDM_DISABLE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=_die_with_parent,
    )
    kept: deque[str] = deque(maxlen=_KEPT_LINES)
    reader = threading.Thread(target=_pass_on, args=(process, kept), daemon=True)
    reader.start()
    try:
        code = _wait(process, watch, every)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join(timeout=10)
    if code != 0:
        raise _failure(str(arguments[0]), code, list(kept))


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _pass_on(process: subprocess.Popen[bytes], kept: deque[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        text = line.decode(errors="replace")
        sys.stdout.write(text)
        sys.stdout.flush()
        kept.append(text.rstrip())


def _wait(process: subprocess.Popen[bytes], watch: Callable[[], None] | None, every: float) -> int:
    while True:
        try:
            return process.wait(timeout=every if watch else None)
        except subprocess.TimeoutExpired:
            if watch:
                watch()


def _failure(step: str, code: int, lines: list[str]) -> DatasetError:
    said = [m[1] for line in lines if (m := _ERROR.match(line.strip()))]
    if full := next((line for line in reversed(lines) if _FULL.search(line)), None):
        return DatasetError(
            f"the disk is full: anemoi-datasets {step} could not write ({full.strip()})",
            "Free space and run the task again: what is loaded is kept.",
        )
    if code < 0:
        return DatasetError(
            f"anemoi-datasets {step} was stopped by {signal.Signals(-code).name}", "Run the task again."
        )
    reason = said[-1] if said else f"exit code {code}"
    return DatasetError(f"anemoi-datasets {step} failed: {reason}", "The job's output has the whole story.")
