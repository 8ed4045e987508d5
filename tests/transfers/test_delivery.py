"""Datasets from a real object store to a host behind a real sshd."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_suite.errors import DeliveryError, HostError
from ml_suite.hosts import channel
from ml_suite.stores import manifest
from ml_suite.stores.manifest import Entry, Manifest
from ml_suite.stores.transfer import upload_store
from ml_suite.transfers import place
from ml_suite.transfers.delivery import lock_file
from tests.stores.conftest import BUCKET, fill
from tests.transfers.conftest import Delivery

TOOLS = """
awk base64 cat cut date df find ln mkdir mv readlink rm sed sh sha256sum sort stat sync tar touch wc xargs
"""


NAMES = [
    *["-rf", "a b/c d", "quote'\"s", "100%", "ü/日本", "$HOME", "`id`", "tilde~", " ", f"{'deep/' * 30}file"],
    *["x" * 200, "star*?[1]", "ends: FAILED", "ends: OK", "#hash", "semi;colon&"],
]


def flip(path: Path) -> None:
    """Change one bit; the size stays."""
    data = path.read_bytes()
    path.write_bytes(bytes([data[0] ^ 1]) + data[1:])


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


def test_a_right_dataset_costs_one_round_trip(delivery: Delivery) -> None:
    delivery.run()
    before, written = delivery.sshd.sessions_opened, (delivery.store / "large.0").stat().st_ctime_ns
    again = delivery.run()
    assert (again.objects, again.bytes, again.skipped) == (0, 0, len(delivery.wanted.entries))
    assert delivery.sshd.sessions_opened == before + 1
    assert delivery.sshd.connections == 1
    assert (delivery.store / "large.0").stat().st_ctime_ns == written
    delivery.assert_right()


def test_any_name_arrives(deliveries: Callable[[Path], Delivery], tmp_path: Path) -> None:
    source = tmp_path / "source" / "x.zarr"
    for name in NAMES:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "empty").touch()
    (source / "data").mkdir()
    (source / "data" / "empty too").touch()
    sent = deliveries(source)
    sent.run()
    sent.assert_right()
    for name in NAMES:
        flip(sent.store / name)
    assert sent.run(full=True).objects == len(NAMES)
    sent.assert_right()


def test_a_name_with_a_line_end_is_refused(delivery: Delivery) -> None:
    delivery.wanted = Manifest.of([*delivery.wanted.entries, Entry("two\nlines", 0, "e3b0")])
    with pytest.raises(DeliveryError, match="control character"):
        delivery.run()
    assert not delivery.folder.exists()


@pytest.mark.parametrize(
    "harm", [lambda path: path.write_bytes(b"cut off"), Path.unlink], ids=["cut", "lost"]
)
def test_a_file_of_wrong_size_is_sent_again_alone(delivery: Delivery, harm: Callable[[Path], object]) -> None:
    delivery.run()
    harm(delivery.store / "data" / "7.0.0.0")
    done = delivery.run()
    assert (done.objects, done.bytes) == (1, 4007)
    delivery.assert_right()


def test_a_damaged_file_of_the_right_size_is_found_when_all_is_read(delivery: Delivery) -> None:
    delivery.run()
    flip(delivery.store / "data" / "7.0.0.0")
    flip(delivery.store / "large.1")
    assert delivery.run().objects == 0
    done = delivery.run(full=True)
    assert (done.objects, done.bytes) == (2, 4007 + 9_000_001)
    delivery.assert_right()
    assert delivery.run(full=True).objects == 0
    delivery.assert_right()


def test_what_else_lies_in_a_right_dataset_is_left_alone_and_told(delivery: Delivery) -> None:
    delivery.run()
    (delivery.store / "notes.txt").write_text("mine")
    done = delivery.run()
    assert (done.objects, done.extra) == (0, ("notes.txt",))
    assert (delivery.store / "notes.txt").read_text() == "mine"
    assert not delivery.state.exists()


def test_a_copy_made_by_hand_is_read_and_not_sent(delivery: Delivery) -> None:
    shutil.copytree(delivery.source, delivery.store)
    flip(delivery.store / "data" / "9.0.0.0")
    done = delivery.run()
    assert (done.objects, done.bytes) == (1, 4009)
    delivery.assert_right()


def test_leftovers_of_other_content_do_not_get_in(delivery: Delivery, tmp_path: Path) -> None:
    fill(delivery.part, seed=2, small=300)
    (delivery.part / "data" / "1.0.0.0").unlink()
    (delivery.part / "data" / "1.0.0.0").symlink_to("/etc/hostname")
    delivery.state.mkdir(parents=True)
    (delivery.state / f"journal.{delivery.wanted.content_id[:12]}").write_text(
        "+ 0-100 0123456789abcdef .\n+ 9999999 0 .\nnonsense\n+ 0-"
    )
    done = delivery.run()
    delivery.assert_right()
    # the same bytes in both, by accident of the generator: none but the metadata
    assert done.objects >= len(delivery.wanted.entries) - 2


def test_a_new_version_replaces_the_old_one(own: Delivery) -> None:
    own.run()
    flip(own.source / "data" / "3.0.0.0")
    (own.source / "data" / "4.0.0.0").unlink()
    own.wanted = manifest.build(own.source)
    upload_store(own.source, own.url, own.wanted, own.s3.connection)
    assert own.run().objects == 1
    own.assert_right()


@pytest.mark.parametrize(
    ("key", "harm"),
    [("data/3.0.0.0", "flip"), ("data/3.0.0.0", "delete"), ("large.1", "flip"), ("large.1", "cut")],
)
def test_damage_in_the_object_store_is_named_and_the_rest_is_kept(own: Delivery, key: str, harm: str) -> None:
    where, admin = f"{own.location.key}/{key}", own.s3.admin
    data = admin.get_object(Bucket=BUCKET, Key=where)["Body"].read()
    if harm == "delete":
        admin.delete_object(Bucket=BUCKET, Key=where)
    else:
        body = data[:-5] if harm == "cut" else bytes([data[0] ^ 1]) + data[1:]
        admin.put_object(Bucket=BUCKET, Key=where, Body=body)
    with pytest.raises(DeliveryError, match=f"1 objects are missing or damaged in the object store: {key}"):
        own.run()
    assert not own.store.exists()
    assert not os.path.lexists(own.state / "lock")
    admin.put_object(Bucket=BUCKET, Key=where, Body=data)
    done = own.run()
    assert (done.objects, done.bytes) == (1, len(data))
    own.assert_right()


def test_a_folder_that_cannot_be_written_is_said(delivery: Delivery) -> None:
    delivery.folder.parent.mkdir(parents=True)
    delivery.folder.write_text("a file")
    with pytest.raises(HostError, match="datasets"):
        delivery.run()


def test_two_transfers_of_one_installation_exclude_each_other(delivery: Delivery) -> None:
    first = delivery.start(slow=0.02)
    first.until(1)
    try:
        with pytest.raises(DeliveryError, match="another transfer of this store is running"):
            delivery.run()
    finally:
        done = first.end()
    assert done["objects"] == len(delivery.wanted.entries)
    delivery.assert_right()


def test_two_machines_exclude_each_other(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    first = delivery.start(slow=0.02)
    first.until(1)
    monkeypatch.setattr(place, "machine", lambda: "otherhost-0-12345678")
    monkeypatch.setattr("ml_suite.transfers.delivery.lock_file", lambda t: lock_file(t).with_suffix(".other"))
    try:
        with pytest.raises(
            DeliveryError, match=r"another transfer is writing there .* last sign of life \d+ s ago"
        ):
            delivery.run()
    finally:
        first.end()
    delivery.assert_right()


def test_a_dead_lock_is_broken_and_its_owner_notices(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = delivery.start(slow=0.05)
    first.until(1)
    first.process.send_signal(signal.SIGSTOP)
    time.sleep(0.5)  # the host proves what it has of it
    os.utime(delivery.state / "lock", (1, 1), follow_symlinks=False)
    monkeypatch.setattr(place, "machine", lambda: "otherhost-0-12345678")
    monkeypatch.setattr("ml_suite.transfers.delivery.lock_file", lambda t: lock_file(t).with_suffix(".other"))
    monkeypatch.setattr("ml_suite.transfers.scripts.STALE", 1000)
    delivery.run()
    delivery.assert_right()
    first.process.send_signal(signal.SIGCONT)
    out, _ = first.process.communicate(timeout=60)
    said = [line for line in out.splitlines() if line.startswith("error")]
    assert said, out[-300:]
    assert "another transfer took this one's place" in said[0]
    # what it still had on its way is removed by the next look
    assert delivery.run().objects == 0
    delivery.assert_right()


def test_everything_works_with_busybox(delivery: Delivery, tmp_path: Path) -> None:
    """The least that a host may have."""
    busybox = shutil.which("busybox")
    if not busybox:
        pytest.fail("busybox is missing; run: apt-get install busybox")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS.split():
        (tools / name).symlink_to(busybox)
    delivery.sshd.stop()
    delivery.sshd.options = [f"SetEnv PATH={tools}"]
    delivery.sshd.start()
    assert "BusyBox" in channel.run(delivery.sshd.way, ["tar", "--help"]).err
    delivery.run()
    delivery.assert_right()
    flip(delivery.store / "large.0")
    (delivery.store / "data" / "2.0.0.0").unlink()
    assert delivery.run(full=True).objects == 2
    delivery.assert_right()
    assert delivery.run().objects == 0
