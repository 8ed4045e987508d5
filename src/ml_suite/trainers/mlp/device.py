"""Run the calls of a network: one after the other on a CPU, as one captured CUDA graph on a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from ml_suite.errors import StudyError

Run = Callable[[], None]


def choose(wanted: str, precision: str = "fp32") -> str:
    """Name the device, and make torch repeatable and single-threaded on it.

    With bf16 a GPU also rounds the layers that stay in fp32, to TF32.

    Raises
    ------
    StudyError
        If a GPU is wanted and there is none.
    """
    os.environ.setdefault(
        "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
    )  # otherwise sums on a GPU differ from run to run
    import torch

    torch.set_num_threads(1)
    if wanted == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high" if precision == "bf16" else "highest")
        return "cuda"
    if wanted == "cuda":
        raise StudyError("torch finds no GPU", "Set device: cpu, or run where there is one.")
    return "cpu"


def bind(calls: Sequence[Callable[[], Any]], device: str) -> Run:
    """Return one function for all calls.

    On a GPU they are run once here, which sets up the libraries, and then captured: whoever binds gives the
    buffers their values afterwards.
    """
    if device == "cpu":
        fixed = tuple(calls)

        def run() -> None:
            for call in fixed:
                call()

        return run
    import torch

    side = _side()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for call in calls:
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for call in calls:
            call()
    replay: Run = graph.replay
    return replay


@cache
def _side() -> Any:
    """Stream for what must run before a capture; one, since the libraries keep memory for each."""
    import torch

    return torch.cuda.Stream()
