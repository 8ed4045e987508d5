"""Datasets from a real object store to a host behind a real sshd."""

from __future__ import annotations

from tests.transfers.conftest import Delivery


def test_a_dataset_arrives_and_is_proved(delivery: Delivery) -> None:
    done = delivery.run()
    delivery.assert_right()
    assert (done.objects, done.bytes, done.skipped) == (
        len(delivery.wanted.entries),
        delivery.wanted.bytes,
        0,
    )
    assert delivery.told[-1] == (delivery.wanted.bytes, delivery.wanted.bytes)
    assert [x for x, _ in delivery.told] == sorted(x for x, _ in delivery.told)
