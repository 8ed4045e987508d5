"""Task finalise: statistics, removal of the traces of the build, content manifest.

anemoi-datasets finalise is not atomic: a kill can leave a statistics array without values, which a second finalise
takes for done. So before it runs, and as long as any trace of the build is there, all that it would add is removed;
whether the dataset is complete is decided, and written down, before anything is touched. The manifest comes last and
marks the dataset as finished.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ml_suite.datasets.store import STATISTICS, Phase, open_group, progress
from ml_suite.errors import DatasetError
from ml_suite.jobs import callback
from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.command import anemoi_datasets
from ml_suite.jobs.dataset.load import require_loaded
from ml_suite.jobs.dataset.record import Build
from ml_suite.stores import manifest

_TRIES = 5


def run(job: Job) -> None:
    """Finalise the dataset and write its manifest; does nothing when both are there.

    Raises
    ------
    DatasetError
        If groups are missing, or the finished store is not sound.
    """
    build = Build.of(job)
    state, record = build.require()
    if state.phase is Phase.CLOSING and not record.complete:
        raise DatasetError(
            f"{build.store} has no record of what is loaded",
            f"Move it away ({build.store} and the files beside it) and run the task init again.",
        )
    if state.phase is Phase.LOADING and not record.complete:
        require_loaded(build.store, record, list(range(len(state.loaded))))
        record.model_copy(update={"complete": True}).save(build.record_file)
    if state.phase is not Phase.FINISHED:
        prepare(build)
        anemoi_datasets("finalise", build.store, folder=build.sources)
    seal(build.store)
    require_sound(build.store)
    if state.phase is not Phase.FINISHED or not build.manifest.exists():
        manifest.build(build.store).save(build.manifest)
    text = summary(build.store)
    print(f"{build.name}: {text}", flush=True)
    callback.label("info", text)


def prepare(build: Build) -> None:
    """Bring the store to the state from which finalise always gives the same result.

    Partial statistics are removed when dates are missing, because anemoi-datasets then refuses to merge them.
    """
    group = open_group(build.store, "r+")
    if group.attrs.get("missing_dates"):
        shutil.rmtree(build.work_dir, ignore_errors=True)
    if not (build.store / "_build").exists():
        return  # statistics were complete when the clean-up began
    for name in list(group.array_keys()):
        if name in STATISTICS or name.startswith("statistics_tendencies_"):
            shutil.rmtree(build.store / name)


def seal(store: Path) -> None:
    """Remove what a kill left behind and state the true size, which anemoi-datasets takes before its clean-up."""
    shutil.rmtree(store / "_build", ignore_errors=True)
    store.with_name(f"{store.name}.lock").unlink(missing_ok=True)
    for folder, _, names in os.walk(store):
        for name in names:
            if name.endswith(".partial"):
                (Path(folder) / name).unlink()
    group = open_group(store, "r+")
    for _ in range(_TRIES):  # the figures are part of a file that they count
        files, size = measure(store)
        if group.attrs.get("total_number_of_files") == files and group.attrs.get("total_size") == size:
            return
        group.attrs.update({"total_number_of_files": files, "total_size": size})
    raise AssertionError("the size of the store does not settle")


def measure(folder: Path) -> tuple[int, int]:
    """Number of files below FOLDER and their bytes."""
    sizes = [(Path(root) / name).stat().st_size for root, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)


def require_sound(store: Path) -> None:
    """Refuse a store whose statistics are missing or not finite.

    Raises
    ------
    DatasetError
        Naming the array.
    """
    import numpy as np

    state = progress(store)
    if state.phase is not Phase.FINISHED:
        raise DatasetError(
            f"{store} is still {state.phase} after finalise", "See the job's output; run it again."
        )
    group = open_group(store)
    variables = group.attrs["variables"]
    for name in STATISTICS:
        values = group[name][:]
        bad = [v for v, value in zip(variables, values, strict=True) if not np.isfinite(value)]
        if bad:
            raise DatasetError(
                f"{store.stem}: {name} is not finite for {', '.join(bad)}",
                "Are there dates without data that the recipe does not list in dates.missing?",
            )


def summary(store: Path) -> str:
    """One line for an operator."""
    from ml_suite.quantities import format_bytes

    attributes = open_group(store).attrs
    files, size = attributes["total_number_of_files"], attributes["total_size"]
    return f"{files} files, {format_bytes(size)}, {len(attributes['missing_dates'])} missing dates"
