"""Names under which trainer mlp reports values: known before it trains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ml_suite.config.findings import Problem

_OF_TARGET = re.compile(r"val_loss_(0|[1-9]\d*)")
_LOSSES = re.compile(r"(^|_)(loss|error|err|mse|rmse|mae|nll|crps)(_|$)")


def of_mlp(targets: int) -> list[str]:
    """Metrics that a search can be ranked on: of all targets together, and of each.

    >>> of_mlp(2)
    ['val_loss', 'train_loss', 'val_loss_0', 'val_loss_1']
    """
    return ["val_loss", "train_loss", *(f"val_loss_{i}" for i in range(targets))]


def smaller_is_better(metric: str) -> bool:
    """Tell whether a name is that of something that nobody wants to be large.

    >>> smaller_is_better("val_mse"), smaller_is_better("accuracy")
    (True, False)
    """
    return _LOSSES.search(metric.lower()) is not None


def problems(data: dict[str, Any]) -> Iterator[Problem]:
    """A search is ranked on something that trainer mlp reports, and in the direction in which it is better."""
    hpo, training = data.get("hpo"), data.get("training")
    trainer = training.get("trainer", "mlp") if isinstance(training, dict) else "mlp"
    if not isinstance(hpo, dict) or not isinstance(metric := hpo.get("metric"), str) or trainer != "mlp":
        return
    if metric not in of_mlp(0) and not _OF_TARGET.fullmatch(metric):
        hint = "it has val_loss, train_loss, and val_loss_0, val_loss_1, ... of each target"
        if metric.startswith("test_"):
            hint = "the test samples decide nothing, and their loss is reported of the winner: write val_loss"
        yield Problem(("hpo", "metric"), f"trainer mlp does not report '{metric}'", hint)
    elif hpo.get("direction") == "maximize":
        message = f"{metric} is better when it is smaller"
        yield Problem(("hpo", "direction"), message, "leave `direction` out", on_key=True)
