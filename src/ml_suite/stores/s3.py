"""One S3 endpoint: open a bucket, put and get single files, and say plainly what went wrong.

The engine is obstore, the same library that Anemoi uses; it works with SeaweedFS, Ceph RGW and AWS alike.
ETags are never used as checksums: they depend on the part size, and Ceph 16 stores no S3 checksums at all.
"""

from __future__ import annotations

import errno
import hashlib
import ipaddress
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from ml_suite.errors import DeliveryError
from ml_suite.quantities import format_bytes
from ml_suite.stores.connections import S3

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential, S3Store

PART = 8 << 20
"""Files above this size are streamed, in parts of this size."""
RETRY = timedelta(seconds=20)
"""How long a server may be away before a transfer gives up; a transfer that gave up resumes."""
DIGEST = "sha256"
"""Name of the object metadata that holds the checksum."""


class Hash(Protocol):
    """What hashlib's objects do."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add data."""

    def hexdigest(self) -> str:
        """Digest so far."""


@dataclass(frozen=True)
class Location:
    """An S3 address taken apart."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, url: str) -> Location:
        """Read ``s3://bucket/key``.

        Raises
        ------
        DeliveryError
            If it is something else.
        """
        parts = urlsplit(url)
        key = parts.path.strip("/")
        if parts.scheme != "s3" or not parts.netloc or not key or parts.query or parts.fragment:
            raise DeliveryError(f"{url!r} is not an S3 address", "Write it as s3://bucket/key.")
        return cls(parts.netloc, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True)
class ObjectHead:
    """What a server says about an object without sending it."""

    size: int
    etag: str | None
    last_modified: datetime
    sha256: str | None


def open_bucket(bucket: str, connection: S3, retry: timedelta = RETRY) -> S3Store:
    """Prepare to talk to a bucket; nothing is sent yet."""
    from obstore.store import S3Store

    def credentials() -> S3Credential:
        secret = connection.secret_access_key.get_secret_value()
        return {
            "access_key_id": connection.access_key_id,
            "secret_access_key": secret,
            "token": None,
            "expires_at": None,
        }

    return S3Store(
        bucket,
        endpoint=connection.endpoint,
        region=connection.region,
        virtual_hosted_style_request=False,
        # explicit, so that no AWS_* variable of the shell adds a session token or another identity
        credential_provider=credentials,
        client_options=_client_options(connection.endpoint),
        retry_config={"max_retries": 12, "retry_timeout": retry},
    )


def _client_options(endpoint: str) -> ClientConfig:
    host = urlsplit(endpoint).hostname or ""
    options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": "10s",
        # a stalled connection is noticed, a long one is not cut
        "read_timeout": "120s",
        "timeout": "1d",
    }
    if _is_loopback(host):
        # a proxy that the shell names must not be asked for an address of this machine
        options |= {"proxy_url": "http://127.0.0.1:9", "proxy_excludes": host}
    return options


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def told(what: str, connection: S3) -> Iterator[None]:
    """Turn what obstore and the disk raise into a `DeliveryError` that says what to do."""
    from obstore.exceptions import BaseError

    try:
        yield
    except DeliveryError:
        raise
    except FileNotFoundError as error:
        if error.errno is not None:
            raise DeliveryError(f"{what}: {error.filename} is gone") from error
        message = f"{what}: no such bucket or object on {connection.endpoint}"
        raise DeliveryError(message, "Look at the address, or run: ml-suite services up") from error
    except BaseError as error:
        raise _explain(error, what, connection) from error
    except OSError as error:
        raise disk_error(error, what) from error


def _explain(error: Exception, what: str, connection: S3) -> DeliveryError:
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    name = type(error).__name__
    if name in ("PermissionDeniedError", "UnauthenticatedError") or (code and code[1] in _DENIED):
        message = f"{what}: {connection.endpoint} refused the credentials" + (f" ({code[1]})" if code else "")
        return DeliveryError(message, "Look at s3 in connections.json; ml-suite services up writes it.")
    if code:
        return DeliveryError(f"{what}: {connection.endpoint} answered {code[1]}")
    hint = "Is it running? ml-suite services status; then run the task again, it resumes."
    cause = next((word for word in _CAUSES if word.lower() in text.lower()), "no usable answer")
    return DeliveryError(f"{what}: {connection.endpoint}: {cause}", hint)


_DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
_CAUSES = (
    "Connection refused",
    "dns error",
    "timed out",
    "Connection reset",
    "connection closed",
    "error sending",
)


def disk_error(error: OSError, what: str) -> DeliveryError:
    """Say what the file system said, with advice when it is full."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "Make room and run the task again: what is there and right is kept."
        return DeliveryError(f"{what}: the disk is full or a quota is reached ({error.strerror})", hint)
    return DeliveryError(f"{what}: {error.filename or 'the disk'}: {error.strerror or error}")


