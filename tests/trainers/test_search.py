"""A search with rungs, patience, blocks and finalists by the real anemoi-training, killed on the way."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ml_suite.study.contract import Selection, Shortlist, TrialState
from tests.trainers.storm import Storm

pytestmark = [pytest.mark.anemoi, pytest.mark.timeout(900)]


@pytest.fixture
def search(storm: Storm, tmp_path: Path) -> Storm:
    """The demo's training as a search that uses what there is."""
    made = Storm(tmp_path, storm.python, storm.repository)
    made.deploy()
    made.dataset.parent.mkdir(parents=True)
    for path in (storm.dataset, storm.dataset.with_name(f"{storm.dataset.name}.manifest.jsonl")):
        (made.dataset.parent / path.name).symlink_to(path.resolve())
    resolved = tmp_path / "resolved.json"
    told = json.loads(resolved.read_text())
    told["deployment"]["hpo"] |= {"sampling": "sobol"}
    told["deployment"]["hpo"]["step1"] |= {
        "trials": 4,
        "subset": "40%",
        "epochs": 3,
        "patience": "2 epochs",
        "rungs": {"at": [1], "keep": "50%", "cohort": 4},
    }
    told["deployment"]["hpo"]["step2"] = {
        "keep": "25%",
        "finalists": 1,
        "replicates": 2,
        "epochs": 2,
        "filter": "value < 10",
        "select": "lightest within 5%",
    }
    resolved.write_text(json.dumps(told))
    return made


def test_a_search_of_real_trainings_uses_all_of_its_options(search: Storm) -> None:
    search.succeed("study", "plan")
    plan = search.plan
    assert plan.patience_epochs == {"step1": 2}
    assert len(plan.split.blocks) > 2
    assert plan.samples["subset"] == 16
    job = search.start("study", "shard", "--shard", "0")
    deadline = time.monotonic() + 200
    # one trial waits at the rung and the next one has begun
    while not (search.tree.trial(1, 1) / "metrics.jsonl").exists():
        assert job.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    job.kill()
    job.communicate(timeout=60)
    search.succeed("study", "shard", "--shard", "0")
    results = {r.trial: r for r in search.records(1)}
    assert sorted(r.state for r in results.values()) == [TrialState.COMPLETE] * 2 + [TrialState.PRUNED] * 2
    first = {t: r.history[0].value or 9.0 for t, r in results.items()}
    better = sorted(first, key=first.__getitem__)[:2]
    assert {t for t, r in results.items() if r.state is TrialState.COMPLETE} == set(better)
    for trial, r in results.items():
        assert r.epochs == (3 if trial in better else 1)
        assert r.value == r.best  # with a patience the best weights are kept
        log = (search.tree.trial(1, trial) / "log.txt").read_text()
        assert "MultiDataset has 16 valid anchors" in log
        spec = json.loads((search.tree.trial(1, trial) / "trial.json").read_text())
        assert spec["budget"]["patience"] == 2 * 4  # 16 samples in batches of 4
    search.succeed("study", "shortlist")
    search.succeed("study", "retrain", "--rank", "1")
    search.succeed("study", "finalists")
    search.succeed("study", "final", "--finalist", "1", "--replicate", "1")
    search.succeed("study", "select")
    (candidate,) = Shortlist.load(search.tree.shortlist).candidates
    winner = Selection.load(search.tree.selection)
    assert winner.trial == candidate.trial
    assert len(set(winner.replicates)) == 2
    assert winner.value == pytest.approx(sum(winner.replicates) / 2)
    cost = json.loads((search.tree.study / "cost.json").read_text())
    assert [line["trainings"] for line in cost["lines"]] == [4, 2]
