"""A deployment with other hosts behind a real sshd; their work folders are on this machine."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite.config.deployment import Deployment
from ml_suite.config.resolved import HostPaths, Resolved
from ml_suite.hosts import reach
from ml_suite.hosts.reach import Reach
from ml_suite.jobs import study, train
from ml_suite.jobs.context import Job
from ml_suite.jobs.mirror import Mirrored, pull
from tests.jobs.study_rig import NAME as DATASET
from tests.jobs.study_rig import Rig, make, store_dataset


@dataclass(frozen=True)
class Remote:
    """What one other host has, and how jobs run there."""

    rig: Rig
    name: str
    work: Path

    @property
    def job(self) -> Job:
        """A job at that host."""
        return Job(self.rig.job.resolved, self.name)

    def submit(self, *inputs: Path) -> None:
        """Bring input files to the same places there, as a submission does."""
        here = self.rig.job.tree.work
        for path in inputs:
            to = self.work / path.relative_to(here)
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, to)

    def shard(self, number: int) -> None:
        """Run a shard there."""
        self.submit(self.rig.job.tree.plan)
        study.run(self.job, ["shard", "--shard", str(number)])

    def retrain(self, rank: int) -> None:
        """Run a candidate there."""
        self.submit(self.rig.job.tree.plan, self.rig.job.tree.shortlist)
        study.run(self.job, ["retrain", "--rank", str(rank)])

    def train(self) -> None:
        """Run the single training there."""
        train.run(self.job, [])

    def pull(self, weights: bool = False) -> Mirrored:
        """Mirror it."""
        return pull(self.rig.job.resolved, self.name, "once", weights)

    @property
    def mirror(self) -> Path:
        """Where it is mirrored."""
        return self.rig.job.tree.work / "mirror" / self.name

    def contents(self, below: Path | None = None) -> dict[str, str]:
        """Digests of all files there that are not hidden, by name."""
        root = below or self.work
        names = (path.relative_to(root) for path in root.rglob("*"))
        # hidden: what rsync has not received whole, which may vanish at any moment
        files = (
            root / n for n in names if not any(x.startswith(".") for x in n.parts) and (root / n).is_file()
        )
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def make_remote(
    folder: Path, monkeypatch: Any, *ways: Reach, hpo: bool = True, suite: str = "rig", **step1: Any
) -> tuple[Rig, list[Remote]]:
    """Make a rig with other hosts that are reached by WAYS."""
    rig = make(folder, monkeypatch, hpo=hpo, **step1)
    old = rig.job.resolved
    values = old.deployment.model_dump(mode="json", exclude_unset=True)
    values["suite"] = suite
    values["hosts"] = {"here": {}, **{way.host: {} for way in ways}}
    hosts = dict(old.hosts)
    remotes = []
    for way in ways:
        work = folder / f"work-of-{way.host}"
        store_dataset(work / "datasets" / f"{DATASET}.zarr")
        hosts[way.host] = HostPaths(work=work, environment=old.hosts["here"].environment, remote=True)
        remotes.append(work)
        reach.save((way, way))
    resolved = Resolved.model_validate(
        old.model_dump() | {"deployment": Deployment.model_validate(values), "hosts": hosts}
    )
    rig = Rig(folder, Job(resolved, "here"))
    return rig, [Remote(rig, way.host, work) for way, work in zip(ways, remotes, strict=True)]
