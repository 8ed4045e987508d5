from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_suite.errors import DeliveryError
from ml_suite.stores import manifest
from ml_suite.stores.connections import S3, Catalogue, Connections, Mlflow
from ml_suite.stores.manifest import Manifest
from ml_suite.stores.transfer import Verify, download_store, upload_store

from .conftest import BUCKET, RunningS3, fill


def _key(url: str) -> str:
    return url.removeprefix(f"s3://{BUCKET}/")


def _flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def _damage(s3: RunningS3, key: str) -> None:
    """Change one bit and keep the size."""
    data = s3.admin.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    s3.admin.put_object(Bucket=BUCKET, Key=key, Body=_flip(data))


def test_store_goes_and_comes_back(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    up = upload_store(store, url, wanted, s3.connection, lambda *x: told.append(x))
    assert (up.objects, up.bytes, up.skipped, up.extra) == (len(wanted.entries), wanted.bytes, 0, ())
    assert told[-1] == (wanted.bytes, wanted.bytes)
    target = tmp_path / "there" / "x.zarr"
    down = download_store(url, target, wanted, s3.connection, lambda *x: told.append(x))
    assert (down.objects, down.bytes, down.skipped) == (len(wanted.entries), wanted.bytes, 0)
    assert manifest.build(target) == wanted
    assert manifest.load(manifest.path_for(target)) == wanted
    assert told[-1] == (wanted.bytes, wanted.bytes)
    assert not target.with_name("x.zarr.part").exists()


def test_again_moves_nothing(s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path) -> None:
    upload_store(store, url, wanted, s3.connection)
    before = s3.objects(_key(url))
    again = upload_store(store, url, wanted, s3.connection)
    assert (again.objects, again.bytes, again.skipped) == (0, 0, len(wanted.entries))
    assert s3.objects(_key(url)) == before
    download_store(url, tmp_path / "there" / "x.zarr", None, s3.connection)
    again = download_store(url, tmp_path / "there" / "x.zarr", None, s3.connection)
    assert (again.objects, again.bytes, again.skipped) == (0, 0, len(wanted.entries))


@pytest.mark.parametrize("key", ["data/3.0.0.0", "large.1"])
@pytest.mark.parametrize("journal", [True, False], ids=["journal", "journal lost"])
def test_damaged_object_of_the_right_size_is_found_and_replaced(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path, key: str, journal: bool
) -> None:
    upload_store(store, url, wanted, s3.connection)
    _damage(s3, f"{_key(url)}/{key}")
    target = tmp_path / "there" / "x.zarr"
    with pytest.raises(DeliveryError, match=f"1 objects are missing or damaged: {key}"):
        download_store(url, target, wanted, s3.connection)
    assert not target.exists()
    if not journal:
        for path in store.parent.glob(".x.zarr.upload-*.jsonl"):
            path.unlink()
    repaired = upload_store(store, url, wanted, s3.connection)
    assert (repaired.objects, repaired.bytes) == (1, wanted.by_key[key].size)
    fetched = download_store(url, target, wanted, s3.connection)
    assert (fetched.objects, fetched.bytes) == (1, wanted.by_key[key].size)
    assert manifest.build(target) == wanted


def test_verify_all_reads_everything_again(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_store(store, url, wanted, s3.connection)
    _damage(s3, f"{_key(url)}/data/3.0.0.0")
    # as if the disk of the server had rotted: the listing says what it said before
    monkeypatch.setattr("ml_suite.stores.journal.Journal.believes", lambda self, entry, remote: True)
    assert upload_store(store, url, wanted, s3.connection).objects == 0
    assert upload_store(store, url, wanted, s3.connection, verify=Verify.ALL).objects == 1


def test_truncated_missing_and_extra_objects(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path
) -> None:
    upload_store(store, url, wanted, s3.connection)
    key = _key(url)
    s3.admin.put_object(Bucket=BUCKET, Key=f"{key}/data/1.0.0.0", Body=b"short")
    s3.admin.delete_object(Bucket=BUCKET, Key=f"{key}/data/2.0.0.0")
    s3.admin.put_object(Bucket=BUCKET, Key=f"{key}/somebody's", Body=b"keep me")
    s3.admin.put_object(Bucket=BUCKET, Key=f"{key}2/neighbour", Body=b"keep me")
    with pytest.raises(DeliveryError, match=r"2 objects are missing or damaged: data/1\.0\.0\.0, data/2"):
        download_store(url, tmp_path / "there" / "x.zarr", wanted, s3.connection)
    repaired = upload_store(store, url, wanted, s3.connection)
    assert (repaired.objects, repaired.extra) == (2, ("somebody's",))
    assert "/neighbour" in s3.objects(f"{key}2")
    download_store(url, tmp_path / "there" / "x.zarr", wanted, s3.connection)
    assert not (tmp_path / "there" / "x.zarr" / "somebody's").exists()


def test_other_content_under_the_same_name(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path
) -> None:
    upload_store(store, url, wanted, s3.connection)
    s3.admin.put_object(Bucket=BUCKET, Key=f"{_key(url)}/somebody's", Body=b"keep me")
    newer = fill(tmp_path / "newer" / "x.zarr", seed=2, small=50, large=1)
    with pytest.raises(DeliveryError, match="holds other content already"):
        upload_store(newer, url, manifest.build(newer), s3.connection, replace=False)
    assert download_store(url, tmp_path / "there" / "x.zarr", wanted, s3.connection).skipped == 0
    done = upload_store(newer, url, manifest.build(newer), s3.connection)
    assert done.extra == ("somebody's",)  # what the older manifest named is gone, by name
    with pytest.raises(DeliveryError, match="wanted is"):
        download_store(url, tmp_path / "there" / "x.zarr", wanted, s3.connection)
    download_store(url, tmp_path / "there" / "x.zarr", None, s3.connection)
    assert manifest.build(tmp_path / "there" / "x.zarr") == manifest.build(newer)


def test_unfinished_upload_cannot_be_downloaded(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path
) -> None:
    upload_store(store, url, wanted, s3.connection)
    s3.admin.delete_object(Bucket=BUCKET, Key=_key(url) + ".manifest.jsonl")
    with pytest.raises(DeliveryError, match="not there or not complete"):
        download_store(url, tmp_path / "there" / "x.zarr", None, s3.connection)


def test_damage_on_disk_is_repaired(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path
) -> None:
    upload_store(store, url, wanted, s3.connection)
    target = tmp_path / "there" / "x.zarr"
    download_store(url, target, wanted, s3.connection)
    for key in ("data/5.0.0.0", "large.0"):
        (target / key).write_bytes(_flip((target / key).read_bytes()))
    (target / "stray").write_text("?")
    repaired = download_store(url, target, wanted, s3.connection)
    assert repaired.objects == 2
    assert manifest.build(target) == wanted


def test_folder_that_is_not_its_manifest_is_not_sent(
    s3: RunningS3, store: Path, wanted: Manifest, url: str
) -> None:
    chunk = store / "data/9.0.0.0"
    right = chunk.read_bytes()
    chunk.write_bytes(_flip(right))
    with pytest.raises(DeliveryError, match=r"data/9\.0\.0\.0 changed"):
        upload_store(store, url, wanted, s3.connection)
    chunk.unlink()
    with pytest.raises(DeliveryError, match=r"data/9\.0\.0\.0 is missing"):
        upload_store(store, url, wanted, s3.connection)
    chunk.write_bytes(right)
    upload_store(store, url, wanted, s3.connection)


def test_second_transfer_at_the_same_time_is_refused(
    s3: RunningS3, store: Path, wanted: Manifest, url: str
) -> None:
    def once_more(done: int, total: int) -> None:
        with pytest.raises(DeliveryError, match="another transfer"):
            upload_store(store, url, wanted, s3.connection)

    upload_store(store, url, wanted, s3.connection, once_more)


def test_wrong_secret_is_refused(
    s3: RunningS3, wrong_secret: S3, store: Path, wanted: Manifest, url: str
) -> None:
    with pytest.raises(DeliveryError, match="refused the credentials"):
        upload_store(store, url, wanted, wrong_secret)
    assert s3.objects(_key(url)) == {}


# faults ------------------------------------------------------------------------------------------------------

_RUN = """
import sys, pathlib
from ml_suite.stores import manifest
from ml_suite.stores.connections import Connections
from ml_suite.stores.transfer import upload_store, download_store
direction, folder, url, connections = sys.argv[1:]
def progress(done, total):
    print(done, flush=True)
s3 = Connections.load(pathlib.Path(connections)).s3
import ml_suite.stores.streams as streams
streams._TELL_EVERY = 0.0
if direction == "up":
    store = pathlib.Path(folder)
    done = upload_store(store, url, manifest.load(manifest.path_for(store)), s3, progress)
else:
    done = download_store(url, pathlib.Path(folder), None, s3, progress)
print("moved", done.bytes, flush=True)
"""


@pytest.fixture
def connections(s3: RunningS3, tmp_path: Path) -> Path:
    path = tmp_path / "connections.json"
    nobody = "http://127.0.0.1:1"
    Connections(
        s3=s3.connection,
        mlflow=Mlflow(url=nobody),
        catalogue=Catalogue(url=nobody, token="x"),  # type: ignore[arg-type]
    ).save(path)
    return path


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, Manifest]:
    """A store that takes a moment."""
    store = fill(tmp_path / "x.zarr", small=500, large=4)
    wanted = manifest.build(store)
    wanted.save(manifest.path_for(store))
    return store, wanted


def _start(direction: str, folder: Path, url: str, connections: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _RUN, direction, str(folder), url, str(connections)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _lines(process: subprocess.Popen[str]) -> Iterator[int]:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("moved"):
            return
        yield int(line)


def _kill_at(process: subprocess.Popen[str], size: int) -> int:
    """Kill -9 when SIZE bytes are done; return how many were."""
    done = 0
    for done in _lines(process):
        if done >= size:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert done >= size, "it ended before it could be killed"
    return done


@pytest.mark.parametrize("share", [0.4, 0.995])
def test_killed_upload_resumes(
    s3: RunningS3, many: tuple[Path, Manifest], url: str, connections: Path, tmp_path: Path, share: float
) -> None:
    store, wanted = many
    done = _kill_at(_start("up", store, url, connections), int(wanted.bytes * share))
    with pytest.raises(DeliveryError, match="not complete"):
        download_store(url, tmp_path / "there" / "x.zarr", None, s3.connection)
    resumed = upload_store(store, url, wanted, s3.connection)
    assert resumed.bytes <= wanted.bytes - done
    download_store(url, tmp_path / "there" / "x.zarr", wanted, s3.connection)
    assert manifest.build(tmp_path / "there" / "x.zarr") == wanted


@pytest.mark.parametrize("share", [0.4, 0.995])
def test_killed_download_resumes(
    s3: RunningS3, many: tuple[Path, Manifest], url: str, connections: Path, tmp_path: Path, share: float
) -> None:
    store, wanted = many
    upload_store(store, url, wanted, s3.connection)
    target = tmp_path / "there" / "x.zarr"
    done = _kill_at(_start("down", target, url, connections), int(wanted.bytes * share))
    assert not target.exists()
    resumed = download_store(url, target, wanted, s3.connection)
    assert resumed.bytes <= wanted.bytes - done
    assert manifest.build(target) == wanted


def test_large_object_goes_on_where_it_was_killed(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path
) -> None:
    upload_store(store, url, wanted, s3.connection)
    target = tmp_path / "there" / "x.zarr"
    entry = wanted.by_key["large.0"]
    begun = target.with_name("x.zarr.part") / f".{entry.sha256[:16]}.beginning"
    begun.parent.mkdir(parents=True)
    begun.write_bytes((store / "large.0").read_bytes()[:5_000_000])
    assert download_store(url, target, wanted, s3.connection).bytes == wanted.bytes - 5_000_000
    assert manifest.build(target) == wanted


def test_beginning_of_something_else_is_fetched_anew(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path
) -> None:
    upload_store(store, url, wanted, s3.connection)
    target = tmp_path / "there" / "x.zarr"
    entry = wanted.by_key["large.0"]
    begun = target.with_name("x.zarr.part") / f".{entry.sha256[:16]}.beginning"
    begun.parent.mkdir(parents=True)
    begun.write_bytes(b"?" * 5_000_000)
    download_store(url, target, wanted, s3.connection)
    assert manifest.build(target) == wanted


def test_killed_server_is_said_and_the_upload_resumes(
    s3: RunningS3, many: tuple[Path, Manifest], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    store, wanted = many
    monkeypatch.setattr("ml_suite.stores.s3.open_bucket.__defaults__", (timedelta(seconds=2),))
    monkeypatch.setattr("ml_suite.stores.streams._TELL_EVERY", 0.0)
    reached: list[int] = []

    def kill_half_way(done: int, total: int) -> None:
        if done > total * 0.5 and not reached:
            reached.append(done)
            s3.kill()

    begun = time.monotonic()
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1"):
        upload_store(store, url, wanted, s3.connection, kill_half_way)
    assert time.monotonic() - begun < 60
    s3.start()
    resumed = upload_store(store, url, wanted, s3.connection)
    assert 0 < resumed.bytes <= wanted.bytes - reached[0]
    download_store(url, tmp_path / "there" / "x.zarr", wanted, s3.connection)
    assert manifest.build(tmp_path / "there" / "x.zarr") == wanted


def test_full_disk_is_said_before_and_during_the_download(
    s3: RunningS3, store: Path, wanted: Manifest, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload_store(store, url, wanted, s3.connection)
    if os.geteuid() != 0:
        pytest.fail("needs root, to mount a small file system")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)], check=True)
    try:
        target = small / "x.zarr"
        with pytest.raises(DeliveryError, match="it is full"):
            download_store(url, target, wanted, s3.connection)
        monkeypatch.setattr("ml_suite.stores.download._check_room", lambda part, needed: None)
        with pytest.raises(DeliveryError, match="the disk is full") as caught:
            download_store(url, target, wanted, s3.connection)
        assert "run the task again" in str(caught.value)
        assert not target.exists()
        subprocess.run(["mount", "-o", "remount,size=60m", str(small)], check=True)
        download_store(url, target, wanted, s3.connection)
        assert manifest.build(target) == wanted
    finally:
        subprocess.run(["umount", str(small)], check=True)
