"""A network as views of flat buffers, and its arithmetic as lists of calls without autograd.

All parameters lie in one buffer, so that one fused Adam call updates them. Buffers are pooled and reused by the next
network: nothing is allocated in a step, and nothing of an earlier network can be seen in a later one, since whatever is
read before it is written is set here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ml_suite.trainers.mlp.settings import Settings

Call = Callable[[], Any]
_ALIGNED = 32
"""Every block begins at a multiple of this: a library may choose another order of sums for other alignments."""


@dataclass(frozen=True)
class Layout:
    """Where weights and biases of each layer begin in the flat buffers."""

    widths: tuple[int, ...]
    half: tuple[bool, ...]
    """Layers that are multiplied in bf16; they come first."""
    weights: tuple[int, ...]
    biases: tuple[int, ...]
    split: int
    """Length of the part that is multiplied in bf16."""
    total: int


def layout(widths: Sequence[int], half: Sequence[bool]) -> Layout:
    """Place weights and biases, each aligned."""
    layers = len(widths) - 1
    weights, biases, place, split = [0] * layers, [0] * layers, 0, 0
    for kind in (True, False):
        for i in (i for i in range(layers) if half[i] is kind):
            weights[i], place = place, _aligned(place + widths[i] * widths[i + 1])
            biases[i], place = place, _aligned(place + widths[i + 1])
        split = place if kind else split
    return Layout(tuple(widths), tuple(half), tuple(weights), tuple(biases), split, place)


def _aligned(place: int) -> int:
    return -(-place // _ALIGNED) * _ALIGNED


class Pool:
    """Buffers by name, each as long as the longest that was asked for."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._buffers: dict[tuple[str, Any], Any] = {}

    def get(self, name: str, *shape: int, dtype: Any = None) -> Any:
        """Buffer with whatever is in it."""
        import torch

        count = math.prod(shape)
        held = self._buffers.get((name, dtype))
        if held is None or held.numel() < count:
            self._buffers.pop((name, dtype), None)
            del held  # before the longer one is asked for
            held = torch.empty(count, dtype=dtype or torch.float32, device=self.device)
            self._buffers[name, dtype] = held
        return held[:count].view(*shape)

    def clear(self) -> None:
        """Give all memory back."""
        self._buffers.clear()


