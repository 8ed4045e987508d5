"""``ml-suite dataset``: register datasets, describe them, ask where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ml_suite.cli.options import console, json_option, next_step, print_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ml_suite.datasets.progress import BuildProgress
    from ml_suite.stores.connections import Connections

environment_option = click.option(
    "--environment",
    type=click.Path(path_type=Path, file_okay=False),
    help="Training environment; default: ML_SUITE_ENVIRONMENT, else the one that ci/environment.sh built.",
)


@click.group(
    epilog="""\b
Examples:
  ml-suite dataset describe aifs-ea-an-oper-0001-mars-o96-1979-2024-6h-v1.zarr
  ml-suite dataset status demo-na-an-storm-ncl-1p25-1996-1996-6h-v1 --json"""
)
def command() -> None:
    """Register datasets, describe them, ask how far they are."""


@command.command(
    epilog="\b\nExample:\n  ml-suite dataset describe NAME.zarr --batch 16 --workers 0 --workers 8"
)
@click.argument("dataset")
@click.option("--inputs", type=click.IntRange(1), default=2, show_default=True, help="Dates a model reads.")
@click.option("--outputs", type=click.IntRange(1), default=1, show_default=True, help="Dates it forecasts.")
@click.option("--batch", type=click.IntRange(1), default=4, show_default=True, help="Samples of a batch.")
@click.option(
    "--workers",
    type=click.IntRange(0),
    multiple=True,
    help="Loader processes to measure; may be repeated. Default: 0, 1, 2, 4, … up to the processors.",
)
@click.option(
    "--seconds", type=click.FloatRange(0.1), default=2.0, show_default=True, help="Per measurement."
)
@click.option("--need", type=click.FloatRange(0, min_open=True), help="Samples/s that your training takes.")
@click.option("--no-feed", is_flag=True, help="Do not measure how fast it can be read.")
@environment_option
@json_option
def describe(
    dataset: str,
    inputs: int,
    outputs: int,
    batch: int,
    workers: tuple[int, ...],
    seconds: float,
    need: float | None,
    no_feed: bool,
    environment: Path | None,
    as_json: bool,
) -> None:
    """Tell what one must know of DATASET, a path or a name, before training on it."""
    from ml_suite.datasets.environment import ask, find_python
    from ml_suite.datasets.model import Description

    path = find_store(dataset)
    arguments = [
        str(path),
        f"--inputs={inputs}",
        f"--outputs={outputs}",
        f"--batch={batch}",
        f"--seconds={seconds}",
    ]
    if need is not None:
        arguments.append(f"--need={need}")
    if no_feed or workers:
        arguments += ["--workers", *(() if no_feed else map(str, workers))]
    answer = ask(find_python(environment), library(), "ml_suite.datasets.describe", arguments)
    found = Description.model_validate_json(answer)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    from ml_suite.datasets import tables

    show(tables.description(found))

    next_step("ml-suite dataset status", found.name)


@command.command(epilog="\b\nExample:\n  ml-suite dataset status demo-na-an-storm-ncl-1p25-1996-1996-6h-v1")
@click.argument("dataset")
@environment_option
@json_option
def status(dataset: str, environment: Path | None, as_json: bool) -> None:
    """Tell where the copies of DATASET are, or how far it is built; a name, or the path of a store."""
    from ml_suite.datasets import tables
    from ml_suite.errors import DatasetError

    name = Path(dataset).name.removesuffix(".zarr")
    found, path = None, local_store(dataset)
    # without services a build on this machine can still be looked at
    if not is_path(dataset) and (path is None or connections_file().exists()):
        from ml_suite.datasets.whereabouts import find

        found = find(name, connections())
    if found is None and path is None:
        raise DatasetError(
            f"there is no dataset {dataset} in the catalogue, nor in the work folder of this machine",
            "ml-suite services status shows the address of the catalogue's pages, which list all names.",
        )
    built = build_progress(path, environment) if path and not found else None
    if as_json:
        print_json(
            {
                "name": name,
                "registered": found.model_dump(mode="json") if found else None,
                "build": built.model_dump(mode="json") if built else None,
            }
        )
    elif found:
        show(tables.whereabouts(found))
        next_step("ml-suite dataset describe", name)
    elif built:
        show_progress(built)


@command.command(
    epilog="\b\nExample:\n  ml-suite dataset register /data/my-own-dataset-o96-2000-2001-6h-v1.zarr"
)
@click.argument("path", type=click.Path(path_type=Path))
@environment_option
@json_option
def register(path: Path, environment: Path | None, as_json: bool) -> None:
    """Enter the finished dataset at PATH in the catalogue, under its file name."""
    from ml_suite.datasets.environment import ask, find_python
    from ml_suite.datasets.register import RegisteredDataset

    connections()  # says what to do when there is none, before a process is started
    arguments = [str(path.absolute()), f"--connections={connections_file()}"]
    answer = ask(find_python(environment), library(), "ml_suite.datasets.register", arguments)
    done = RegisteredDataset.model_validate_json(answer)
    if as_json:
        print_json(done.model_dump(mode="json"))
        return
    click.echo(f"{done.name} is registered: {done.page}")
    click.echo(f"uuid {done.uuid}, manifest {done.manifest}")
    next_step("ml-suite dataset status", done.name)


def is_path(dataset: str) -> bool:
    """Whether the word is meant as a path: it has a slash, the ending, or is a folder here."""
    return "/" in dataset or dataset.endswith(".zarr") or Path(dataset).is_dir()


def local_store(dataset: str) -> Path | None:
    """Find the store on this machine: the path itself, else in the work folder of the host local."""
    from ml_suite.home import home

    if is_path(dataset):
        return Path(dataset).expanduser()
    places = (home() / "work" / folder / f"{dataset}.zarr" for folder in ("datasets", "build"))
    return next((place for place in places if place.exists()), None)


def find_store(dataset: str) -> Path:
    """Find a copy on this machine, also one that only the catalogue knows.

    Raises
    ------
    DatasetError
        If there is none.
    """
    from ml_suite.errors import DatasetError

    if path := local_store(dataset):
        return path
    from ml_suite.datasets.whereabouts import find

    found = find(dataset, connections())
    paths = [copy.path for copy in found.copies] if found else []
    here = next((Path(path) for path in paths if path.startswith("/") and Path(path).is_dir()), None)
    if here:
        return here
    known = f"it is at {', '.join(paths)}" if paths else "the catalogue does not know it either"
    raise DatasetError(
        f"there is no copy of {dataset} on this machine; {known}", "Give the path of a .zarr folder."
    )


def build_progress(path: Path, environment: Path | None) -> BuildProgress:
    """Ask the training environment how far a store is."""
    from ml_suite.datasets.environment import ask, find_python
    from ml_suite.datasets.progress import BuildProgress

    answer = ask(find_python(environment), library(), "ml_suite.datasets.progress", [str(path)])
    return BuildProgress.model_validate_json(answer)


def show_progress(built: BuildProgress) -> None:
    """Print how far a store is.

    Raises
    ------
    DatasetError
        If there is nothing at its path.
    """
    from ml_suite.datasets.store import Phase
    from ml_suite.errors import DatasetError

    if built.phase is Phase.ABSENT:
        raise DatasetError(f"{built.path} does not exist", "Give the path of a .zarr folder, or a name.")
    text = f"{built.path}: {built.phase}"
    if built.phase is Phase.LOADING:
        missing = ", ".join(map(str, built.missing_groups))
        text += f", {built.percent}% of {built.groups} groups" + (f", missing: {missing}" if missing else "")
    click.echo(text)
    if built.phase is Phase.FINISHED:
        next_step("ml-suite dataset describe", built.path)


def connections_file() -> Path:
    """Addresses and credentials of the services of this machine."""
    from ml_suite.home import home

    return home() / "connections.json"


def connections() -> Connections:
    """Read them."""
    from ml_suite.stores.connections import Connections

    return Connections.load(connections_file())


def library() -> Path:
    """Copy of this package that the training environment can import."""
    from ml_suite.home import home
    from ml_suite.library import install_library

    return install_library(home())


def show(parts: Iterable[object]) -> None:
    """Print tables, as wide as the terminal and never wrapped into nothing in a file."""
    out = console()
    for part in parts:
        out.print(part, soft_wrap=isinstance(part, str))
