"""One delivery as a process of its own: ``python -m tests.transfers.sending JSON``; prints progress, then the end."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any

from ml_suite.errors import MlSuiteError
from ml_suite.hosts import reach
from ml_suite.stores import manifest
from ml_suite.stores.connections import S3
from ml_suite.stores.s3 import Location
from ml_suite.transfers.delivery import deliver
from ml_suite.transfers.place import Target
from ml_suite.transfers.shards import Size
from ml_suite.transfers.stream import Stream


def written() -> int:
    """Bytes that this process had put on disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("write_bytes")))


def main(given: dict[str, Any]) -> None:
    def progress(done: int, total: int) -> None:
        print(f"at {done}", flush=True)
        time.sleep(given["slow"])

    carrier = Stream(Location.parse(given["url"]), S3(**given["s3"]), Size(*given["size"]))
    target = Target(reach.known(given["host"]), PurePosixPath(given["folder"]), "x.zarr")
    try:
        done = deliver(
            target, manifest.load(Path(given["manifest"])), carrier, progress, pauses=given["pauses"]
        )
    except MlSuiteError as error:
        print(f"error {error}", flush=True)
        return
    # not getrusage: a child starts with the peak of its parent
    status = Path("/proc/self/status").read_text().splitlines()
    memory = 1024 * int(next(line.split()[1] for line in status if line.startswith("VmHWM")))
    end = {"objects": done.objects, "bytes": done.bytes, "memory": memory, "written": written()}
    print(f"end {json.dumps(end)}", flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
