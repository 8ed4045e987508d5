"""Where bf16 is worth it: fp32 master weights, matrix products in bf16."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

_CPU_FLAGS = {"avx512_bf16", "amx_bf16"}

WIDE = 1024
"""Weights of a layer from which its products are faster in bf16 on a CPU; smaller ones are faster in fp32."""


def available(device: str = "cpu") -> bool:
    """Tell whether this machine multiplies in bf16 faster than in fp32; needs torch for a GPU only."""
    if device == "cuda":
        import torch

        return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False))
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return False
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return bool(flags & _CPU_FLAGS)


def layers(widths: Sequence[int], precision: str, device: str) -> tuple[bool, ...]:
    """Tell for each layer whether it is multiplied in bf16; of the last one that is the gradients alone.

    Parameters
    ----------
    widths
        From the inputs to the outputs.
    """
    if precision == "fp32":
        return (False,) * (len(widths) - 1)
    least = WIDE if device == "cpu" else 64
    return tuple(a * b >= least for a, b in pairwise(widths))
