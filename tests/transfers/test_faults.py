"""Transfers that are killed, cut off, stalled, or meet a full disk."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_suite.errors import CredentialNeeded, DeliveryError, HostError, HostUnreachable
from ml_suite.hosts import channel, mux
from ml_suite.stores import manifest
from ml_suite.stores.manifest import Manifest
from ml_suite.stores.transfer import upload_store
from ml_suite.transfers import session
from ml_suite.transfers.reading import WINDOW
from ml_suite.transfers.shards import Size
from tests.hosts.sshd_fixture import Sshd, signal_process
from tests.stores.conftest import BUCKET, RunningS3, fill
from tests.transfers.conftest import Delivery

PORTION = Size(bytes=4_000_000, files=400)
CHANNEL = 4 << 20
"""What ssh and the kernels may hold of a stream."""


@pytest.fixture(scope="session")
def many(s3_server: RunningS3, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Manifest]:
    """Two thousand small files and three large ones, 35 MB, in the object store once for all tests."""
    source = fill(tmp_path_factory.mktemp("source") / "x.zarr", small=2000, large=3)
    url, wanted = f"s3://{BUCKET}/thousands/x.zarr", manifest.build(source)
    upload_store(source, url, wanted, s3_server.connection)
    return source, url, wanted


@pytest.fixture
def thousands(many: tuple[Path, str, Manifest], sshd: Sshd, s3_server: RunningS3, tmp_path: Path) -> Delivery:
    return Delivery(sshd, s3_server, *many, tmp_path / "host" / "work" / "datasets")


def test_killed_again_and_again(thousands: Delivery) -> None:
    """Each run goes on where the one before was proved or at least unpacked; what was in the air is sent twice."""
    chance = random.Random(5)
    twice: list[int] = []
    killed_at = 0
    for _ in range(4):
        run = thousands.start(PORTION, slow=0.001)
        run.until(0)
        twice.append(killed_at - run.at)
        run.until(run.at + chance.randrange(2_000_000, 6_000_000))
        killed_at = run.at
        run.kill()
    last = thousands.start(PORTION)
    last.until(0)
    twice.append(killed_at - last.at)
    end = last.end()
    thousands.assert_right()
    assert end["objects"] < len(thousands.wanted.entries)
    print("sent twice after each kill:", twice[1:])
    # one of the large files, and what ssh and the kernels held of the small ones
    assert max(twice) < 9_000_002 + CHANNEL


def test_what_was_unpacked_before_a_kill_is_read_and_not_sent(thousands: Delivery) -> None:
    whole = Size(bytes=1 << 30, files=10_000)
    run = thousands.start(whole, slow=0.001)
    run.until(16_000_000)
    run.kill()
    deadline = time.monotonic() + 10
    sizes = -1
    while time.monotonic() < deadline and sizes != (now := size_of(thousands.part)):
        sizes = now
        time.sleep(0.3)
    end = thousands.start(whole).end()
    thousands.assert_right()
    assert end["bytes"] <= thousands.wanted.bytes - sizes + 9_000_002


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_connection_that_is_killed_in_mid_portion_is_opened_again(thousands: Delivery) -> None:
    run = thousands.start(PORTION, slow=0.001, pauses=(0.5, 1.0, 2.0))
    for done in (8_000_000, 18_000_000):
        run.until(done)
        for pid in thousands.sshd.sessions():
            signal_process(pid, signal.SIGKILL)
    run.end()
    thousands.assert_right()
    assert any("trying again" in line for line in run.said)
    assert thousands.sshd.connections >= 3


def test_an_ssh_that_is_killed_here_is_opened_again(thousands: Delivery) -> None:
    run = thousands.start(PORTION, slow=0.001, pauses=(0.5, 1.0, 2.0))
    run.until(15_000_000)
    holder = mux.master(thousands.sshd.way)
    assert holder
    os.kill(holder.pid, signal.SIGKILL)
    run.end()
    thousands.assert_right()


def test_a_line_that_takes_nothing_is_given_up(thousands: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half dead: nothing is refused and nothing moves. With nobody there the transfer ends, later it goes on."""
    monkeypatch.setattr(session, "STALLED", 1.5)
    monkeypatch.setattr(channel, "PROBE", 1.0)
    stopped: list[int] = []

    def stop(done: int, total: int) -> None:
        if done > 9_000_000 and not stopped:
            stopped.extend(thousands.sshd.sessions())
            for pid in stopped:
                signal_process(pid, signal.SIGSTOP)

    start = time.monotonic()
    # either end of the line may notice first: the one that sends, or a question that gets no answer
    with pytest.raises(HostError, match=r"took nothing for|was lost in a transfer"):
        thousands.run(PORTION, progress=stop)
    assert time.monotonic() - start < 60
    for pid in stopped:
        signal_process(pid, signal.SIGCONT)
    done = thousands.run(PORTION)
    assert done.objects < len(thousands.wanted.entries)
    thousands.assert_right()


