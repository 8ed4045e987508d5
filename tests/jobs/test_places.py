"""Paths and records of other hosts as they are seen beside the ecFlow server."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import pytest

from ml_suite.jobs.places import Place, found
from ml_suite.layout import WorkTree
from ml_suite.study import record
from ml_suite.study.contract import Checkpoint, TrialResult, TrialState

WORK = PurePosixPath("/scratch/p/ml-suite")


def place(folder: Path, host: str = "big") -> Place:
    return Place(host, WorkTree(folder / "mirror" / host, "demo"), WORK)


@pytest.mark.parametrize(
    ("there", "here"),
    [
        ("/scratch/p/ml-suite/suites/demo/once/study/x", "suites/demo/once/study/x"),
        ("/scratch/p/ml-suite/datasets/x.zarr", "datasets/x.zarr"),
        # the work folder by the name that a link leads to
        ("/pfs/lustre7/p/ml-suite/suites/demo/once/study/x", "suites/demo/once/study/x"),
        ("/scratch/p/ml-suite/suites/demo/../../../../../etc/passwd", "elsewhere/etc/passwd"),
        ("/home/me/weights.bin", "elsewhere/home/me/weights.bin"),
        ("/scratch/p/ml-suite-2/x", "elsewhere/scratch/p/ml-suite-2/x"),
    ],
)
def test_paths_of_a_host_become_paths_of_its_mirror(tmp_path: Path, there: str, here: str) -> None:
    mirror = tmp_path / "mirror" / "big"
    assert place(tmp_path).here(Path(there)) == mirror / here


def test_the_own_tree_keeps_its_paths(tmp_path: Path) -> None:
    own = Place("here", WorkTree(tmp_path, "demo"))
    assert own.here(Path("/scratch/p/ml-suite/x")) == Path("/scratch/p/ml-suite/x")
    assert not own.mirrored


def result(trial: int, state: TrialState, minute: int, step: int = 1) -> TrialResult:
    when = datetime(2026, 11, 26, 3, minute, tzinfo=UTC)
    path = Path(f"{WORK}/suites/demo/once/study/step{step}/trials/{trial:05d}/w.bin")
    return TrialResult(
        study="s",
        trial=trial,
        step=step,  # type: ignore[arg-type]
        state=state,
        params={},
        metric="val",
        started=when,
        ended=when,
        host=f"node-{minute}",
        checkpoint=Checkpoint(path=path, sha256="0" * 64, size=1),
    )


def test_a_trial_at_two_hosts_counts_once_by_the_rules_of_a_record(tmp_path: Path) -> None:
    a, b = place(tmp_path, "a"), place(tmp_path, "b")
    record.append(a.tree.shard(1, "000"), result(0, TrialState.COMPLETE, 10))
    record.append(b.tree.shard(1, "000"), result(0, TrialState.PREEMPTED, 20))
    record.append(a.tree.shard(1, "000"), result(2, TrialState.COMPLETE, 11))
    record.append(b.tree.shard(1, "000"), result(2, TrialState.COMPLETE, 21))
    record.append(b.tree.shard(1, "001"), result(1, TrialState.FAILED, 30))
    for order in ([a, b], [b, a]):
        got = found(order, 1, "s")
        assert [(f.result.trial, f.place.host, f.result.host) for f in got] == [
            (0, "a", "node-10"),
            (1, "b", "node-30"),
            (2, "b", "node-21"),
        ]
    weights = found([a, b], 1)[0].result.checkpoint
    assert weights is not None
    assert weights.path == tmp_path / "mirror/a/suites/demo/once/study/step1/trials/00000/w.bin"
    assert found([a, b], 1, "another") == []
