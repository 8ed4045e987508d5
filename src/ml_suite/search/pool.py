"""Trainings of trainer mlp: long-lived worker processes, so that a trial costs no start of a process.

A worker dies with this process. One that dies by itself costs one attempt of one training, which is made once more in a
fresh worker; the second time it has failed.
"""

from __future__ import annotations

import os
import platform
import select
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Self

from ml_suite.errors import StudyError
from ml_suite.search import environment
from ml_suite.search.work import Job, Part
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.contract import TrialResult, TrialState
from ml_suite.study.stage import Stage, Task
from ml_suite.trainers.mlp import settings
from ml_suite.trainers.mlp.protocol import Answer, Order, Setup
from ml_suite.trainers.outcome import LATE
from ml_suite.trainers.process import die_with_parent

MODULE = "ml_suite.trainers.mlp.worker"

UNUSABLE = 2
"""Exit code of a worker that cannot use its setup."""

GRACE = 10.0
"""Seconds after its walltime in which a worker may end a training by itself."""

_BEGIN = 120.0
"""Seconds more for the first training of a worker, which reads the data."""

_LOOK = 0.2
"""Seconds between two looks whether to stop."""


class _Died(Exception):
    """A worker is gone."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words

    @property
    def told(self) -> str:
        """How it ended."""
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name}"
        return f"the worker ended with exit code {self.code}: {self.words}"


class _Late(Exception):
    """A worker does not end a training in time."""


@dataclass(frozen=True)
class Orders:
    """What the trainings of a stage have in common."""

    plan: ArrayPlan
    stage: Stage
    setup: Setup
    seed: Callable[[Task], int]
    weights: Callable[[Task], Path] | None
    """Where the weights of a training are kept; None: they are not."""
    states: Path
    """Folder for paused trainings."""

    def order(self, job: Job) -> Order:
        """Return what a worker is told."""
        task, stage = job.task, self.stage
        paused = self.states / f"{task.trial}-{task.replicate}"
        return Order(
            trial=task.trial,
            replicate=task.replicate,
            params=task.params,
            seed=self.seed(task),
            metric=self.plan.metric,
            direction=self.plan.direction,
            epochs=stage.epochs,
            until=job.until,
            patience=self._patience(task),
            walltime=None if stage.walltime is None else max(0.1, stage.walltime - job.seconds),
            state=paused if stage.rungs else None,
            weights=self.weights(task) if self.weights else None,
            test=self.weights is not None,
        )

    def _patience(self, task: Task) -> int | None:
        """Optimiser steps, of this trial's batch where it is stated in epochs."""
        if self.stage.patience_epochs is None:
            return self.stage.patience
        batch = settings.parse(task.params, self.setup.settings).batch
        return self.stage.patience_epochs * settings.steps(self.plan.members[self.stage.members].count, batch)

    def part(self, task: Task, answer: Answer) -> Part:
        """Return what a worker answered as a result."""
        ended = datetime.now(UTC)
        shared = {name: getattr(answer, name) for name in Answer.model_fields if name != "paused"}
        result = TrialResult(
            **shared,
            study=self.plan.study,
            step=self.stage.step,
            params=task.params,
            metric=self.plan.metric,
            started=ended - timedelta(seconds=answer.seconds),
            ended=ended,
            host=platform.node(),
        )
        return Part(result, answer.paused)

    def lost(self, task: Task, reason: str, seconds: float) -> Part:
        """Return the result of a training that failed without an answer."""
        answer = Answer(
            trial=task.trial,
            replicate=task.replicate,
            state=TrialState.FAILED,
            reason=reason,
            seconds=round(seconds, 3),
            cpu_seconds=0.0,
        )
        return self.part(task, answer)


@dataclass(frozen=True)
class Idle:
    """A worker process that waits for orders."""

    process: subprocess.Popen[bytes]
    python: Path
    setup: Setup
    log: Path


