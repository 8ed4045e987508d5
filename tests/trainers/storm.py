"""The demo's training as a two-step study, run in the training environment as ecFlow would run it."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite.config.deployment import Deployment
from ml_suite.config.resolved import GitSource, HostPaths, Resolved
from ml_suite.layout import WorkTree
from ml_suite.study.contract import StudyPlan, TrialResult, TrialSpec
from ml_suite.study.record import merge

NAME = "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1"
METRIC = "val_multi_dataset_loss_epoch"


@dataclass(frozen=True)
class Storm:
    """One deployment on the host ``local``."""

    root: Path
    python: Path
    repository: Path

    @property
    def tree(self) -> WorkTree:
        return WorkTree(self.root / "work", "storm")

    @property
    def dataset(self) -> Path:
        return self.tree.dataset(NAME)

    @property
    def plan(self) -> StudyPlan:
        return StudyPlan.load(self.tree.plan)

    def deploy(self) -> None:
        """Write the training configuration and the resolved deployment."""
        text = (self.repository / "suites" / "demo" / "training" / "storm.yaml").read_bytes()
        file = self.root / "suite" / "training" / "storm.yaml"
        file.parent.mkdir(parents=True)
        file.write_bytes(text)
        source = GitSource(path="training/storm.yaml", sha256=hashlib.sha256(text).hexdigest())
        resolved = Resolved(
            deployment=deployment(),
            files=self.root / "suite",
            recipe=source,
            config=source,
            hosts={"local": HostPaths(work=self.root / "work", environment=self.python.parent.parent)},
            connections=self.root / "connections.json",
            source=source,
        )
        (self.root / "resolved.json").write_text(resolved.model_dump_json())

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a job, or with ``-m MODULE`` another module."""
        words = arguments if arguments[0] == "-m" else ("-m", "ml_suite.jobs", *arguments)
        return subprocess.Popen(
            [str(self.python), *words],
            env={
                **{k: v for k, v in os.environ.items() if not k.startswith("ECF_")},
                "ML_SUITE_RESOLVED": str(self.root / "resolved.json"),
                "ML_SUITE_HOST": "local",
                "PYTHONPATH": os.pathsep.join((str(self.repository / "src"), str(self.repository))),
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def succeed(self, *arguments: str) -> str:
        """Run a job to its end and return what it printed."""
        job = self.start(*arguments)
        told, _ = job.communicate(timeout=280)
        assert job.returncode == 0, told
        return told

    def records(self, step: int) -> list[TrialResult]:
        return merge((self.tree.study / f"step{step}").glob("*.jsonl"))

    def variant(self, folder: Path, **changes: Any) -> TrialSpec:
        """Return trial 0 of step 1 with changes, in a folder of its own."""
        spec = TrialSpec.load(self.tree.trial(1, 0) / "trial.json")
        return spec.model_copy(update={"output": folder, **changes})


def deployment() -> Deployment:
    """Three trials of one epoch on a quarter of the data; the best one again on two replicas."""
    return Deployment.model_validate(
        {
            "suite": "storm",
            "dataset": {"recipe": f"recipes/{NAME}.yaml"},
            "training": {
                "config": "training/storm.yaml",
                "resources": {"walltime": "10m"},
                "seed": 11,
                "epochs": 2,
                "overrides": {"training.optimization.lr_scheduler.warmup_t": 1},
            },
            "hpo": {
                "metric": METRIC,
                "space": {
                    "training.optimization.lr": {"log": [1e-3, 3e-2]},
                    "model.num_channels": {"choice": [16, 32]},
                },
                "step1": {"trials": 3, "subset": "25%", "epochs": 1, "shards": 1},
                "step2": {"keep": "34%", "resources": {"walltime": "10m", "gpus": 2}},
            },
            "hosts": {"local": {}},
            "outputs": {"checkpoints": "s3://ml-weights/storm"},
        }
    )
