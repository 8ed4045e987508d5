from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ml_suite.errors import DeliveryError
from ml_suite.stores import s3 as client
from ml_suite.stores.connections import S3

from .conftest import BUCKET, RunningS3


@pytest.mark.parametrize("size", [0, 5, 20_000_001], ids=["empty", "small", "parts"])
def test_file_goes_and_comes_back(s3: RunningS3, tmp_path: Path, size: int) -> None:
    source = tmp_path / "model.ckpt"
    source.write_bytes(bytes(i % 251 for i in range(1000)) * (size // 1000) + b"x" * (size % 1000))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    url = f"s3://{BUCKET}/{tmp_path.name}/model.ckpt"
    assert client.head(url, s3.connection) is None
    assert client.put_file(source, url, s3.connection) == (digest, size)
    there = client.head(url, s3.connection)
    assert there is not None
    assert (there.sha256, there.size) == (digest, size)
    target = tmp_path / "got" / "model.ckpt"
    assert client.get_file(url, target, s3.connection) == (digest, size)
    assert target.read_bytes() == source.read_bytes()


def test_put_again_sends_nothing(s3: RunningS3, tmp_path: Path) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"12345")
    url = f"s3://{BUCKET}/{tmp_path.name}/a"
    client.put_file(source, url, s3.connection)
    first = s3.admin.head_object(Bucket=BUCKET, Key=f"{tmp_path.name}/a")["LastModified"]
    client.put_file(source, url, s3.connection)
    assert s3.admin.head_object(Bucket=BUCKET, Key=f"{tmp_path.name}/a")["LastModified"] == first


def test_damaged_object_of_the_right_size(s3: RunningS3, tmp_path: Path) -> None:
    source, target = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"12345")
    key = f"{tmp_path.name}/a"
    digest, _ = client.put_file(source, f"s3://{BUCKET}/{key}", s3.connection)
    s3.admin.put_object(Bucket=BUCKET, Key=key, Body=b"12x45", Metadata={"sha256": digest})
    for expected in (None, digest):
        with pytest.raises(DeliveryError, match="has sha256"):
            client.get_file(f"s3://{BUCKET}/{key}", target, s3.connection, sha256=expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a"]
    client.put_file(source, f"s3://{BUCKET}/{key}", s3.connection)
    assert client.get_file(f"s3://{BUCKET}/{key}", target, s3.connection)[0] == digest


@pytest.mark.parametrize("size", [10, 20_000_000], ids=["whole", "parts"])
def test_file_that_changes_under_the_upload_never_appears(s3: RunningS3, tmp_path: Path, size: int) -> None:
    source = tmp_path / "a"
    source.write_bytes(b"x" * size)
    bucket = client.open_bucket(BUCKET, s3.connection)
    with pytest.raises(DeliveryError, match="changed since"):
        client.send(bucket, source, f"{tmp_path.name}/a", "0" * 64)
    assert client.head(f"s3://{BUCKET}/{tmp_path.name}/a", s3.connection) is None


def test_what_is_not_there(s3: RunningS3, tmp_path: Path) -> None:
    with pytest.raises(DeliveryError, match="does not exist"):
        client.get_file(f"s3://{BUCKET}/nothing", tmp_path / "a", s3.connection)
    with pytest.raises(DeliveryError, match=r"is gone|No such file"):
        client.put_file(tmp_path / "nothing", f"s3://{BUCKET}/a", s3.connection)
    (tmp_path / "a").write_text("a")
    with pytest.raises(DeliveryError, match=r"NoSuchBucket|no such bucket"):
        client.put_file(tmp_path / "a", "s3://no-such-bucket-here/a", s3.connection)


def test_wrong_secret_is_refused(s3: RunningS3, wrong_secret: S3, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    key = f"s3://{BUCKET}/{tmp_path.name}/a"
    with pytest.raises(DeliveryError, match="refused the credentials") as caught:
        client.put_file(tmp_path / "a", key, wrong_secret)
    assert "connections.json" in str(caught.value)
    assert "ffff" not in str(caught.value)
    assert client.head(key, s3.connection) is None


def test_shell_variables_do_not_matter(
    s3: RunningS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "somebody else's")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody else's")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    (tmp_path / "a").write_text("a")
    assert client.put_file(tmp_path / "a", f"s3://{BUCKET}/{tmp_path.name}/a", s3.connection)[1] == 1


def test_unreachable_server_is_said_in_time(
    free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("a")
    nobody = S3(endpoint=f"http://127.0.0.1:{free_port}", access_key_id="a", secret_access_key="b")  # type: ignore[arg-type]
    with pytest.raises(DeliveryError, match="Connection refused") as caught:
        client.put_file(tmp_path / "a", f"s3://{BUCKET}/a", nobody)
    assert caught.value.hint is not None
    assert "services status" in caught.value.hint


@pytest.mark.parametrize("url", ["http://a/b", "s3://bucket", "s3:///key", "bucket/key", "s3://b/k?x=1"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(DeliveryError, match="not an S3 address"):
        client.Location.parse(url)
