"""Learning rate and batch size on another number of replicas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.errors import StudyError
from ml_suite.study.contract import Layout
from ml_suite.study.scaling import scale
from ml_suite.trainers.schedule import steps


@given(st.floats(1e-8, 1.0), st.integers(1, 64), st.integers(1, 16), st.integers(1, 16), st.integers(1, 4))
def test_what_the_optimiser_sees_does_not_change(
    lr: float, batch: int, reference: int, replicas: int, accumulate: int
) -> None:
    try:
        scaled = scale(lr, batch, Layout(replicas=replicas, reference=reference), accumulate)
    except StudyError:
        assert (batch * reference) % replicas
        return
    assert scaled.lr * replicas == pytest.approx(lr * reference, rel=1e-12)
    assert scaled.batch * replicas == batch * reference
    assert scaled.effective_lr == lr * reference
    assert scaled.global_batch == batch * reference * accumulate


@given(st.floats(1e-8, 1.0), st.integers(1, 7))
def test_the_same_layout_changes_no_bit(lr: float, replicas: int) -> None:
    assert scale(lr, 4, Layout(replicas=replicas, reference=replicas)).lr == lr


def test_a_batch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(StudyError, match=r"a batch of 4 samples .* cannot be shared by 3 replicas"):
        scale(1e-3, 4, Layout(replicas=3, reference=1))


def test_steps_of_the_storm() -> None:
    assert steps(39, epochs=2, batch=4) == 20
    assert steps(10, epochs=2, batch=4) == 6


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"replicas": 2}, 5),  # 19 each, the odd one left out
        ({"workers": 2}, 10),  # 20 and 19, each in batches of its own
        ({"workers": 4}, 12),  # 10 10 10 9
        ({"accumulate": 4}, 3),
        ({"limit": 3}, 3),
        ({"limit": 0.5}, 5),
        ({"limit": 1.0}, 10),
    ],
)
def test_steps_of_an_epoch(arguments: dict[str, int], expected: int) -> None:
    assert steps(39, epochs=1, batch=4, **arguments) == expected
