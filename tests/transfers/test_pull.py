"""The host fetches by itself, with a real curl."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ml_suite.errors import DeliveryError
from ml_suite.transfers.pull import Pull
from tests.hosts.sshd_fixture import descendants
from tests.stores.conftest import BUCKET, fill
from tests.transfers.conftest import SMALL, Delivery
from tests.transfers.test_delivery import NAMES, TOOLS, flip


def pull(delivery: Delivery, endpoint: str | None = None) -> Pull:
    return Pull(delivery.location, delivery.s3.connection, endpoint, SMALL)


def test_a_dataset_is_fetched_and_proved(delivery: Delivery) -> None:
    done = delivery.run(carrier=pull(delivery))
    delivery.assert_right()
    assert (done.objects, done.bytes) == (len(delivery.wanted.entries), delivery.wanted.bytes)
    assert delivery.told[-1] == (delivery.wanted.bytes, delivery.wanted.bytes)
    flip(delivery.store / "large.0")
    (delivery.store / "data" / "2.0.0.0").unlink()
    assert delivery.run(carrier=pull(delivery), full=True).objects == 2
    delivery.assert_right()


def test_one_way_goes_on_where_the_other_stopped(delivery: Delivery) -> None:
    run = delivery.start(slow=0.02)
    run.until(11_000_000)
    run.kill()
    done = delivery.run(carrier=pull(delivery))
    assert done.bytes < delivery.wanted.bytes - 1_000_000
    delivery.assert_right()


def test_any_name_is_fetched(deliveries: Callable[[Path], Delivery], tmp_path: Path) -> None:
    source = tmp_path / "source" / "x.zarr"
    for name in NAMES:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / "empty").touch()
    sent = deliveries(source)
    sent.run(carrier=pull(sent))
    sent.assert_right()


def test_no_address_and_no_key_is_seen_anywhere(
    deliveries: Callable[[Path], Delivery], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sent = deliveries(fill(tmp_path / "source" / "x.zarr", small=300, large=4))
    seen: list[str] = []
    programs: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            for pid in descendants(os.getpid()):
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                    words += Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if words.partition("\0")[0].endswith("weed"):
                    continue  # the server itself
                programs.add(words.partition("\0")[0])
                seen.append(words)
            with contextlib.suppress(OSError):
                seen.extend(
                    path.read_text(errors="replace") for path in sent.state.iterdir() if path.is_file()
                )

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        sent.run(carrier=pull(sent))
        sent.s3.admin.delete_object(Bucket=BUCKET, Key=f"{sent.location.key}/data/1.0.0.0")
        (sent.store / "data" / "1.0.0.0").unlink()
        with pytest.raises(DeliveryError) as error:
            sent.run(carrier=pull(sent))
    finally:
        over.set()
        thread.join()
    assert "curl" in programs
    out, err = capfd.readouterr()
    logs = [
        path.read_text(errors="replace") for path in tmp_path.rglob("*") if path.suffix in (".log", ".json")
    ]
    secret = sent.s3.connection.secret_access_key.get_secret_value()
    for text in (*seen, *logs, out, err, str(error.value)):
        assert "X-Amz" not in text
        assert secret not in text
        assert sent.s3.connection.access_key_id not in text


@pytest.mark.parametrize(("key", "harm"), [("data/3.0.0.0", "delete"), ("large.1", "flip")])
def test_damage_in_the_object_store_is_named(own: Delivery, key: str, harm: str) -> None:
    where, admin = f"{own.location.key}/{key}", own.s3.admin
    data = admin.get_object(Bucket=BUCKET, Key=where)["Body"].read()
    if harm == "delete":
        admin.delete_object(Bucket=BUCKET, Key=where)
    else:
        admin.put_object(Bucket=BUCKET, Key=where, Body=bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(DeliveryError, match=f"1 objects are missing or damaged in the object store: {key}"):
        own.run(carrier=pull(own))
    admin.put_object(Bucket=BUCKET, Key=where, Body=data)
    assert own.run(carrier=pull(own)).objects == 1
    own.assert_right()


def test_a_host_that_does_not_reach_the_object_store_says_so_at_once(delivery: Delivery) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(
            DeliveryError, match=rf"bighost cannot fetch from {endpoint}: .*curl: \(7\)"
        ) as error:
            delivery.run(carrier=pull(delivery, endpoint))
    assert "transfer: stream" in (error.value.hint or "")
    delivery.run()
    delivery.assert_right()


def test_a_host_without_curl_says_so(delivery: Delivery, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in (*TOOLS.split(), "grep", "gunzip"):
        (tools / name).symlink_to("/bin/busybox")
    delivery.sshd.stop()
    delivery.sshd.options = [f"SetEnv PATH={tools}"]
    delivery.sshd.start()
    with pytest.raises(DeliveryError, match="cannot fetch by itself: there is no curl"):
        delivery.run(carrier=pull(delivery))
