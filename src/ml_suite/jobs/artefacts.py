"""Put files of a suite in the bucket of artefacts that the catalogue names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_suite.jobs.context import Job
from ml_suite.lineage.training import StoredObject
from ml_suite.stores.connections import S3


@dataclass(frozen=True)
class Artefacts:
    """A place for the files of one cycle."""

    base: str
    """``s3://bucket/SUITE/CYCLE``."""
    connection: S3

    @classmethod
    def of(cls, job: Job) -> Artefacts:
        """Ask the catalogue for the bucket.

        Raises
        ------
        DeliveryError
            If the catalogue does not answer.
        """
        from ml_suite.stores import catalogue_reader

        connections = job.connections()
        settings = catalogue_reader.settings(connections.catalogue.url)
        root = str(settings.get("artefacts_uri_base") or "s3://ml-artefacts").rstrip("/")
        return cls(f"{root}/{job.deployment.suite}/{job.cycle}", connections.s3)

    def put(self, path: Path, name: str) -> StoredObject:
        """Upload a file, read it back, and say what is there now.

        Raises
        ------
        DeliveryError
            If the object store does not take or keep it.
        """
        from ml_suite.stores.s3 import put_file

        address = f"{self.base}/{name}"
        sha256, size = put_file(path, address, self.connection)
        return StoredObject(s3=address, sha256=sha256, size=size)
