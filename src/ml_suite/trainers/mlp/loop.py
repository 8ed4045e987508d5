"""Train one network after the other: what is fixed is set up once, a step is a list of prepared calls."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from typing import Any

from ml_suite.errors import StudyError
from ml_suite.study.contract import HistoryPoint, TrialState
from ml_suite.trainers import outcome
from ml_suite.trainers.mlp import device as devices
from ml_suite.trainers.mlp import files, inference, pausing, precision, settings
from ml_suite.trainers.mlp.data import Data, Part
from ml_suite.trainers.mlp.network import Layout, Network, Pool, layout
from ml_suite.trainers.mlp.pausing import Progress
from ml_suite.trainers.mlp.protocol import Answer, Order, Setup
from ml_suite.trainers.mlp.settings import Settings

_LOOK = {"cpu": 1, "cuda": 64}
"""Steps between two looks at the clock, at the loss, and for a request to stop; on a GPU a look waits for it."""

_CHUNK = {"cpu": 1024, "cuda": 8192}
"""Samples that are judged at once."""

_OVER = 1e-3
"""How far beyond 0 and 1 targets may lie when the output is a sigmoid."""


class Stopped(Exception):
    """A training ends before its time."""

    def __init__(self, state: TrialState, reason: str) -> None:
        super().__init__(reason)
        self.state, self.reason = state, reason


class Trainer:
    """Trains the orders of one worker."""

    def __init__(self, setup: Setup, data: Data, device: str) -> None:
        self.setup, self.data, self.device = setup, data, device
        self.pool = Pool(device)

    def train(self, order: Order, stop: Callable[[], bool] = lambda: False) -> Answer:
        """Carry out an order.

        Raises
        ------
        StudyError
            If its hyperparameters are not possible, or not with these samples.
        """
        import torch

        chosen = settings.parse(order.params, self.setup.settings)
        with torch.inference_mode():
            return _Training(self, order, chosen, stop).run()


class _Training:
    def __init__(self, trainer: Trainer, order: Order, chosen: Settings, stop: Callable[[], bool]) -> None:
        self.order, self.chosen, self.stop, self.trainer = order, chosen, stop, trainer
        self.data, self.pool, self.device = trainer.data, trainer.pool, trainer.device
        low, high = self.data.spread
        if chosen.output == "sigmoid" and (low < -_OVER or high > 1 + _OVER):
            message = f"targets reach from {low:g} to {high:g}, a sigmoid only from 0 to 1"
            raise StudyError(f"trainer mlp: {message}; set output: linear", "Or scale the targets.")
        self.training, self.validation = self.data.parts["training"], self.data.parts["validation"]
        widths = settings.sizes(chosen, self.data.inputs, self.data.outputs)
        self.batch = min(chosen.batch, len(self.training))
        half = precision.layers(widths, trainer.setup.precision, self.device)
        self.plan: Layout = layout(widths, half)
        self.begin, self.begin_cpu = time.monotonic(), time.process_time()
        self.identity = self._identity()

    def _identity(self) -> str:
        """What decides every number of the training, as a digest."""
        setup, order = self.trainer.setup, self.order
        parts: list[Any] = [self.data.digest, setup.precision, self.device, self.plan]
        parts += [self.chosen.model_dump_json(), order.seed, order.metric, order.direction]
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def run(self) -> Answer:
        """Train until it ends or pauses."""
        progress = Progress()
        try:
            self._prepare()
            progress = self._start()
            paused = self._epochs(progress)
        except Stopped as ended:
            if ended.state is not TrialState.PREEMPTED:
                self._forget()
            return self._answer(progress, ended.state, ended.reason)
        if paused:
            self._account(progress)
            if self.order.state is not None:
                pausing.pause(self.order.state, self.identity, progress, self.net, self.best_values)
            return self._answer(progress, TrialState.COMPLETE, paused=True)
        return self._finish(progress)

    def _prepare(self) -> None:
        rows = max(self.batch, min(_CHUNK[self.device], max(len(p) for p in self.data.parts.values())))
        net = self.net = Network(self.plan, self.chosen, rows, self.pool)
        self.best_values = self.pool.get("best", self.plan.total)
        self.index = self.pool.get("index", self.batch, dtype=_int64())
        self.steps: dict[int, devices.Run] = {}
        tail = len(self.training) % self.batch
        for count in (self.batch, *((tail,) if tail else ())):
            self.index.zero_()
            calls = [*_gather(self.training, self.index[:count], net), *net.train(count)]
            self.steps[count] = devices.bind(calls, self.device)
        self.judges: dict[int, devices.Run] = {}
        self.rows = rows

    def _start(self) -> Progress:
        """Set the first weights, or those of the pause."""
        import torch

        net, path = self.net, self.order.state
        net.clear()
        progress = path and pausing.resume(path, self.identity, net, self.best_values)
        if not progress:
            net.initialise(torch.Generator().manual_seed(_mixed(self.order.seed, -1)))
            self.best_values.copy_(net.values)
        return progress or Progress()

    def _epochs(self, progress: Progress) -> bool:
        """Train; True when it paused and could go on."""
        order = self.order
        while progress.epoch < order.epochs:
            if self._patient(progress):
                return False
            if order.until is not None and progress.epoch >= order.until:
                return True
            self._epoch(progress)
        return False

    def _patient(self, progress: Progress) -> bool:
        """Whether its patience has ended."""
        patience = self.order.patience
        return patience is not None and progress.step - progress.best_step >= patience and progress.epoch > 0

    def _epoch(self, progress: Progress) -> None:
        import torch

        net, count, batch = self.net, len(self.training), self.batch
        # not one long stream of random numbers: where it was need not be kept
        generator = torch.Generator(self.device).manual_seed(_mixed(self.order.seed, progress.epoch))
        shuffled = torch.randperm(count, generator=generator, device=self.device)
        net.loss.zero_()
        full, whole = self.steps[batch], count - count % batch
        index, copy, look = self.index, self.index.copy_, _LOOK[self.device]
        for done, first in enumerate(range(0, whole, batch)):
            copy(shuffled[first : first + batch])
            full()
            if done % look == 0:
                self._look(progress)
        if whole < count:
            index[: count - whole].copy_(shuffled[whole:])
            self.steps[count - whole]()
        progress.step += settings.steps(count, batch)
        self._look(progress)
        metrics = {
            "train_loss": float(net.loss) / self.training.y.numel(),
            **self._judge("val", self.validation),
        }
        self._judged(progress, metrics)

    def _look(self, progress: Progress) -> None:
        """End what need not or must not go on."""
        if self.stop():
            raise Stopped(TrialState.PREEMPTED, "stopped because its job was told to stop")
        limit = self.order.walltime
        if limit is not None and time.monotonic() - self.begin > limit:
            raise Stopped(TrialState.FAILED, f"{outcome.LATE} its walltime of {limit:g} s")
        if not math.isfinite(float(self.net.loss)):
            self._record(progress, None)
            raise Stopped(
                TrialState.DIVERGED, f"the loss became {float(self.net.loss)} in epoch {progress.epoch}"
            )

    def _judged(self, progress: Progress, metrics: dict[str, float]) -> None:
        order = self.order
        if order.metric not in metrics:
            told = outcome.absent(order.metric, {*metrics, *(("test_loss",) if order.test else ())})
            raise Stopped(told.state, told.reason)
        value = metrics[order.metric]
        self._record(progress, outcome.finite(value))
        if not math.isfinite(value):
            raise Stopped(TrialState.DIVERGED, f"{order.metric} became {value} in epoch {progress.epoch}")
        best = progress.best
        if best is None or (value < best if order.direction == "minimize" else value > best):
            progress.best, progress.best_step, progress.metrics = value, progress.step, metrics
            self.best_values.copy_(self.net.values)
        progress.epoch += 1

    def _record(self, progress: Progress, value: float | None) -> None:
        progress.history.append(HistoryPoint(epoch=progress.epoch, step=progress.step, value=value))

    def _judge(self, name: str, part: Part) -> dict[str, float]:
        """Mean squared error of all outputs together and of each."""
        import torch

        net, total = self.net, len(part)
        errors = torch.zeros(part.y.shape[1], dtype=torch.float64, device=self.device)
        for first in range(0, total, self.rows):
            rows = min(self.rows, total - first)
            if rows not in self.judges:
                self.judges[rows] = devices.bind(net.forward(rows), self.device)
            net.x[:rows].copy_(part.x[first : first + rows])
            self.judges[rows]()
            missed = net.output(rows) - part.y[first : first + rows]
            errors += (missed * missed).sum(0)
        each = (errors / total).tolist()
        return {f"{name}_loss": sum(each) / len(each)} | {f"{name}_loss_{i}": e for i, e in enumerate(each)}

    def _account(self, progress: Progress) -> None:
        progress.seconds += time.monotonic() - self.begin
        progress.cpu_seconds += time.process_time() - self.begin_cpu
        self.begin, self.begin_cpu = time.monotonic(), time.process_time()

    def _finish(self, progress: Progress) -> Answer:
        """Judge and keep the best weights."""
        net, order = self.net, self.order
        net.values.copy_(self.best_values)
        net.refresh()
        if order.test and "test" in self.data.parts:
            progress.metrics.update(self._judge("test", self.data.parts["test"]))
        self._forget()
        told: dict[str, Any] = {"inference_seconds": inference.seconds(net.master(), self.chosen.output)}
        if order.weights is not None:
            self._keep(progress)
            told["checkpoint"] = outcome.checkpoint(order.weights)
        return self._answer(progress, TrialState.COMPLETE).model_copy(update=told)

    def _forget(self) -> None:
        """Leave no state behind of a training that does not go on."""
        if self.order.state is not None:
            self.order.state.unlink(missing_ok=True)

    def _keep(self, progress: Progress) -> None:
        order, setup = self.order, self.trainer.setup
        assert order.weights is not None
        header = {
            "trial": order.trial,
            "replicate": order.replicate,
            "seed": order.seed,
            "widths": self.plan.widths,
            "output": self.chosen.output,
            "settings": self.chosen.model_dump(),
            "precision": setup.precision,
            "arrays": {
                "sha256": setup.arrays.sha256,
                "inputs": setup.arrays.inputs,
                "targets": setup.arrays.targets,
            },
            "metric": order.metric,
            "value": progress.best,
            "step": progress.best_step,
        }
        arrays = {}
        for i, (weights, biases) in enumerate(self.net.master()):
            arrays[f"w{i}"], arrays[f"b{i}"] = weights.cpu().numpy(), biases.cpu().numpy()
        if self.data.mean is not None:
            arrays |= {"mean": self.data.mean, "std": self.data.std}
        files.save_weights(order.weights, header, arrays)

    def _answer(
        self, progress: Progress, state: TrialState, reason: str = "", paused: bool = False
    ) -> Answer:
        self._account(progress)
        order, complete = self.order, state is TrialState.COMPLETE
        return Answer(
            trial=order.trial,
            replicate=order.replicate,
            state=state,
            paused=paused,
            reason=reason,
            value=progress.best if complete else None,
            best=progress.best,
            history=progress.history,
            metrics={name: number for name, number in progress.metrics.items() if math.isfinite(number)},
            parameters=settings.parameters(self.plan.widths),
            epochs=len(progress.history),
            steps=progress.step,
            stopped_early=complete and not paused and progress.epoch < order.epochs,
            seconds=progress.seconds,
            cpu_seconds=progress.cpu_seconds,
        )


def _gather(part: Part, index: Any, net: Network) -> list[Callable[[], Any]]:
    """Calls that bring the samples of a step to the network."""
    from functools import partial

    import torch

    rows = len(index)
    return [
        partial(torch.index_select, part.x, 0, index, out=net.x[:rows]),
        partial(torch.index_select, part.y, 0, index, out=net.y[:rows]),
    ]


def _mixed(seed: int, epoch: int) -> int:
    """Seed of the first weights (epoch -1) or of an epoch's order of samples."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{epoch}".encode()).digest()[:8], "big") >> 1


def _int64() -> Any:
    import torch

    return torch.int64
