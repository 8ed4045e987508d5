"""A study file as frozen models: a search on a table of samples, run by `ml-suite study` without ecFlow."""

from __future__ import annotations

import os
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ml_suite.config import locate, metrics, rules, search_rules
from ml_suite.config.findings import FileError, Finding, Problem, Severity
from ml_suite.config.hpo import Hpo, PatienceText
from ml_suite.config.source import Keys, Source, load, read
from ml_suite.config.values import SUITE_NAME, Share, Strict
from ml_suite.home import cache, home
from ml_suite.quantities import fraction

STUDY = "study.yaml"
"""Name of the file where a folder is given."""

_PLACES = ("cache", "ml_suite_home", "home")


def _placeholders(*known: str) -> AfterValidator:
    def check(text: str) -> str:
        try:
            names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
        except ValueError as error:
            raise ValueError("a { or } is alone") from error
        for name in names:
            if name not in known:
                raise ValueError(f"{{{name}}} has no meaning; here may stand {{{'}, {'.join(known)}}}")
        return text

    return AfterValidator(check)


PathText = Annotated[str, _placeholders(*_PLACES)]
"""A path that may hold placeholders, relative to the study file."""


class Data(Strict):
    """The samples of the study."""

    arrays: PathText
    """NumPy file (.npz)."""
    make: list[Annotated[str, _placeholders("arrays", "python", *_PLACES)]] | None = None
    """Program that makes the file when it is missing; `{python}` is the environment's."""
    inputs: str = "x"
    """Name of the array [samples, inputs]."""
    targets: str = "y"
    """Name of the array [samples, targets]."""
    validation: Share
    """Part of the samples that trials are ranked on, drawn at random; the same in both steps."""
    test: Share
    """Part of the samples that is looked at only at the end."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the parts."""
    normalise: Literal["training", "subset", "none"] = "training"
    """Whose mean and standard deviation the inputs are given in."""


