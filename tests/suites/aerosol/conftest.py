"""The parcel model for tests: its sources on the path, and its compiled half in the training environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SUITE = Path(__file__).resolve().parents[3] / "suites" / "aerosol"
sys.path.insert(0, str(SUITE))

# one order a line: the inputs, and how to solve them
_SERVER = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numba
import numpy as np
from parcel.arg2000 import arg2000
from parcel.labels import activated_fractions
from parcel.model import ascents
from parcel.sampling import Members
for line in sys.stdin:
    order = json.loads(line)
    numba.set_num_threads(order.pop("threads", 1))
    members = Members.of(np.array(order.pop("x"), dtype=np.float64))
    out = ascents(members, **order)
    y = activated_fractions(out.supersaturation, out.temperature, members.radius, members.kappa)
    answer = {"smax": out.supersaturation.tolist(), "temperature": out.temperature.tolist(),
              "steps": out.steps.tolist(), "status": out.status.tolist(), "y": y.tolist(),
              "arg": arg2000(members)[0].tolist()}
    print(json.dumps(answer), flush=True)
"""


class Parcel:
    """The model in a process of its own, which compiles it once."""

    def __init__(self, python: Path) -> None:
        self.process = subprocess.Popen(
            [str(python), "-c", _SERVER, str(SUITE)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "NUMBA_NUM_THREADS": "2"},
        )

    def ascents(self, x: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
        """Outcome of each sample; `options` are those of `parcel.model.ascents`, and threads."""
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps({"x": np.asarray(x).tolist(), **options}), file=self.process.stdin, flush=True)
        return {name: np.array(values) for name, values in json.loads(self.process.stdout.readline()).items()}


@pytest.fixture(scope="package")
def parcel(anemoi_python: Path) -> Iterator[Parcel]:
    """The parcel model."""
    model = Parcel(anemoi_python)
    yield model
    assert model.process.stdin
    model.process.stdin.close()
    model.process.wait(timeout=60)
