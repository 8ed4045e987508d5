"""Task transfer: fetch the dataset from the object store to this host, prove every file, tell the catalogue."""

from __future__ import annotations

from ml_suite.datasets.entry import registered_provenance
from ml_suite.datasets.store import require_finished
from ml_suite.errors import DatasetError
from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.moving import Moving
from ml_suite.jobs.dataset.upload import address
from ml_suite.stores import manifest
from ml_suite.stores.catalogue import connect
from ml_suite.stores.transfer import download_store


def run(job: Job) -> None:
    """Download the dataset to where trainings on this host read it; a stopped download goes on.

    Raises
    ------
    DatasetError
        If the object store holds another content than the one that is registered.
    DeliveryError
        If an object is missing or damaged, the disk is full, or a service fails.
    """
    name, folder = job.deployment.dataset_name, job.tree.dataset(job.deployment.dataset_name)
    connections = job.connections()
    catalogue = connect(connections)
    wanted = registered_provenance(catalogue, name)
    moving = Moving()
    done = download_store(address(job), folder, None, connections.s3, moving)
    found = manifest.load(manifest.path_for(folder)).content_id
    if found != wanted.manifest:
        raise DatasetError(
            f"{address(job)} has the manifest {found[:12]}, registered is {wanted.manifest[:12]}",
            "Run the dataset's tasks register and upload again.",
        )
    require_finished(folder)
    catalogue.add_location(name, job.host, str(folder))
    moving.finish(str(done))