class Training(Strict):
    """How a model is trained; what is stated here holds for all trials unless the space has it."""

    trainer: Literal["mlp", "command"] = "mlp"
    command: Annotated[list[str], Field(min_length=1)] | None = None
    """Program of trainer command; it is called with the path of trial.json as its last argument."""
    files: Annotated[list[str], Field(default_factory=list)]
    """Files that the program is made of; they are beside the study file, where `{files}/NAME` names them."""
    epochs: Annotated[int, Field(gt=0)] = 100
    """Epochs of a training on all of the data."""
    patience: PatienceText | None = None
    """A training stops when it was not better for so long; epochs are those of the step's own data."""
    batch: Annotated[int, Field(gt=0)] | None = None
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    epsilon: Annotated[float, Field(gt=0)] | None = None
    layers: Annotated[int, Field(gt=0)] | None = None
    units: Annotated[int, Field(gt=0)] | None = None
    output: Literal["sigmoid", "linear"] | None = None
    """Last activation of mlp; sigmoid is for targets between 0 and 1."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`auto`: bf16 in step 1 where the machine is faster with it, fp32 in step 2."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of every training, so that trials differ by their hyperparameters alone."""
    workers: Annotated[int, Field(gt=0)] | None = None
    """Trainings at once; default: one per core, or four per GPU."""
    environment: PathText | None = None
    """Virtual environment of the trainings; default: {cache}/anemoi."""

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of trainer mlp that are stated."""
        return {name: value for name in SETTINGS if (value := getattr(self, name)) is not None}


SETTINGS = ("layers", "units", "batch", "learning_rate", "epsilon", "output")
"""Keys of `training` that are settings of trainer mlp."""


class StudyFile(Strict):
    """One study file."""

    study: Annotated[str, Field(pattern=SUITE_NAME)]
    data: Data
    training: Training
    hpo: Hpo

    def environment(self, beside: Path) -> Path:
        """Virtual environment of the trainings."""
        chosen = self.training.environment or os.environ.get("ML_SUITE_ENVIRONMENT") or "{cache}/anemoi"
        return place(chosen, beside)

    def arrays(self, beside: Path) -> Path:
        """File of the samples."""
        return place(self.data.arrays, beside)


def place(text: str, beside: Path) -> Path:
    """Fill the placeholders of a path; a relative one lies beside the study file."""
    return beside / Path(filled(text)).expanduser()


def filled(text: str, **more: object) -> str:
    """Fill the placeholders of a word."""
    return text.format(home=Path.home(), ml_suite_home=home(), cache=cache(), **more)


def parse(path: Path) -> tuple[StudyFile, Source]:
    """Read a study file.

    Raises
    ------
    FileError
        With everything that is wrong, each with line and column.
    ConfigError
        If the file cannot be read.
    """
    source = load(path, locate.near(path))
    if isinstance(source.data, dict) and "suite" in source.data and "study" not in source.data:
        message = "this is a deployment, and no study file"
        hint = "run it with ecFlow: ml-suite deploy FILE; docs/study-files.md shows a study file"
        raise FileError(source.file, [source.finding(Severity.ERROR, ("suite",), message, hint, key=True)])
    study = read(source, StudyFile, problems)
    if found := list(_files(study, source, path.absolute().parent)):
        raise FileError(source.file, found)
    return study, source


def written(study: StudyFile) -> dict[str, Any]:
    """Return a study with everything that its file leaves out, so that it is read back as the same."""
    told: dict[str, Any] = study.model_dump(mode="json", exclude_none=True)
    for step, keys in ONLY_DEPLOYED.items():
        for key in keys:
            told["hpo"][step].pop(key, None)
    if study.training.trainer == "mlp":
        del told["training"]["files"]
    else:
        del told["training"]["precision"]
    return told


def problems(data: dict[str, Any]) -> Iterator[Problem]:
    """Rules of several keys, on plain data that may be wrong in any way."""
    trainer = _at(data, "training", "trainer") or "mlp"
    epochs = Training.model_fields["epochs"].default
    yield from search_rules.problems(data, sized=trainer == "mlp", epochs=epochs)
    yield from metrics.problems(data)
    for rule in (rules._keep, rules._twice):
        yield from rule(data)
    yield from _trainer(data)
    yield from _shares(data)
    yield from _unused(data)


def _at(data: Any, *path: str) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _share(value: Any) -> float | None:
    try:
        return fraction(value)
    except ValueError:
        return None


def _trainer(data: dict[str, Any]) -> Iterator[Problem]:
    """Each trainer gets what it needs and nothing that it ignores."""
    training = data.get("training")
    if not isinstance(training, dict):
        return
    if training.get("trainer", "mlp") == "command":
        if "command" not in training:
            hint = "write the program as a list; it gets the path of trial.json as its last argument"
            yield Problem(("training", "command"), "trainer command needs 'command'", hint, on_key=True)
        for key in (*SETTINGS, "precision"):
            if key in training:
                hint = "write it into hpo.space as a choice of one, or into the program"
                yield Problem(("training", key), f"trainer command does not use '{key}'", hint, on_key=True)
    elif training.get("trainer", "mlp") == "mlp":
        for key in ("command", "files"):
            if key in training:
                yield Problem(
                    ("training", key),
                    f"trainer mlp does not use '{key}'",
                    "write `trainer: command`",
                    on_key=True,
                )
    space = _at(data, "hpo", "space")
    for name in sorted(space.keys() & training.keys() & set(SETTINGS)) if isinstance(space, dict) else ():
        yield Problem(
            ("training", name),
            f"'{name}' is fixed here and searched in hpo.space",
            "keep one of the two",
            on_key=True,
        )


def _shares(data: dict[str, Any]) -> Iterator[Problem]:
    """Something is left to train on."""
    shares = [_share(_at(data, "data", name)) for name in ("validation", "test")]
    known = [share for share in shares if share is not None]
    if sum(known) >= 1:
        yield Problem(
            ("data", "validation"), "validation and test leave nothing to train on", "write smaller shares"
        )


ONLY_DEPLOYED = {
    "step1": ("resources", "hosts", "contiguous", "block", "shards"),
    "step2": ("resources", "hosts"),
}
"""Keys of the section `hpo` that a study file does not use."""


def _unused(data: dict[str, Any]) -> Iterator[Problem]:
    """Keys of the section `hpo` that only a deployment uses."""
    for step, key in ((step, key) for step, keys in ONLY_DEPLOYED.items() for key in keys):
        if _at(data, "hpo", step, key) is not None:
            hint = {
                "shards": "share the trials with `ml-suite study run FILE --shard 1/8`",
                "contiguous": "samples of a table are drawn at random: leave it out",
                "block": "samples of a table are drawn at random: leave it out",
            }.get(key, "leave it out: a study file runs on this machine")
            yield Problem(("hpo", step, key), f"a study file does not use '{key}'", hint, on_key=True)


def _files(study: StudyFile, source: Source, beside: Path) -> Iterator[Finding]:
    """The files that the program is made of are there, and those that it names are among them."""
    for i, text in enumerate(study.training.files):
        if not (beside / text).is_file():
            where: Keys = ("training", "files", i)
            yield source.finding(
                Severity.ERROR, where, f"there is no file {text}", f"looked in {locate.near(beside)}"
            )
    for i, word in enumerate(study.training.command or []):
        named = word.partition("{files}/")[2]
        if named and named not in study.training.files:
            where = ("training", "command", i)
            hint = f"write `files: [{named}]`, so that another version of it is another study"
            yield source.finding(Severity.ERROR, where, f"{named} is not under training.files", hint)
