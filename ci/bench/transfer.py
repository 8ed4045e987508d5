"""Download 5,000 objects of 4 KiB and 24 of 8 MiB: ml-suite (hashed, synced) against boto3's transfer manager.

Both against one embedded S3 server, in turns, three rounds; run it with the Python of the light environment.
"""

from __future__ import annotations

import os
import random
import shutil
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ml_suite.services.addresses import Places
from ml_suite.services.credentials import Secrets
from ml_suite.services.ports import choose
from ml_suite.services.process import launch
from ml_suite.services.s3 import SeaweedFS, administer, connection
from ml_suite.services.server import Setting, base_environment, wait_until_ready
from ml_suite.stores import manifest
from ml_suite.stores.connections import S3
from ml_suite.stores.transfer import download_store, upload_store

ROUNDS = 3
SHAPES = {"5,000 x 4 KiB": (5000, 4096), "24 x 8 MiB": (24, 8 << 20)}


def main() -> None:
    """Print one ratio per shape."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server, places = SeaweedFS(), Places(folder)
        setting = Setting(places, Secrets.keep(places.secrets), {"s3": choose(server.ports, {}, set())})
        server.data(setting).mkdir(parents=True)
        where = places.folder("s3")
        process = launch(
            server.command(setting), base_environment() | server.environment(setting), where, where / "log"
        )
        try:
            wait_until_ready(server, setting, process, fresh=True)
            for what, (count, size) in SHAPES.items():
                compare(what, count, size, folder, connection(setting))
        finally:
            server.stop(setting, process)


def compare(what: str, count: int, size: int, folder: Path, s3: S3) -> None:
    """Time both on one store."""
    store = folder / f"{count}.zarr"
    (store / "data").mkdir(parents=True)
    for i in range(count):
        (store / "data" / str(i)).write_bytes(random.Random(i).randbytes(size))
    wanted = manifest.build(store)
    url = f"s3://ml-datasets/{store.name}"
    begun = time.perf_counter()
    upload_store(store, url, wanted, s3)
    print(f"upload {what}, sent and read back: {time.perf_counter() - begun:.2f} s", flush=True)
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(timed(lambda target: download_store(url, target, wanted, s3), folder))
        theirs.append(timed(lambda target: boto(store.name, target, wanted, s3), folder))
    a, b = statistics.median(ours), statistics.median(theirs)
    print(f"RATIO download {what}: ml-suite {a:.2f} s / boto3 {b:.2f} s = {a / b:.2f}", flush=True)


def timed(work: object, folder: Path) -> float:
    """Seconds that one download into an empty folder takes."""
    target = folder / "target" / "x.zarr"
    shutil.rmtree(target.parent, ignore_errors=True)
    os.sync()
    begun = time.perf_counter()
    work(target)  # type: ignore[operator]
    return time.perf_counter() - begun


def boto(name: str, target: Path, wanted: manifest.Manifest, s3: S3) -> None:
    """What one would write with boto3: its transfer manager on every object, 16 at once, nothing verified."""
    client = administer(s3)
    (target / "data").mkdir(parents=True)
    with ThreadPoolExecutor(16) as pool:
        for done in [
            pool.submit(client.download_file, "ml-datasets", f"{name}/{entry.key}", str(target / entry.key))
            for entry in wanted.entries
        ]:
            done.result()


if __name__ == "__main__":
    main()
