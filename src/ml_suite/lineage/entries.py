"""Read entries of the catalogue as models."""

from __future__ import annotations

from ml_suite.errors import DeliveryError
from ml_suite.lineage.training import TrainingMetadata
from ml_suite.stores import catalogue_reader
from ml_suite.stores.connections import Catalogue


def read_training(name: str, connection: Catalogue) -> TrainingMetadata | None:
    """Entry of a suite; None if there is none.

    Raises
    ------
    DeliveryError
        If the catalogue does not answer, or the entry was not written by ml-suite.
    """
    token = connection.token.get_secret_value()
    record = catalogue_reader.read(connection.url, "trainings", name, token)
    if record is None:
        return None
    found = parse_training(record)
    if found is None:
        raise DeliveryError(
            f"trainings/{name} in {connection.url} was not written by ml-suite",
            "Rename the suite, or remove the entry.",
        )
    return found


def parse_training(record: catalogue_reader.Record) -> TrainingMetadata | None:
    """Read an entry; None if it is somebody else's."""
    try:
        return TrainingMetadata.model_validate(record.get("metadata"))
    except ValueError:
        return None