def put_file(path: Path, url: str, connection: S3) -> tuple[str, int]:
    """Upload one file, read it back, and return its sha256 and size in bytes.

    Safe to repeat: an object that is there already, with the right bytes, is read but not sent again.

    Raises
    ------
    DeliveryError
        If the file or the server cannot be read, or the server kept other bytes.
    """
    from ml_suite.stores.manifest import entry_of

    where = Location.parse(url)
    with told(f"upload of {path.name} to {url}", connection):
        entry = entry_of(path.parent, path.name)
        store = open_bucket(where.bucket, connection)
        there = head(url, connection)
        if (
            there is None
            or there.size != entry.size
            or read_back(store, where.key) != (entry.sha256, entry.size)
        ):
            send(store, path, where.key, entry.sha256)
            if read_back(store, where.key) != (entry.sha256, entry.size):
                raise DeliveryError(
                    f"{url} holds other bytes than {path}",
                    "Run it again; if it repeats, tell the server's owner.",
                )
    return entry.sha256, entry.size


def get_file(url: str, path: Path, connection: S3, sha256: str | None = None) -> tuple[str, int]:
    """Download one object and return its sha256 and size in bytes; PATH appears whole or not at all.

    Parameters
    ----------
    sha256
        What it must be; without it, what its metadata says, when it says anything.

    Raises
    ------
    DeliveryError
        If the object is missing, has another checksum, or the disk is full.
    """
    where = Location.parse(url)
    with told(f"download of {url}", connection):
        there = head(url, connection)
        if there is None:
            raise DeliveryError(f"{url} does not exist on {connection.endpoint}")
        expected = sha256 or there.sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            digest, size = fetch(open_bucket(where.bucket, connection), where.key, temporary)
            if expected and digest != expected:
                raise DeliveryError(
                    f"{url} has sha256 {digest}, not {expected}", "The object is damaged: deliver it again."
                )
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    return digest, size


def head(url: str, connection: S3) -> ObjectHead | None:
    """Ask for an object's size and checksum; None when there is no such object.

    Raises
    ------
    DeliveryError
        If the server is unreachable or refuses.
    """
    where = Location.parse(url)
    with told(f"look at {url}", connection):
        try:
            result = open_bucket(where.bucket, connection).get(where.key, options={"head": True})
        except FileNotFoundError:
            return None
        meta = result.meta
        digest = result.attributes.get(DIGEST)
        return ObjectHead(meta["size"], meta["e_tag"], meta["last_modified"], str(digest) if digest else None)


def send(
    store: S3Store, path: Path, key: str, sha256: str, count: Callable[[int], None] | None = None
) -> None:
    """Stream a file to an object, hashing what is sent.

    Raises
    ------
    DeliveryError
        If the file is not what SHA256 says: it was changed meanwhile.
    """
    digest = hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        with path.open("rb") as f:
            while block := f.read(PART):
                digest.update(block)
                yield block
                if count:
                    count(len(block))
        if digest.hexdigest() != sha256:
            # raised before the upload is completed, so the object never appears
            raise DeliveryError(
                f"{path} changed since its checksum was taken ({format_bytes(path.stat().st_size)})"
            )

    if path.stat().st_size <= PART:
        data = b"".join(blocks())
        store.put(key, data, attributes={DIGEST: sha256}, use_multipart=False)
    else:
        store.put(key, blocks(), attributes={DIGEST: sha256}, chunk_size=PART, max_concurrency=4)


def read_back(store: S3Store, key: str) -> tuple[str, int]:
    """Read an object and return its sha256 and size; nothing is kept."""
    digest = hashlib.sha256()
    size = 0
    for block in store.get(key).stream(min_chunk_size=PART):
        digest.update(block)
        size += len(block)
    return digest.hexdigest(), size


def fetch(
    store: S3Store, key: str, path: Path, count: Callable[[int], None] | None = None
) -> tuple[str, int]:
    """Stream an object to PATH, continuing what is there, and return sha256 and size; synced to disk."""
    digest = hashlib.sha256()
    size = _hash_existing(path, digest)
    with path.open("ab") as f:
        for block in _rest(store, key, size):
            digest.update(block)
            f.write(block)
            size += len(block)
            if count:
                count(len(block))
        f.flush()
        os.fsync(f.fileno())
    return digest.hexdigest(), size


def _hash_existing(path: Path, digest: Hash) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as f:
        while block := f.read(PART):
            digest.update(block)
        return f.tell()


def _rest(store: S3Store, key: str, offset: int) -> Iterator[bytes]:
    if offset == 0:
        return iter(store.get(key).stream(min_chunk_size=PART))
    if offset >= store.head(key)["size"]:
        return iter(())
    return iter(store.get(key, options={"range": {"offset": offset}}).stream(min_chunk_size=PART))
