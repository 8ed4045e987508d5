"""The deployment as frozen models; the names are the YAML's keys.

Values carry units and are parsed by `ml_suite.quantities`; what one field cannot know is in
`ml_suite.config.rules` and `checks`.
Only pydantic is imported here, so jobs on a host read the same models from the resolved deployment.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ml_suite.config.hpo import Hpo
from ml_suite.config.resources import Resources
from ml_suite.config.values import (
    S3_ADDRESS,
    SERVICE,
    SUITE_NAME,
    Duration,
    GpuHours,
    Name,
    Strict,
    Template,
    node_name,
)


class Server(Strict):
    """The ecFlow server; without it ECF_HOST and ECF_PORT, then the embedded one."""

    host: str
    port: Annotated[int, Field(gt=0, lt=65536)] = 3141
    files: str | None = None
    """Folder of the deployed scripts and job outputs, seen by the server."""


class Period(Strict):
    """Dates of a part of the data, both ends included."""

    start: datetime
    end: datetime


class Periods(Strict):
    """Training, validation and test dates; without them the training config's own are used."""

    training: Period
    validation: Period
    test: Period


class Dataset(Strict):
    """The dataset of the suite, made from an Anemoi recipe."""

    recipe: str
    """Recipe file; its name without .yaml is the dataset's name."""
    sources: str | None = None
    """Folder with the files that the recipe names with relative paths."""
    host: str | None = None
    """Host that builds it; default: the machine beside the ecFlow server."""
    parts: Annotated[int, Field(gt=0, le=999)] = 4
    """Load tasks that share the work."""
    store: Annotated[str, Field(pattern=S3_ADDRESS)] = "s3://ml-datasets"
    """Where the dataset is kept in the object store."""


class Training(Strict):
    """How a model is trained."""

    resources: Resources
    trainer: Literal["anemoi", "command"] = "anemoi"
    config: str | None = None
    """Training configuration of trainer anemoi: a Hydra YAML of anemoi-training."""
    command: list[str] | None = None
    """Program of trainer command; it is called with the path of trial.json as its last argument."""
    files: Annotated[list[str], Field(default_factory=list)]
    """Files that go with the suite to every host, where `{files}/NAME` in `command` names them; `{python}` is the
    environment's."""
    epochs: Annotated[int, Field(gt=0)] | None = None
    """Epochs of a training on all of the data; default: the training configuration's."""
    seed: Annotated[int, Field(ge=0)] = 0
    overrides: Annotated[dict[str, Any], Field(default_factory=dict)]
    """Keys of the training configuration to set for every training."""
    periods: Periods | None = None
    environment: Template | None = None
    """Virtual environment with anemoi-training; default: the host file's."""


class Software(Strict):
    """What is installed on a host for its jobs: wheels, or an image."""

    wheelhouse: str | None = None
    """Requirements file with every package, its version and better its hashes; the host needs no internet."""
    python: Annotated[str, Field(pattern=r"^3\.\d+$")] = "3.11"
    """Python of the environment that is made of the wheels."""
    interpreter: Annotated[str, Field(pattern=r"^/\S+$")] | None = None
    """That Python on the host; default: `python3.11`, then `python3`, of the PATH."""
    image: str | None = None
    """Apptainer image, a file of this machine."""
    options: Annotated[list[str], Field(default_factory=list)]
    """Options of `apptainer exec`, such as --nv."""
    runtime: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./+\-]+$")] | None = None
    """Program that runs the image; default: apptainer, then singularity, of the PATH."""


class Use(Strict):
    """What this deployment may use of a host."""

    account: Name | None = None
    """Who pays."""
    user: Name | None = None
    """Your name there; default: the host file's, then OpenSSH's."""
    partition: Name | None = None
    """Default: the one that costs least for what a job asks."""
    qos: Name | None = None
    limit: Annotated[int, Field(gt=0)] = 4
    """Jobs of the suite at once on the host."""
    budget: GpuHours | None = None
    work: Template | None = None
    """Folder for the suite's files; default: the host file's."""
    environment: Template | None = None
    """Virtual environment with anemoi-training; default: the host file's."""
    software: Software | None = None
    """What setup installs for the jobs; default: nothing, the environment is there."""
    server: Annotated[str, Field(pattern=r"^[A-Za-z0-9.\-]+:[1-9]\d{0,4}$")] | None = None
    """NAME:PORT under which jobs there reach the ecFlow server; default: the server's own address."""
    transfer: Literal["stream", "pull"] = "stream"
    """How datasets come to another machine: through this one, or fetched by its login node."""
    object_store: Annotated[str, Field(pattern=r"^https?://\S+$")] | None = None
    """Address of the object store as the host reaches it, for `transfer: pull`; default: the same as here."""

    @model_validator(mode="after")
    def _address_of_a_pull(self) -> Self:
        if self.object_store and self.transfer != "pull":
            raise ValueError(
                "object_store: is for `transfer: pull`; through this machine its own address is used"
            )
        return self


class Evaluation(Strict):
    """How the winner is judged."""

    lead_time: Duration = timedelta(hours=24)
    """Length of the forecasts on the test period."""
    forecasts: Annotated[int, Field(gt=0)] = 3
    """Start dates, spread over the test period."""


class Outputs(Strict):
    """Where results go; `embedded` is the server that `ml-suite services up` started."""

    checkpoints: Annotated[str, Field(pattern=S3_ADDRESS)]
    mlflow: Annotated[str, Field(pattern=SERVICE)] = "embedded"
    catalogue: Annotated[str, Field(pattern=SERVICE)] = "embedded"
    object_store: Annotated[str, Field(pattern=SERVICE)] = "embedded"
    """Endpoint URL of the S3 service."""


class Deployment(Strict):
    """One deployment file."""

    suite: Annotated[str, Field(pattern=SUITE_NAME)]
    dataset: Dataset
    training: Training
    hosts: Annotated[dict[str, Use], Field(min_length=1)]
    outputs: Outputs
    server: Server | None = None
    hpo: Hpo | None = None
    evaluation: Evaluation = Evaluation()

    @property
    def node(self) -> str:
        """Name of the suite's node on the server."""
        return node_name(self.suite)

    @property
    def dataset_name(self) -> str:
        """Name in the catalogue: the recipe's file name without its ending."""
        return re.sub(r"\.ya?ml$", "", self.dataset.recipe.rsplit("/", 1)[-1])
