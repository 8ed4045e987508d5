"""Task register: enter the dataset in the catalogue with its recipe and its manifest."""

from __future__ import annotations

from ml_suite.datasets.entry import Provenance, register
from ml_suite.jobs import callback
from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.record import Build
from ml_suite.stores import manifest
from ml_suite.stores.catalogue import connect


def run(job: Job) -> None:
    """Register the finished dataset; again is fine.

    Raises
    ------
    DatasetError
        If it is not finished, or the catalogue has another dataset of that name.
    DeliveryError
        If the manifest is missing, or the catalogue did not keep what was sent.
    """
    build = Build.of(job)
    _, record = build.require()
    listed = manifest.load(build.manifest)
    catalogue = connect(job.connections())
    # the recipe that built it, which may be older than the deployed one in its comments
    provenance = Provenance.of(listed, record.recipe, job.resolved)
    entry = register(catalogue, build.store, provenance, build.recipe_file)
    page = catalogue.page("datasets", entry.key)
    print(f"{entry.key} is registered: uuid {entry.uuid}, manifest {listed.content_id}, {page}", flush=True)
    callback.label("info", page)
