"""Task transfer: bring the dataset from the object store to a host, prove every file, tell the catalogue."""

from __future__ import annotations

from pathlib import Path

from ml_suite.datasets.entry import registered_provenance
from ml_suite.datasets.store import require_finished
from ml_suite.errors import ConfigError
from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.moving import Moving
from ml_suite.jobs.dataset.upload import address
from ml_suite.stores import manifest
from ml_suite.stores.catalogue import connect
from ml_suite.stores.connections import S3
from ml_suite.stores.s3 import get_file
from ml_suite.stores.transfer import download_store


def run(job: Job, host: str | None = None, full: bool = False) -> None:
    """Bring the dataset to HOST; without one, or when it is this machine, by `download`.

    Parameters
    ----------
    full
        Read every file at another machine again, also when names and sizes are right.

    Raises
    ------
    ConfigError
        If the host is not one of the deployment's; else as `download` and `to_host.run`.
    """
    there = job.host if host is None else host
    if there not in job.resolved.hosts:
        raise ConfigError(
            f"host {there!r} is not in the deployment", f"It has {', '.join(job.resolved.hosts)}."
        )
    if there != job.host and job.resolved.hosts[there].remote:
        from ml_suite.jobs.dataset import to_host

        to_host.run(job, there, full)
        return
    download(job)


def download(job: Job) -> None:
    """Download the dataset to where trainings on this host read it; a stopped download goes on.

    Raises
    ------
    DatasetError
        If the dataset is not registered.
    DeliveryError
        If the object store holds another content than the one that is registered, an object is missing or damaged,
        the disk is full, or a service fails.
    """
    name, folder = job.deployment.dataset_name, job.tree.dataset(job.deployment.dataset_name)
    connections = job.connections()
    catalogue = connect(connections)
    wanted = registered_provenance(catalogue, name)
    moving = Moving()
    listed = fetch_manifest(address(job), folder, wanted.manifest, connections.s3)
    done = download_store(address(job), folder, listed, connections.s3, moving)
    require_finished(folder)
    catalogue.add_location(name, job.host, str(folder))
    moving.finish(str(done))


def fetch_manifest(url: str, folder: Path, content: str, s3: S3) -> manifest.Manifest:
    """Fetch the manifest of the store at URL, which must be the one with this checksum.

    Raises
    ------
    DeliveryError
        If it is not there, or another one.
    """
    temporary = folder.with_name(f".{folder.name}.wanted")
    try:
        get_file(url + manifest.SUFFIX, temporary, s3, sha256=content)
        return manifest.load(temporary)
    finally:
        temporary.unlink(missing_ok=True)
