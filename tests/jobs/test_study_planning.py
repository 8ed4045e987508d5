"""What a plan refuses before anything is trained."""

from __future__ import annotations

import pytest

from ml_suite.errors import StudyError
from ml_suite.jobs.freezing import replicas_of, require_shareable
from ml_suite.trainers.anemoi import BATCH, GPUS_PER_MODEL, LR
from tests.study.results import plan


def test_a_batch_that_step_2_cannot_share_is_refused_before_step_1() -> None:
    given = {"trainer": "anemoi", "overrides": {LR: 0.01, BATCH: 4}}
    require_shareable(plan(**given, replicas={"step1": 1, "step2": 4}))
    with pytest.raises(StudyError, match="a batch of 4 samples"):
        require_shareable(plan(**given, replicas={"step1": 1, "step2": 3}))


def test_batches_of_the_space_are_looked_at_too() -> None:
    space = {BATCH: {"choice": [4, 6]}}
    given = {"trainer": "anemoi", "overrides": {LR: 0.01}, "replicas": {"step1": 1, "step2": 4}}
    with pytest.raises(StudyError, match="a batch of 6 samples"):
        require_shareable(plan(**given, space=space, trials=20))


def test_a_model_of_several_gpus_is_one_replica() -> None:
    assert replicas_of({"step1": 4, "step2": 16}, 4) == {"step1": 1, "step2": 4}
    with pytest.raises(StudyError, match="6 GPUs of step2 cannot be shared by models of 4") as refused:
        replicas_of({"step1": 4, "step2": 6}, 4)
    assert GPUS_PER_MODEL in (refused.value.hint or "")
