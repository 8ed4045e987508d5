"""A deployment whose trials are a tiny program, for everything about studies that needs no real training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite.config.deployment import Deployment
from ml_suite.config.resolved import GitSource, HostPaths, Resolved
from ml_suite.jobs import study
from ml_suite.jobs.context import Job
from ml_suite.study.contract import TrialResult
from ml_suite.study.record import merge

NAME = "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1"

PROGRAM = """
import json, math, os, subprocess, sys, time
from pathlib import Path
spec = json.loads(Path(sys.argv[1]).read_text())
here = Path(sys.argv[1]).parent
how = json.loads(Path(os.environ["HOW"]).read_text()).get(f"{spec['step']}/{spec['trial']}", "well")
with open(here.parents[2] / "calls", "a") as f:
    f.write(f"{spec['step']}/{spec['trial']}\\n")
x = spec["params"].get("x", 0.5)
value = (x - 0.3) ** 2 + 1 / spec["samples"]
if how == "hang":
    time.sleep(600)
if how == "brood":
    child = subprocess.Popen(["sleep", "600"], start_new_session=False)
    (here.parents[2] / "child").write_text(str(child.pid))
    time.sleep(600)
if how == "slow":
    time.sleep(1.0)
if how == "crash":
    raise ValueError("no such layer")
if how == "killed":
    os.kill(os.getpid(), 9)
if how == "killed once" and not (here.parents[2] / "was-killed").exists():
    (here.parents[2] / "was-killed").touch()
    os.kill(os.getpid(), 9)
if how == "silent":
    sys.exit(0)
outcome = {"metrics": {"val": value, "train": 1.0}, "parameters": 7,
           "history": [{"epoch": 0, "step": 3, "value": value * 2}, {"epoch": 1, "step": 6, "value": value}]}
if how == "nan":
    outcome["metrics"]["val"] = math.nan
if how == "other":
    outcome["metrics"] = {"loss": value}
if how == "pruned":
    outcome |= {"state": "pruned", "reason": "no good"}
if how == "weights" or spec["step"] != 1:
    (here / "weights.bin").write_bytes(b"w" * 1000 + str(value).encode())
    outcome["checkpoint"] = "weights.bin"
text = json.dumps(outcome)
(here / "outcome.json").write_text(text[:20] if how == "torn" else text)
"""


@dataclass(frozen=True)
class Rig:
    """One deployment in a folder of its own."""

    folder: Path
    job: Job

    def behave(self, **how: str) -> None:
        """Say how trials behave: ``behave(**{"1/3": "nan"})``."""
        (self.folder / "how.json").write_text(json.dumps(how))

    def calls(self) -> list[str]:
        """Return STEP/TRIAL of every call of the program, in order."""
        path = self.job.tree.study / "calls"
        return path.read_text().split() if path.exists() else []

    def study(self, *arguments: str) -> None:
        """Run a verb of job study here."""
        study.run(self.job, list(arguments))

    def deployed(self, values: dict[str, Any]) -> Rig:
        """Return the rig with another deployment."""
        resolved = self.job.resolved.model_copy(update={"deployment": Deployment.model_validate(values)})
        return Rig(self.folder, Job(resolved, self.job.host))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Run a job as ecFlow's job script does."""
        resolved = self.folder / "resolved.json"
        resolved.write_text(self.job.resolved.model_dump_json())
        return subprocess.Popen(
            [sys.executable, "-m", "ml_suite.jobs", *arguments],
            env={**os.environ, "ML_SUITE_RESOLVED": str(resolved), "ML_SUITE_HOST": "here"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def records(self, step: int) -> list[TrialResult]:
        """Return the merged record of a step."""
        return merge((self.job.tree.study / f"step{step}").glob("*.jsonl"))

    def all_shards(self) -> None:
        """Plan and run step 1."""
        self.study("plan")
        hpo = self.job.deployment.hpo
        assert hpo is not None
        for shard in range(hpo.step1.shards or 1):
            self.study("shard", "--shard", str(shard))


def make(folder: Path, monkeypatch: Any, hpo: bool = True, **step1: Any) -> Rig:
    """Make a deployment with its dataset's attributes and manifest."""
    program = folder / "program.py"
    folder.mkdir(parents=True, exist_ok=True)
    program.write_text(PROGRAM)
    store_dataset(folder / "work" / "datasets" / f"{NAME}.zarr")
    values: dict[str, Any] = {
        "suite": "rig",
        "dataset": {"recipe": f"recipes/{NAME}.yaml"},
        "training": {
            "trainer": "command",
            "command": [sys.executable, str(program)],
            "resources": {"walltime": "1h"},
            "epochs": 2,
            "periods": {
                "training": {"start": "1996-01-05", "end": "1996-01-16T18:00"},
                "validation": {"start": "1996-01-17", "end": "1996-01-18T18:00"},
                "test": {"start": "1996-01-19", "end": "1996-01-20T18:00"},
            },
        },
        "hosts": {"here": {}},
        "outputs": {"checkpoints": "s3://ml-weights/rig"},
    }
    if hpo:
        values["hpo"] = {
            "metric": "val",
            "seed": 3,
            "space": {"x": {"float": [0.0, 1.0]}, "n": {"choice": [8, 16, 32]}},
            "step1": {"trials": 6, "subset": "25%", "shards": 2, **step1},
            "step2": {"keep": "34%"},
        }
    source = GitSource(path="x.yaml", sha256="0" * 64, commit="1" * 40)
    resolved = Resolved(
        deployment=Deployment.model_validate(values),
        files=folder / "files",
        recipe=source,
        config=None,
        hosts={"here": HostPaths(work=folder / "work", environment=Path(sys.prefix))},
        connections=folder / "connections.json",
        source=source,
    )
    rig = Rig(folder, Job(resolved, "here"))
    rig.behave()
    monkeypatch.setenv("HOW", str(folder / "how.json"))
    return rig


def store_dataset(path: Path) -> None:
    """Leave the attributes of the storm dataset, and a manifest."""
    path.mkdir(parents=True)
    attributes = {
        "uuid": "a3522a1f-3fe9-497a-ab0a-b939e8c9f837",
        "start_date": "1996-01-05T00:00:00",
        "end_date": "1996-01-20T18:00:00",
        "frequency": "6h",
        "missing_dates": ["1996-01-09T06:00:00", "1996-01-14T00:00:00", "1996-01-14T06:00:00"],
    }
    (path / ".zattrs").write_text(json.dumps(attributes))
    path.with_name(f"{path.name}.manifest.jsonl").write_text('{"files": 0}\n')
