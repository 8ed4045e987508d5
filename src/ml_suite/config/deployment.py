"""The deployment as frozen models; the names are the YAML's keys.

Values carry units and are parsed by `ml_suite.quantities`; what one field cannot know is in
`ml_suite.config.rules` and `checks`.
Only pydantic is imported here, so jobs on a host read the same models from the resolved deployment.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)

from ml_suite.config.values import (
    S3_ADDRESS,
    SERVICE,
    SUITE_NAME,
    Duration,
    GpuHours,
    Name,
    Share,
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


class Resources(Strict):
    """What one job asks for; the host file turns GPUs into nodes, tasks and a partition."""

    walltime: Duration
    gpus: Annotated[int, Field(ge=0)] = 0
    """GPUs in all; 0 trains one process on the CPU."""
    cpus: Annotated[int, Field(gt=0)] = 1
    """CPU cores of a job without a GPU."""

    @property
    def replicas(self) -> int:
        """Data-parallel copies of the model: one per GPU, one process without."""
        return max(1, self.gpus)


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


# the model below has fields named like these types
_Integer = int
_Real = float


class Dimension(Strict):
    """One hyperparameter's range: exactly one of choice, int, float, log."""

    choice: Annotated[list[Any], Field(min_length=1)] | None = None
    int: tuple[_Integer, _Integer] | None = None
    float: tuple[_Real, _Real] | None = None
    log: tuple[_Real, _Real] | None = None

    @model_validator(mode="after")
    def _one_range(self) -> Self:
        given = self.model_dump(exclude_none=True)
        if len(given) != 1:
            raise ValueError(
                "write one of {choice: [...]}, {int: [low, high]}, {float: [low, high]}, {log: [low, high]}"
            )
        ((kind, values),) = given.items()
        if kind != "choice":
            low, high = values
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ValueError("both ends of a range are finite numbers")
            if low > high:
                raise ValueError(f"the range is reversed: {low:g} is above {high:g}")
            if kind == "log" and low <= 0:
                raise ValueError("a log range lies above zero")
        return self

    @property
    def kind(self) -> str:
        """Which of the four is given."""
        return next(k for k in ("choice", "int", "float", "log") if getattr(self, k) is not None)


def _any(value: object) -> object:
    return None if value == "any" else value


Hosts = Annotated[
    list[str] | None,
    BeforeValidator(_any),
    WithJsonSchema({"anyOf": [{"type": "array", "items": {"type": "string"}}, {"const": "any"}]}),
]


class Step1(Strict):
    """Many trials on a small subset of the training period."""

    trials: Annotated[int, Field(gt=1)]
    subset: Share
    epochs: Annotated[int, Field(gt=0)] | None = None
    """Epochs of a trial; default: the training's."""
    shards: Annotated[int, Field(gt=0, le=999)] | None = None
    """Jobs that share the trials; default: the hosts' limits added up."""
    resources: Resources | None = None
    """Per shard; default: the training's."""
    hosts: Hosts = None
    """Default, or `any`: all of the deployment. Of several other machines one is chosen when a job is submitted."""
    trial_walltime: Duration | None = None
    """A trial that takes longer is stopped and counted as failed."""


class Step2(Strict):
    """The best trials of step 1 trained again on all of the training period."""

    keep: Share
    resources: Resources | None = None
    """Per candidate; default: the training's."""
    hosts: Hosts = None
    """Default, or `any`: all of the deployment. Of several other machines one is chosen when a job is submitted."""


class Hpo(Strict):
    """Two-step hyperparameter optimisation (Yu et al. 2023, doi:10.1175/AIES-D-23-0013.1)."""

    metric: str
    """Name under which the trainer reports the value to optimise."""
    direction: Literal["minimize", "maximize"] = "minimize"
    sampling: Literal["random"] = "random"
    seed: Annotated[int, Field(ge=0)] = 0
    space: Annotated[dict[str, Dimension], Field(min_length=1)]
    step1: Step1
    step2: Step2

    @property
    def keep_count(self) -> int:
        """Candidates that step 2 retrains; 0 when the share is too small."""
        return round(self.step1.trials * self.step2.keep)


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
