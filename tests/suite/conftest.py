"""A resolved deployment and its suite, without a server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ml_suite.config.deployment import Deployment
from ml_suite.config.resolved import GitSource, HostPaths, Resolved
from ml_suite.hosts.jobhost import JobHosts
from ml_suite.suite.build import Built, build
from ml_suite.suite.nodes import Places

NAME = "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1"


def deployment(**changes: object) -> Deployment:
    """A small two-step study on two hosts."""
    values: dict[str, object] = {
        "suite": "storm-demo",
        "dataset": {"recipe": f"recipes/{NAME}.yaml", "parts": 3},
        "training": {"config": "training/storm.yaml", "resources": {"walltime": "2h"}, "epochs": 6},
        "hpo": {
            "metric": "val_loss",
            "space": {"training.optimization.lr": {"log": [1e-4, 1e-2]}},
            "step1": {"trials": 20, "subset": "10%", "shards": 12, "epochs": 2},
            "step2": {"keep": "10%"},
        },
        "hosts": {"near": {"limit": 2}, "far-away": {"limit": 4}},
        "outputs": {"checkpoints": "s3://ml-weights/storm"},
    }
    return Deployment.model_validate({k: v for k, v in {**values, **changes}.items() if v is not None})


def resolve(deployment: Deployment, folder: Path, remote: Sequence[str] = ()) -> Resolved:
    """Resolve without looking anything up; the hosts named REMOTE are other machines without a route back."""
    source = GitSource(path="x.yaml", sha256="0" * 64)
    names = [*deployment.hosts, *(["local"] if len(remote) == len(deployment.hosts) else [])]
    return Resolved(
        deployment=deployment,
        files=folder / "files",
        recipe=source,
        config=source,
        hosts={
            h: HostPaths(
                work=folder / h,
                environment=folder / f"env-{h}",
                remote=h in remote,
                spool=folder / h / "spool" if h in remote else None,
            )
            for h in names
        },
        connections=folder / "connections.json",
        source=source,
    )


@pytest.fixture
def scripts(repository: Path) -> Path:
    """The package's task scripts."""
    return repository / "suites" / "scripts"


def places(folder: Path) -> Places:
    """Places below one folder."""
    return Places(folder / "scripts", folder / "jobs", folder / "lib", Path("/usr/bin/python3"))


def nowhere(folder: Path) -> JobHosts:
    """No other machines."""
    return JobHosts(home=folder, suite="storm-demo", work=folder)


@pytest.fixture
def built(tmp_path: Path, scripts: Path) -> Built:
    """The suite of the small study."""
    return build(resolve(deployment(), tmp_path), places(tmp_path), scripts, nowhere(tmp_path))