class Bench:
    """Worker processes between two stages of a study: what they have imported need not be imported again."""

    def __init__(self) -> None:
        self._idle: dict[int, Idle] = {}
        # a process dies with the thread that started it, and those of a crew end with their stage
        self._starter = ThreadPoolExecutor(1, "starter")

    def start(self, begin: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        """Start a process that lives as long as the bench."""
        return self._starter.submit(begin).result()

    def take(self, slot: int, python: Path) -> Idle | None:
        """Return the process of a slot that is alive, if there is one; it is the caller's then."""
        found = self._idle.pop(slot, None)
        if found is not None and (found.python != python or found.process.poll() is not None):
            _end(found.process)
            return None
        return found

    def put(self, slot: int, idle: Idle) -> None:
        """Keep a process that has answered all its orders."""
        self._idle[slot] = idle

    def close(self) -> None:
        """End what is kept."""
        for idle in self._idle.values():
            _end(idle.process)
        self._idle.clear()
        self._starter.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Worker:
    """One worker process, started again when it died; see `ml_suite.search.crew.Hand`."""

    def __init__(
        self, orders: Orders, python: Path, slot: int, log: Path, stop: Event, bench: Bench | None = None
    ) -> None:
        self.orders, self.python, self.slot, self.log, self.stop = orders, python, slot, log, stop
        self.bench = bench
        self.process: subprocess.Popen[bytes] | None = None
        self.answered = False
        """Some worker has, so that environment and data are good."""
        self.rest = b""

    def do(self, job: Job) -> Part | None:
        """Train; a training that kills its worker is tried once more."""
        begin = time.monotonic()
        told = ""
        for _ in range(2):
            try:
                return self._train(job)
            except _Late:
                limit = self.orders.stage.walltime
                return self.orders.lost(
                    job.task, f"{LATE} its walltime of {limit:g} s", time.monotonic() - begin
                )
            except _Died as died:
                if self.stop.is_set():
                    return None
                if died.code == UNUSABLE or (died.code >= 0 and not self.answered):
                    raise StudyError(
                        f"no worker can begin: {died.words.removeprefix('error: ')}", f"Read {self.log}"
                    ) from None
                told = died.told
        return self.orders.lost(
            job.task, f"{told} twice, perhaps for want of memory", time.monotonic() - begin
        )

    def close(self) -> None:
        """Leave the process, which has answered or is ended already, to the next stage; without one it ends."""
        if self.process is not None and self.bench is not None and self.answered and not self.rest:
            self.bench.put(self.slot, Idle(self.process, self.python, self.orders.setup, self.log))
            self.process = None
        self._end()

    def _end(self) -> None:
        """End the process; what it is training is lost."""
        if self.process is not None:
            _end(self.process)
        self.process = None

    def _train(self, job: Job) -> Part | None:
        begin = time.monotonic()
        order = self.orders.order(job)
        if self.process is None:
            begin += _BEGIN
            self._begin()
        self._tell(order.model_dump_json())
        until = None if order.walltime is None else begin + order.walltime + GRACE
        line = self._listen(until)
        if line is None:
            self._end()
            return None
        self.answered = True
        answer = Answer.model_validate_json(line)
        # a worker that was told to stop by somebody else answers first
        return None if answer.state is TrialState.PREEMPTED else self.orders.part(job.task, answer)

    def _begin(self) -> None:
        """Take over a process of an earlier stage, or start one."""
        idle = self.bench.take(self.slot, self.python) if self.bench else None
        self.rest = b""
        if idle is not None:
            self.process, self.log, self.answered = idle.process, idle.log, True
            if idle.setup == self.orders.setup:
                return
        else:
            self.process = self.bench.start(self._start) if self.bench else self._start()
        self._tell(self.orders.setup.model_dump_json())

    def _start(self) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [str(self.python), "-m", MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment.variables(self.slot),
                bufsize=0,
                start_new_session=True,  # Ctrl-C is for this process, which then ends its workers
                preexec_fn=die_with_parent(os.getpid()),
            )

    def _tell(self, line: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        data = memoryview(line.encode() + b"\n")
        try:
            while data:
                data = data[self.process.stdin.write(data) or 0 :]
        except OSError:
            self._mourn()

    def _listen(self, until: float | None) -> bytes | None:
        """Return the next line; None when told to stop."""
        assert self.process is not None
        assert self.process.stdout is not None
        file = self.process.stdout.fileno()
        while b"\n" not in self.rest:
            if self.stop.is_set():
                return None
            if until is not None and time.monotonic() > until:
                self._end()
                raise _Late
            if not select.select([file], [], [], _LOOK)[0]:
                continue
            more = os.read(file, 1 << 20)
            if not more:
                self._mourn()
            self.rest += more
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def _mourn(self) -> None:
        """Say how the process ended.

        Raises
        ------
        _Died
            Always.
        """
        assert self.process is not None
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self._end()
        lines = self.log.read_text(errors="replace").strip().splitlines()
        raise _Died(code, lines[-1][:300] if lines else "it said nothing")


def _end(process: subprocess.Popen[bytes]) -> None:
    with suppress(OSError):
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