def test_a_host_that_needs_a_person_ends_the_transfer_at_once(thousands: Delivery) -> None:
    def close(done: int, total: int) -> None:
        if done > 9_000_000 and thousands.sshd.process and thousands.sshd.sessions():
            thousands.sshd.keys("")
            for pid in thousands.sshd.sessions():
                signal_process(pid, signal.SIGKILL)

    start = time.monotonic()
    with pytest.raises(CredentialNeeded, match="refused the login"):
        thousands.run(PORTION, progress=close, pauses=(0.4, 60.0))
    assert time.monotonic() - start < 40
    thousands.sshd.keys((thousands.sshd.folder / "id.pub").read_text())
    mux.open_master(thousands.sshd.way, ask=lambda question: "yes")
    assert thousands.run(PORTION).objects < len(thousands.wanted.entries)
    thousands.assert_right()


def test_a_host_that_is_away_is_tried_a_few_times(delivery: Delivery) -> None:
    delivery.sshd.stop()
    with pytest.raises(HostUnreachable):
        delivery.run(pauses=(0.01, 0.01))
    delivery.sshd.start()
    delivery.sshd.way.file("attempts.json").unlink(missing_ok=True)
    delivery.run()
    delivery.assert_right()


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a small file system")
class TestFullDisk:
    """The host's folder is a small file system of its own, which only its sshd sees."""

    def small(self, delivery: Delivery, options: str) -> None:
        delivery.folder.mkdir(parents=True)
        delivery.sshd.stop()
        delivery.sshd.private = [f"mount -t tmpfs -o {options} none {delivery.folder}"]
        delivery.sshd.start()

    def at_host(self, delivery: Delivery, text: str) -> str:
        return channel.run(delivery.sshd.way, f"cd {delivery.folder} && {text}").out

    def test_a_disk_that_is_too_small_is_said_before_anything_is_sent(self, delivery: Delivery) -> None:
        self.small(delivery, "size=9m")
        with pytest.raises(DeliveryError, match=r"needs 17.* and the disk has 9.* it is full"):
            delivery.run()
        assert "x.zarr" not in self.at_host(delivery, "ls")

    def test_a_disk_that_fills_up_loses_nothing(self, delivery: Delivery) -> None:
        self.small(delivery, "size=100m,nr_inodes=130")
        with pytest.raises(DeliveryError, match="the disk is full or a quota is reached") as error:
            delivery.run()
        assert "what is there and right is kept" in (error.value.hint or "")
        assert "x.zarr.part" in self.at_host(delivery, "ls; test ! -e .x.zarr.transfer/lock")
        self.at_host(delivery, "mount -o remount,nr_inodes=1000 .")
        done = delivery.run()
        assert 0 < done.objects < 170
        assert self.at_host(delivery, "find x.zarr -type f | wc -l").strip() == str(
            len(delivery.wanted.entries)
        )
        assert delivery.run(full=True).objects == 0

    def test_no_room_even_for_a_folder(self, delivery: Delivery) -> None:
        self.small(delivery, "size=100m,nr_inodes=2")
        with pytest.raises(DeliveryError, match="the disk is full"):
            delivery.run()


def test_memory_is_bounded_and_nothing_lands_here(
    deliveries: Callable[[Path], Delivery], tmp_path: Path
) -> None:
    source = tmp_path / "source" / "x.zarr"
    source.mkdir(parents=True)
    for name in ("a", "b"):
        with (source / name).open("wb") as f:
            for _ in range(15):
                f.write(os.urandom(8 << 20))
    sent = deliveries(source)
    run = sent.start(Size(bytes=1 << 30, files=1000))
    watched: list[int] = []

    def watch() -> None:
        while run.process.poll() is None:
            watched.append(sum(1 for p in Path(f"/proc/{run.process.pid}/fd").glob("*") if is_file(p)))
            time.sleep(0.05)

    thread = threading.Thread(target=watch)
    thread.start()
    end = run.end()
    thread.join()
    sent.assert_right()
    assert end["bytes"] == 240 << 20
    assert end["memory"] < WINDOW + (150 << 20)
    assert end["written"] < 1 << 20


def is_file(descriptor: Path) -> bool:
    try:
        return descriptor.is_file() and descriptor.stat().st_size > 1 << 20
    except OSError:
        return False
