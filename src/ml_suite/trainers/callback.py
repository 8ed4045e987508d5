"""Lightning callback that leaves metrics.jsonl and progress in a trial's folder, and ends a training early.

It runs inside the training; the configuration names it as
``diagnostics.callbacks=[{_target_: ml_suite.trainers.callback.recorder, folder: DIR}]``. Whether a training has become
better is read from metrics.jsonl, so one that was stopped and goes on ends where it would have.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

from ml_suite.study.contract import HistoryPoint
from ml_suite.trainers import events, stopping

LAST, BEST = "inference-last.ckpt", "inference-best.ckpt"
"""Weights after the last epoch, and after the one with the best value where a training may stop early."""

_PROGRESS_SECONDS = 1.0


def recorder(
    folder: str,
    metric: str = "",
    direction: str = "minimize",
    patience: int | None = None,
    until: int | None = None,
) -> Any:
    """Make the callback; Lightning is imported here because only the training environment has it.

    Parameters
    ----------
    metric, direction
        What the training is judged by.
    patience
        Optimiser steps without a better value after which it ends, and its best weights are kept.
    until
        Epoch after which it waits.
    """
    from pytorch_lightning.callbacks import Callback
    from pytorch_lightning.utilities.exceptions import SIGTERMException

    class Recorder(Callback):  # type: ignore[misc, unused-ignore]
        """Write an event at the start, after each validation and epoch, and at the end."""

        def __init__(self, folder: Path) -> None:
            self.folder = folder
            self.due = 0.0
            self.told = False
            self.status = events.FITTED

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.world_size > 1:
                # Lightning's own handler talks to the other ranks at once, wherever they are: they could wait for
                # each other for ever
                signal.signal(signal.SIGTERM, self._note)
            where = _checkpoints(trainer)
            _tell(
                trainer,
                self.folder,
                event="start",
                run_id=where.name if where else None,
                checkpoints=str(where) if where else None,
                parameters=sum(p.numel() for p in pl_module.parameters() if p.requires_grad),
                effective_lr=float(pl_module.effective_lr),
                global_batch=_global_batch(trainer),
            )
            # one that was killed when it was about to end trains no further
            self._end_early(trainer, trainer.current_epoch)

        def _note(self, *_: Any) -> None:
            self.told = True

        def _stop_together(self, trainer: Any) -> None:
            """End all ranks after the same batch when one of them was told to stop."""
            if trainer.world_size > 1 and trainer.strategy.reduce_boolean_decision(self.told, all=False):
                raise SIGTERMException

        def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
            self._stop_together(trainer)
            if time.monotonic() >= self.due and trainer.is_global_zero:
                self.due = time.monotonic() + _PROGRESS_SECONDS
                _write_progress(self.folder, trainer)

        def on_validation_batch_end(self, trainer: Any, *_: Any) -> None:
            if not trainer.sanity_checking:
                self._stop_together(trainer)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            if not trainer.sanity_checking:
                _tell(trainer, self.folder, event="validation", values=_values(trainer))

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if patience is not None:
                _keep_best(trainer, self._history(trainer.current_epoch), direction)

        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            _tell(trainer, self.folder, event="epoch", values=_values(trainer))
            if trainer.is_global_zero:
                _write_progress(self.folder, trainer, done=1)
            # the checkpoint of this epoch is written all the same: that callback comes after this one
            self._end_early(trainer, trainer.current_epoch + 1)

        def _end_early(self, trainer: Any, done: int) -> None:
            """End the training after so many epochs if it has to; all ranks do the same."""
            if not 0 < done < trainer.max_epochs:
                return
            over = patience is not None and stopping.exhausted(self._history(done), patience, direction)
            if patience is not None and trainer.strategy.reduce_boolean_decision(over, all=False):
                self.status, trainer.should_stop = events.STOPPED, True
            elif until is not None and done >= until:
                self.status, trainer.should_stop = events.PAUSED, True

        def _history(self, epochs: int) -> list[HistoryPoint]:
            """Return values of the first EPOCHS epochs; an epoch that runs again has one from before it was stopped."""
            told = events.history(events.read(self.folder / "metrics.jsonl"), metric)
            return [point for point in told if point.epoch < epochs]

        def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
            if patience is not None:
                _keep_best(trainer, self._history(trainer.max_epochs), direction)
            uuid = _uuid(trainer, LAST if patience is None else BEST)
            _tell(trainer, self.folder, event="end", status=self.status, uuid=uuid)

        def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
            message = " ".join(str(exception).split())[:300]
            _tell(trainer, self.folder, event="end", status=f"{type(exception).__name__}: {message}")

    return Recorder(Path(folder))


def _checkpoints(trainer: Any) -> Path | None:
    found = [c.dirpath for c in trainer.checkpoint_callbacks if getattr(c, "dirpath", None)]
    return Path(found[0]) if found else None


def _global_batch(trainer: Any) -> int:
    config = trainer.datamodule.config
    models: int = trainer.world_size // int(config.system.hardware.num_gpus_per_model)
    return int(config.dataloader.batch_size.training) * models * int(trainer.accumulate_grad_batches)


def _values(trainer: Any) -> dict[str, float | None]:
    numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {name: x if math.isfinite(x) else None for name, x in numbers.items()}


def _keep_best(trainer: Any, history: list[HistoryPoint], direction: str) -> None:
    """Keep the weights of the last epoch beside those that each epoch replaces, if it was the best."""
    where = _checkpoints(trainer)
    if not trainer.is_global_zero or where is None or not (where / LAST).is_file():
        return
    if history and stopping.best(history, direction) is history[-1]:
        temporary = where / f".{BEST}"
        shutil.copyfile(where / LAST, temporary)
        temporary.replace(where / BEST)


def _uuid(trainer: Any, name: str) -> str | None:
    """Identity of the weights that a forecast would use."""
    from anemoi.utils.checkpoints import load_metadata

    where = _checkpoints(trainer)
    path = where / name if where else None
    return str(load_metadata(str(path))["uuid"]) if path and path.exists() else None


def _tell(trainer: Any, folder: Path, **event: Any) -> None:
    if not trainer.is_global_zero:
        return
    line = json.dumps(
        {**event, "time": time.time(), "epoch": trainer.current_epoch, "step": trainer.global_step}
    )
    descriptor = os.open(folder / "metrics.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(
            descriptor, (line + "\n").encode()
        )  # one write: a reader sees all of the line or a torn last one
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_progress(folder: Path, trainer: Any, done: int = 0) -> None:
    """Share of the epochs; within an epoch by its batches."""
    epochs, batches = trainer.max_epochs or 1, trainer.num_training_batches
    within = (trainer.fit_loop.batch_idx + 1) / batches if math.isfinite(batches) and not done else done
    temporary = folder / ".progress"
    temporary.write_text(f"{min(1.0, (trainer.current_epoch + within) / epochs):.4f}")
    temporary.replace(folder / "progress")
