"""A suite's dataset jobs, run as ecFlow would run them but without a server."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite.config.resolved import GitSource, HostPaths, Resolved

NAME = "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1"


@dataclass(frozen=True)
class Workshop:
    """One deployment on the host ``local``, and its dataset jobs."""

    root: Path
    python: Path
    library: Path
    name: str = NAME

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def store(self) -> Path:
        return self.work / "build" / f"{self.name}.zarr"

    @property
    def manifest(self) -> Path:
        return self.store.with_name(f"{self.store.name}.manifest.jsonl")

    @property
    def connections(self) -> Path:
        return self.root / "connections.json"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "ML_SUITE_RESOLVED": str(self.root / "suite" / "resolved.json"),
            "ML_SUITE_HOST": "local",
            "ML_SUITE_REASON": str(self.root / "reason"),
            "PYTHONPATH": str(self.library),
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": "1",
        }

    def deploy(self, recipe: str, parts: int = 2) -> None:
        """Write the recipe and the resolved deployment as ``ml-suite deploy`` does."""
        file = self.root / "suite" / "recipe" / f"{self.name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(recipe)
        source = GitSource(
            path=f"recipes/{self.name}.yaml", sha256=hashlib.sha256(recipe.encode()).hexdigest()
        )
        resolved = self.root / "suite" / "resolved.json"
        resolved.write_text(self._resolved(source, parts).model_dump_json())

    def _resolved(self, source: GitSource, parts: int) -> Resolved:
        return Resolved.model_validate(
            {
                "deployment": {
                    "suite": "demo",
                    "dataset": {"recipe": source.path, "parts": parts, "store": "s3://ml-datasets"},
                    "training": {"config": "training/storm.yaml", "resources": {"walltime": "10m"}},
                    "hosts": {"local": {}},
                    "outputs": {"checkpoints": "s3://ml-checkpoints/demo"},
                },
                "files": self.root / "suite",
                "recipe": source,
                "config": None,
                "hosts": {"local": HostPaths(work=self.work, environment=self.python.parent.parent)},
                "connections": self.connections,
                "source": source,
            }
        )

    def start(self, *arguments: str, **more: object) -> subprocess.Popen[str]:
        """Start one dataset job."""
        return subprocess.Popen(
            [self.python, "-m", "ml_suite.jobs", "dataset", *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # as under ecFlow, where the job's keeper ends the whole group
            start_new_session=True,
            **more,  # type: ignore[call-overload]
        )

    def run(self, *arguments: str, **more: object) -> tuple[int, str]:
        """Run one dataset job; return its exit code and output."""
        process = self.start(*arguments, **more)
        output, _ = process.communicate(timeout=240)
        return process.returncode, output

    def succeed(self, *arguments: str) -> str:
        """Run one dataset job that must work."""
        code, output = self.run(*arguments)
        assert code == 0, output
        return output

    def fail(self, *arguments: str) -> str:
        """Run one dataset job that must fail with an expected error; return its reason."""
        code, output = self.run(*arguments)
        assert code != 0, output
        assert "Traceback" not in output.rpartition("error: ")[2], output
        return (self.root / "reason").read_text()

    def build(self) -> None:
        """Build the dataset without interruption."""
        for arguments in (("init",), ("load", "--part", "1/1"), ("check",), ("finalise",)):
            self.succeed(*arguments)

    def copy(self, root: Path) -> Workshop:
        """The same state in another folder."""
        other = Workshop(root, self.python, self.library, self.name)
        shutil.copytree(self.work, other.work, symlinks=True)
        recipe = (self.root / "suite" / "recipe" / f"{self.name}.yaml").read_text()
        other.deploy(recipe)
        return other


ARRAYS = """
import sys, zarr, numpy as np
a, b = (zarr.open_group(p, mode="r") for p in sys.argv[1:])
assert sorted(a.array_keys()) == sorted(b.array_keys()), (sorted(a.array_keys()), sorted(b.array_keys()))
for name in a.array_keys():
    x, y = a[name][:], b[name][:]
    floating = np.issubdtype(x.dtype, np.floating)
    assert x.dtype == y.dtype and np.array_equal(x, y, equal_nan=floating), name
gaps = np.isnan(a["data"][:]).any(axis=(1, 2, 3)).nonzero()[0]
assert gaps.tolist() == [17, 36, 37], gaps
assert a["data"].shape == (64, 13, 1, 964)
differ = sorted(k for k in set(a.attrs) | set(b.attrs) if a.attrs.get(k) != b.attrs.get(k))
print(" ".join(differ))
"""
ANYTHING = {"uuid", "latest_write_timestamp", "provenance_load", "total_size"}
"""Attributes that say when and by what a dataset was built."""


def differences(python: Path, a: Path, b: Path) -> set[str]:
    """Compare all arrays bit by bit, prove the gaps, return the names of attributes that differ."""
    done = subprocess.run([python, "-c", ARRAYS, a, b], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def metadata(store: Path) -> dict[str, Any]:
    attributes: dict[str, Any] = json.loads((store / ".zattrs").read_text())
    return attributes
