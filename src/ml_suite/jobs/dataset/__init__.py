"""The tasks of one dataset: from the recipe to a verified copy on every host that trains.

``init`` and ``load`` run anemoi-datasets, ``check`` proves that nothing is missing, ``finalise`` closes the dataset and
lists the checksum of every file; ``register``, ``upload`` and ``transfer`` tell the catalogue and move it. Each can be
stopped at any moment and run again with the same result. ``transfers`` works off what others have put in the
catalogue's queue for a host.
"""

from __future__ import annotations

import argparse

from ml_suite.datasets.groups import parse_part
from ml_suite.jobs.context import Job

STEPS = ("init", "load", "check", "finalise", "register", "upload", "transfer", "transfers")


def run(job: Job, arguments: list[str]) -> None:
    """Run one step of the deployment's dataset on this host.

    Raises
    ------
    DatasetError
        If the dataset is incomplete, or another one than the deployment's recipe describes.
    ConfigError
        If the recipe or an argument is wrong.
    DeliveryError
        If the object store or the catalogue did not keep what was sent.
    """
    parser = argparse.ArgumentParser(prog="dataset")
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--part", help="I/N, for load")
    parser.add_argument("--host", help="for transfer and transfers; default: the one that this runs on")
    parser.add_argument("--full", action="store_true", help="transfer: read every file at the host again")
    chosen = parser.parse_args(arguments)
    if chosen.step == "load":
        from ml_suite.jobs.dataset import load

        load.run(job, *parse_part(chosen.part or "1/1"))
    elif chosen.step in ("init", "check", "finalise"):
        from ml_suite.jobs.dataset import check, finalise, init

        {"init": init.run, "check": check.run, "finalise": finalise.run}[chosen.step](job)
    elif chosen.step == "transfer":
        from ml_suite.jobs.dataset import transfer

        transfer.run(job, chosen.host, chosen.full)
    elif chosen.step == "transfers":
        from ml_suite.jobs.dataset import transfers

        transfers.run(job, chosen.host)
    else:
        from ml_suite.jobs.dataset import register, upload

        {"register": register.run, "upload": upload.run}[chosen.step](job)
