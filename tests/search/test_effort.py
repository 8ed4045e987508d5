"""Work of trainings as decisions count it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_suite.search import effort
from ml_suite.study.arrays import ArrayPlan, Members
from tests.search.studies import plan
from tests.study.results import result

SPACE = {"layers": {"int": [1, 3]}, "units": {"choice": [64, 512], "per": "layers"}}


def search(**changes: Any) -> ArrayPlan:
    counts = {"training": 100_000, "subset": 10_000, "validation": 20_000, "test": 10}
    members = {name: Members(count=n, sha256="0", path=Path(f"{name}.npy")) for name, n in counts.items()}
    return plan(**{"space": SPACE, "members": members, "trials": 50, **changes})


def trained(units: int, epochs: int = 4, steps: int = 40, **changes: Any) -> Any:
    return result(0, 0.1, params={"layers": 1, "units": [units]}, epochs=epochs, steps=steps, **changes)


def test_work_follows_network_data_and_epochs_alone() -> None:
    work = effort.counted(search())
    assert work(0.1, trained(64, seconds=1.0)) == work(0.1, trained(64, seconds=900.0, cpu_seconds=3.0))
    assert work(0.1, trained(64)) < work(0.1, trained(512)) < work(0.2, trained(512))
    assert work(0.1, trained(64)) < work(0.1, trained(64, epochs=8, steps=80))
    assert work(0.1, trained(64, epochs=0, steps=0)) > 0


def test_faster_arithmetic_of_step_1_is_less_work() -> None:
    fast = effort.counted(search(precision={"step1": "bf16", "step2": "fp32"}))
    slow = effort.counted(search())
    assert fast(0.1, trained(512)) < slow(0.1, trained(512))
    assert fast(1.0, trained(512)) == slow(1.0, trained(512))


def test_a_programs_work_is_its_processor_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    work = effort.counted(search(trainer="command"))
    assert work(0.1, trained(64, seconds=9.0, cpu_seconds=2.0)) == 2.0
    assert work(0.1, trained(64, seconds=9.0)) == 9.0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert effort.counted(search(trainer="command"))(0.1, trained(64, seconds=9.0, cpu_seconds=2.0)) == 9.0


def test_an_estimate_has_the_judging_of_every_trial_in_its_overhead() -> None:
    few, many = search(), search()
    counts = many.members | {"validation": Members(count=200_000, sha256="0", path=Path("v.npy"))}
    before, after = effort.estimated(few), effort.estimated(many.model_copy(update={"members": counts}))
    assert before is not None
    assert after is not None
    assert after.overhead > 3 * before.overhead
    assert after.full == pytest.approx(before.full)
    assert effort.estimated(search(trainer="command")) is None


def test_an_estimate_is_what_the_trainings_count_as() -> None:
    one = search(space={"units": {"choice": [[64]]}}, trials=1)
    found, steps = effort.estimated(one), 4 * 10
    assert found is not None
    assert not found.measured
    counted = effort.counted(one)(0.1, trained(64, steps=steps))
    assert 0.1 * found.full + found.overhead == pytest.approx(counted)
