"""Task upload: put the dataset in the object store, prove every object, tell the catalogue."""

from __future__ import annotations

from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.moving import Moving
from ml_suite.jobs.dataset.record import Build
from ml_suite.stores import manifest
from ml_suite.stores.catalogue import connect
from ml_suite.stores.transfer import upload_store

PLATFORM = "ewc"
"""Name of the object store in the catalogue: the client library knows this one."""


def address(job: Job) -> str:
    """Where the deployment's dataset lies in the object store."""
    dataset = job.deployment.dataset
    return f"{dataset.store.rstrip('/')}/{job.deployment.dataset_name}.zarr"


def run(job: Job) -> None:
    """Upload the finished dataset; what is there and right is not sent again.

    Raises
    ------
    DatasetError
        If the store was made from another recipe.
    DeliveryError
        If the manifest is missing, other content lies at the address, or a service fails.
    """
    build = Build.of(job)
    build.require()
    listed = manifest.load(build.manifest)
    connections = job.connections()
    moving = Moving()
    done = upload_store(build.store, address(job), listed, connections.s3, moving, replace=False)
    connect(connections).add_location(build.name, PLATFORM, address(job))
    moving.finish(str(done))
