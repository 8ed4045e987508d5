"""A process that trains one order after the other: JSON lines in and out (`ml_suite.trainers.mlp.protocol`).

Started as ``python -m ml_suite.trainers.mlp.worker`` in the training environment, with one thread. A setup in place of
an order is that of the orders after it, so that one process serves stages with other data. It ends when its standard
input ends; told to stop by SIGTERM it answers the order at hand as preempted first. With a setup that cannot be used it
ends with exit code 2 and the reason as the last line on standard error.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from types import FrameType

from pydantic import ValidationError

from ml_suite.errors import MlSuiteError
from ml_suite.study.contract import TrialState
from ml_suite.trainers.mlp import data, device, loop
from ml_suite.trainers.mlp.protocol import Answer, Order, Setup

UNUSABLE = 2
"""Exit code when the setup cannot be used."""

_MEMORY = ("not enough memory", "out of memory", "allocate memory")


class _Stop:
    """SIGTERM and SIGINT: at once while nothing is trained, otherwise a wish. So is the end of the parent."""

    def __init__(self) -> None:
        self.busy = self.asked = False
        self.parent = os.getppid()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._heard)

    def __call__(self) -> bool:
        return self.asked or os.getppid() != self.parent

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if not self.busy:
            sys.exit(0)


def main() -> int:
    """Answer orders until there are no more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    stop = _Stop()
    trainer: loop.Trainer | None = None
    while not stop() and (line := sys.stdin.readline()):
        if trainer is None or "arrays" in json.loads(line):
            trainer = None  # its memory is free for the next one
            try:
                trainer = _prepared(Setup.model_validate_json(line))
            except (MlSuiteError, ValidationError) as error:
                print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
                return UNUSABLE
            continue
        stop.busy = True
        answer = _answered(trainer, Order.model_validate_json(line), stop)
        answers.write(answer.model_dump_json() + "\n")
        answers.flush()
        stop.busy = False
    return 0


def _prepared(setup: Setup) -> loop.Trainer:
    chosen = device.choose(setup.device, setup.precision)
    return loop.Trainer(setup, data.load(setup, chosen), chosen)


def _answered(trainer: loop.Trainer, order: Order, stop: _Stop) -> Answer:
    """Train; whatever goes wrong is this order's alone."""
    begin, cpu = time.monotonic(), time.process_time()
    try:
        return trainer.train(order, stop)
    except MlSuiteError as error:
        reason = error.message
    except Exception as error:  # the worker goes on
        trainer.pool.clear()
        reason = _exhausted(error) or f"{type(error).__name__}: {error}"
        traceback.print_exc()
    return Answer(
        trial=order.trial,
        replicate=order.replicate,
        state=TrialState.FAILED,
        reason=reason,
        seconds=time.monotonic() - begin,
        cpu_seconds=time.process_time() - cpu,
    )


def _exhausted(error: Exception) -> str | None:
    """Reason of a training for which there was not enough memory."""
    words = str(error)
    if isinstance(error, MemoryError) or any(w in words for w in _MEMORY):
        return f"out of memory: {' '.join(words.split())[:200]}"
    return None


if __name__ == "__main__":
    sys.exit(main())
