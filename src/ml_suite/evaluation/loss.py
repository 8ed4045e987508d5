"""The trainer's own loss of an inference checkpoint on any period: anemoi-training's validation loop.

An inference checkpoint carries the model, its graph and the complete training configuration, so the weights in
use can be judged years later from their one file in the object store.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_suite.errors import StudyError
from ml_suite.study.contract import Span

if TYPE_CHECKING:
    from omegaconf import DictConfig


def trainer_loss(checkpoint: Path, dataset: Path, period: Span) -> dict[str, float]:
    """Everything that anemoi-training reports of one validation pass over PERIOD.

    Parameters
    ----------
    checkpoint
        An ``inference-*.ckpt`` of anemoi-training.
    dataset
        The Zarr store to read; normalisation uses the statistics inside the checkpoint.

    Returns
    -------
    dict
        By metric, such as ``val_multi_dataset_loss_epoch``.

    Raises
    ------
    StudyError
        If the checkpoint does not say how it was trained.
    """
    import pytorch_lightning
    import torch
    from anemoi.training.train.evaluate import AnemoiEvaluator
    from anemoi.utils.checkpoints import load_metadata

    metadata: dict[str, Any] = load_metadata(str(checkpoint))
    if "config" not in metadata:
        raise StudyError(f"{checkpoint} holds no training configuration")
    model = torch.load(checkpoint, map_location="cpu", weights_only=False)
    with tempfile.TemporaryDirectory() as scratch:
        evaluator = AnemoiEvaluator(_configuration(metadata["config"], dataset, period, Path(scratch)))
        evaluator.graph_data = model.graph_data
        module = evaluator.model
        module.model.load_state_dict(model.state_dict(), strict=True)
        trainer = pytorch_lightning.Trainer(
            accelerator=evaluator.accelerator,
            devices=1,
            strategy=evaluator.strategy,
            precision=evaluator.config.training.precision,
            logger=False,
            callbacks=[],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.validate(model=module, datamodule=evaluator.datamodule, verbose=False)
        values = {name: float(value) for name, value in trainer.callback_metrics.items()}
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return values


def _configuration(stored: dict[str, Any], dataset: Path, period: Span, scratch: Path) -> DictConfig:
    """Turn the configuration inside the checkpoint into one for this machine, this dataset and one device."""
    import torch
    from omegaconf import OmegaConf

    config = OmegaConf.create(stored)
    OmegaConf.set_struct(config, False)
    config.config_validation = False  # it was validated when it trained, and is stored resolved
    for name in ("training", "validation", "test"):
        for part in config.dataloader[name].datasets.values():
            _point_at(part, dataset)
    for part in config.dataloader.validation.datasets.values():
        part.start, part.end = period.start.isoformat(" "), period.end.isoformat(" ")
    config.dataloader.validation_rollout = None
    config.dataloader.limit_batches.validation = None
    config.system.input.dataset = str(dataset)
    config.system.input.warm_start = None
    config.system.output.root = str(scratch)
    config.system.output.checkpoints.root = str(scratch / "checkpoint")
    config.system.output.plots = str(scratch / "plots")
    hardware = {"num_gpus_per_node": 1, "num_nodes": 1, "num_gpus_per_model": 1}
    config.system.hardware.update(accelerator="cuda" if torch.cuda.is_available() else "cpu", **hardware)
    config.training.strategy.update(num_gpus_per_model=1)
    config.training.update(run_id=None, fork_run_id=None, load_weights_only=False)
    config.diagnostics.update(callbacks=[], enable_checkpointing=False)
    for logger in ("mlflow", "wandb"):
        config.diagnostics.log[logger] = {"enabled": False}
    return config


def _point_at(part: DictConfig, dataset: Path) -> None:
    """Read DATASET instead of the copy that the training read; everything else of the reader stays."""
    reader = part.get("dataset_config")
    if reader is None or isinstance(reader, str):
        part.dataset_config = str(dataset)
    else:
        reader.dataset = str(dataset)
