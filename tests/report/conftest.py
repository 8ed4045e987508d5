"""Studies of a small real program, at several stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ml_suite.jobs import evaluate
from tests.jobs.study_rig import Rig, make

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{7*7}}"


def home_of(rig: Rig) -> Path:
    """Deploy the rig's resolved deployment below a home of its own."""
    home = rig.folder / "home"
    path = home / "suites" / "rig" / "resolved.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(rig.job.resolved.model_dump_json())
    return home


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: Any) -> Rig:
    """Nothing has run."""
    return make(tmp_path, monkeypatch)


@pytest.fixture
def halfway(planned: Rig) -> Rig:
    """One of two shards has run, and one trial of it diverged."""
    planned.behave(**{"1/2": "nan"})
    planned.study("plan")
    planned.study("shard", "--shard", "0")
    return planned


@pytest.fixture
def whole(planned: Rig) -> Rig:
    """A finished study with failures of several kinds."""
    planned.behave(**{"1/1": "nan", "1/4": "crash", "1/5": "pruned"})
    planned.all_shards()
    planned.study("shortlist")
    for rank in ("1", "2"):
        planned.study("retrain", "--rank", rank)
    planned.study("select")
    evaluate.run(planned.job, [])
    return planned


def poison(rig: Rig) -> None:
    """Put hostile text wherever a record takes text."""
    for path in [*rig.job.tree.study.glob("step*/*.jsonl")]:
        lines = []
        for line in path.read_text().splitlines():
            row = json.loads(line)
            row["params"] = {HOSTILE: HOSTILE, "n": row["params"]["n"]}
            row["reason"] = HOSTILE if row["state"] != "complete" else ""
            row["host"] = HOSTILE
            lines.append(json.dumps(row))
        path.write_text("\n".join(lines) + "\n")