class Network:
    """Parameters, gradients and moments of one network, and the calls that compute with them."""

    def __init__(self, plan: Layout, settings: Settings, rows: int, pool: Pool) -> None:
        """Take the buffers.

        Parameters
        ----------
        rows
            Most samples of a call.
        """
        import torch

        self.plan, self.settings, self.pool = plan, settings, pool
        self._fp32, self._bf16 = torch.float32, torch.bfloat16
        self.values, self.gradients = pool.get("values", plan.total), pool.get("gradients", plan.total)
        self.first, self.second = pool.get("first", plan.total), pool.get("second", plan.total)
        self.step = torch.zeros((), device=pool.device)
        self.loss = torch.zeros((), dtype=torch.float64, device=pool.device)
        """Sum of the squared errors since it was last set to zero."""
        self.values16 = pool.get("values16", plan.split, dtype=self._bf16)
        self.gradients16 = pool.get("gradients16", plan.split, dtype=self._bf16)
        ins, outs = plan.widths[:-1], plan.widths[1:]
        self.w, self.b = self._views(self.values, self.values16)
        self.gw, self.gb = self._views(self.gradients, self.gradients16)
        self.x, self.y = pool.get("x", rows, ins[0]), pool.get("y", rows, outs[-1])
        last = len(outs) - 1
        self._outs = [
            pool.get(f"out{i}", rows, n, dtype=self._fp32 if i == last else self._type(i))
            for i, n in enumerate(outs)
        ]
        # what a layer reads: the output of the one before, or a copy in its own precision
        before = [self.x, *self._outs[:-1]]
        self._ins = [
            tensor if tensor.dtype == self._type(i) else pool.get(f"in{i}", rows, ins[i], dtype=self._type(i))
            for i, tensor in enumerate(before)
        ]
        for kind in {self._type(i) for i in range(len(outs))} | {self._fp32}:
            for parity in (0, 1):
                pool.get(f"delta{parity}", rows, max(plan.widths), dtype=kind)
        self.clear()

    def _type(self, layer: int) -> Any:
        return self._bf16 if self.plan.half[layer] else self._fp32

    def _views(self, full: Any, half: Any) -> tuple[list[Any], list[Any]]:
        plan, weights, biases = self.plan, [], []
        for i, (a, b) in enumerate(zip(plan.widths[:-1], plan.widths[1:], strict=True)):
            flat = half if plan.half[i] else full
            weights.append(flat[plan.weights[i] : plan.weights[i] + a * b].view(b, a))
            biases.append(flat[plan.biases[i] : plan.biases[i] + b])
        return weights, biases

    def clear(self) -> None:
        """Set to zero whatever has a value before the first step."""
        for buffer in (
            self.values,
            self.gradients,
            self.first,
            self.second,
            self.gradients16,
            self.step,
            self.loss,
        ):
            buffer.zero_()

    def master(self) -> list[tuple[Any, Any]]:
        """Weights [outputs, inputs] and biases of each layer in fp32."""
        return list(zip(*self._views(self.values, self.values), strict=True))

    def initialise(self, generator: Any) -> None:
        """Glorot uniform weights and zero biases, drawn layer by layer on the CPU: the same for every device."""
        import torch

        for weights, biases in self.master():
            limit = math.sqrt(6 / sum(weights.shape))
            drawn = weights if self.pool.device == "cpu" else torch.empty(weights.shape)
            weights.copy_(drawn.uniform_(-limit, limit, generator=generator))
            biases.zero_()
        self.refresh()

    def refresh(self) -> None:
        """Round the parameters for the layers in bf16."""
        if self.plan.split:
            self.values16.copy_(self.values[: self.plan.split])

    def output(self, rows: int) -> Any:
        """Prediction of the last call for so many rows."""
        return self._outs[-1][:rows]

    def forward(self, rows: int) -> list[Call]:
        """Calls that predict for the first rows of `x`."""
        import torch

        calls: list[Call] = []
        last = len(self.w) - 1
        source = self.x
        for i, (weights, biases) in enumerate(zip(self.w, self.b, strict=True)):
            taken, made = self._ins[i][:rows], self._outs[i][:rows]
            if i == last and self.plan.half[last]:
                # what is predicted is never rounded to bf16, in which numbers near 1 are 0.004 apart
                weights, biases = self.master()[last]
                single = source.dtype == self._fp32
                taken = source[:rows] if single else self.pool.get("last", rows, self.plan.widths[last])
            if taken.dtype != source.dtype:
                calls.append(partial(taken.copy_, source[:rows]))
            calls.append(partial(torch.addmm, biases, taken, weights.t(), out=made))
            if i < last:
                calls.append(made.relu_)
            elif self.settings.output == "sigmoid":
                calls.append(made.sigmoid_)
            source = self._outs[i]
        return calls

    def train(self, rows: int) -> list[Call]:
        """Calls of one optimiser step on the first rows of `x` and `y`."""
        return [*self.forward(rows), *self._backward(rows), *self._update()]

    def _backward(self, rows: int) -> list[Call]:
        import torch

        aten = torch.ops.aten
        outputs = self.plan.widths[-1]
        made, wanted = self._outs[-1][:rows], self.y[:rows]
        last = len(self.w) - 1
        grad = self._delta(last, rows, outputs, self._fp32)
        flat, part = grad.view(-1), self.pool.get("part", 1)[0]
        calls: list[Call] = [
            partial(torch.sub, made, wanted, out=grad),
            partial(torch.dot, flat, flat, out=part),
            partial(self.loss.add_, part),
            partial(grad.mul_, 2 / (rows * outputs)),
        ]
        if self.settings.output == "sigmoid":
            calls.append(partial(aten.sigmoid_backward.grad_input, grad, made, grad_input=grad))
        if self.plan.half[last]:
            full, grad = grad, self._delta(last, rows, outputs, self._bf16)
            calls.append(partial(grad.copy_, full))
            if self._ins[last].dtype != self._outs[last - 1].dtype:
                calls.append(partial(self._ins[last][:rows].copy_, self._outs[last - 1][:rows]))
        for i in range(last, -1, -1):
            taken = self._ins[i][:rows]
            calls.append(partial(torch.mm, grad.t(), taken, out=self.gw[i]))
            calls.append(partial(torch.sum, grad, 0, out=self.gb[i]))
            if not i:
                break
            down = self._delta(i - 1, rows, self.plan.widths[i], self._type(i))
            calls.append(partial(torch.mm, grad, self.w[i], out=down))
            calls.append(partial(aten.threshold_backward.grad_input, down, taken, 0, grad_input=down))
            grad = down
            if self._type(i - 1) != self._type(i):
                grad = self._delta(i - 1, rows, self.plan.widths[i], self._type(i - 1))
                calls.append(partial(grad.copy_, down))
        return calls

    def _delta(self, layer: int, rows: int, width: int, dtype: Any) -> Any:
        """Gradient with respect to a layer's output; two that follow each other do not share memory."""
        return self.pool.get(f"delta{layer % 2}", rows, width, dtype=dtype)

    def _update(self) -> list[Call]:
        import torch

        calls: list[Call] = []
        split = self.plan.split
        if split:
            calls.append(partial(self.gradients[:split].copy_, self.gradients16))
        calls.append(partial(self.step.add_, 1))
        # the kernel of torch.optim.Adam(fused=True), without what surrounds it
        calls.append(
            partial(
                torch._fused_adam_,
                [self.values],
                [self.gradients],
                [self.first],
                [self.second],
                [],
                [self.step],
                lr=self.settings.learning_rate,
                beta1=0.9,
                beta2=0.999,
                weight_decay=0.0,
                eps=self.settings.epsilon,
                amsgrad=False,
                maximize=False,
            )
        )
        if split:
            calls.append(self.refresh)
        return calls
