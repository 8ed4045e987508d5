"""The hand-written arithmetic against torch's own; runs in the training environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml_suite.trainers.mlp.protocol import Setup
from tests.trainers.mlp.workers import Worker, order

pytestmark = pytest.mark.anemoi

GRADIENTS = """
import json, sys, torch
from torch import nn
from ml_suite.trainers.mlp import network, settings
out = {}
torch.manual_seed(0)
mixtures = {"fp32": (0, 0, 0, 0), "all": (1, 1, 1, 1), "ends": (1, 0, 0, 1), "middle": (0, 1, 1, 0)}
for name, half in mixtures.items():
    for last in ("sigmoid", "linear"):
        chosen = settings.Settings(units=[64, 32, 48], output=last)
        widths = settings.sizes(chosen, 6, 3)
        flags = tuple(map(bool, half))
        with torch.inference_mode():
            net = network.Network(network.layout(widths, flags), chosen, 50, network.Pool("cpu"))
            net.initialise(torch.Generator().manual_seed(1))
            net.values[net.plan.biases[1]:][:32] += 0.1
            net.refresh()
            net.x.copy_(torch.randn(50, 6)); net.y.copy_(torch.rand(50, 3))
        x, y = net.x.clone(), net.y.clone()
        layers = []
        for w, b in net.master():
            layer = nn.Linear(w.shape[1], w.shape[0])
            layer.weight.data, layer.bias.data = w.clone(), b.clone()
            layers += [layer, nn.ReLU()]
        model = nn.Sequential(*layers[:-1], *([nn.Sigmoid()] if last == "sigmoid" else []))
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
        with torch.inference_mode():
            for call in net.train(50):
                call()
            ours = [g.float() for pair in zip(net.gw, net.gb) for g in pair]
            theirs = [p.grad for p in model.parameters()]
            worst = max(((a - b).norm() / b.norm()).item() for a, b in zip(ours, theirs))
        optimiser.step()
        moved = max((a - b).abs().max().item() for (w, c), layer in zip(net.master(), layers[::2])
                    for a, b in ((w, layer.weight), (c, layer.bias)))
        out[f"{name}-{last}"] = dict(gradient=worst, moved=moved, loss=abs(net.loss.item() / 150 - loss.item()))
print(json.dumps(out))
"""

CURVE = """
import json, sys, torch
from torch import nn
from ml_suite.trainers.mlp import data, loop
from ml_suite.trainers.mlp.protocol import Setup
setup = Setup.model_validate_json(sys.argv[1])
parts = data.load(setup, "cpu").parts
xt, yt, xv, yv = parts["training"].x, parts["training"].y, parts["validation"].x, parts["validation"].y
draw = torch.Generator().manual_seed(loop._mixed(7, -1))
layers = []
for a, b in ((6, 32), (32, 16), (16, 3)):
    layer = nn.Linear(a, b)
    nn.init.xavier_uniform_(layer.weight, generator=draw)
    nn.init.zeros_(layer.bias)
    layers += [layer, nn.ReLU()]
model = nn.Sequential(*layers[:-1], nn.Sigmoid())
optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7)
losses = []
for epoch in range(int(sys.argv[2])):
    order = torch.randperm(len(xt), generator=torch.Generator().manual_seed(loop._mixed(7, epoch)))
    for some in order.split(256):
        optimiser.zero_grad()
        nn.functional.mse_loss(model(xt[some]), yt[some]).backward()
        optimiser.step()
    with torch.no_grad():
        losses.append(nn.functional.mse_loss(model(xv), yv).item())
print(json.dumps(losses))
"""


def run(python: Path, repository: Path, *argv: str) -> Any:
    done = subprocess.run(
        [str(python), "-c", *argv],
        env={**os.environ, "PYTHONPATH": str(repository / "src"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_gradients_and_the_step_are_those_of_autograd_and_adam(anemoi_python: Path, repository: Path) -> None:
    told = run(anemoi_python, repository, GRADIENTS)
    for last in ("sigmoid", "linear"):
        assert told[f"fp32-{last}"]["gradient"] < 1e-5
        assert told[f"fp32-{last}"]["moved"] < 1e-5
        assert told[f"fp32-{last}"]["loss"] < 1e-6
        for mixture in ("all", "ends", "middle"):
            # eight bits of a number
            assert told[f"{mixture}-{last}"]["gradient"] < 0.1
            assert told[f"{mixture}-{last}"]["loss"] < 0.01


def test_the_loss_curve_is_that_of_a_plain_torch_loop(
    worker: Worker, setup: Setup, anemoi_python: Path, repository: Path
) -> None:
    theirs = run(anemoi_python, repository, CURVE, setup.model_dump_json(), "25")
    ours = [point.value for point in worker.train(order(epochs=25)).history]
    assert np.allclose(ours, theirs, rtol=1e-4)
    assert theirs[-1] < 0.8 * theirs[0]


def test_a_gpu_gives_what_the_cpu_gives(
    worker: Worker, setup: Setup, anemoi_python: Path, repository: Path
) -> None:
    if not run(anemoi_python, repository, "import json, torch; print(json.dumps(torch.cuda.is_available()))"):
        pytest.skip("no GPU here: captured steps are not tested")
    gpu = Worker(anemoi_python, repository, setup.model_copy(update={"device": "cuda"}))
    try:
        first, again = gpu.train(order(epochs=25)), gpu.train(order(epochs=25))
        assert first.history == again.history
        ours = worker.train(order(epochs=25))
        # the samples come in another order, from the generator of the GPU
        assert first.value == pytest.approx(ours.value, rel=0.1)
    finally:
        gpu.end()
