"""Task init: lay the dataset out.

anemoi-datasets works in a scratch folder; the store gets its name by a rename, so a stopped init leaves nothing that
looks like a dataset.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ml_suite.datasets.groups import shared_chunks
from ml_suite.datasets.store import Phase, open_group, progress
from ml_suite.errors import ConfigError, DatasetError
from ml_suite.jobs import callback
from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.command import anemoi_datasets
from ml_suite.jobs.dataset.naming import require_valid_name
from ml_suite.jobs.dataset.record import Build, BuildRecord, gridded_groups


def run(job: Job) -> None:
    """Lay the dataset out, unless the store is there and comes from the same recipe.

    Raises
    ------
    DatasetError
        If there is a store of that name from another recipe, or anemoi-datasets fails.
    ConfigError
        If the name breaks the convention, or the load tasks would write to the same chunks.
    """
    build = Build.of(job)
    if progress(build.store).phase is not Phase.ABSENT:
        state, _ = build.require()
        tell(f"{build.name} is there already, {state.percent}% loaded")
        return
    require_valid_name(build.name)
    scratch = build.store.with_name(f"{build.store.name}.init")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    draft = scratch / build.store.name
    anemoi_datasets("init", build.recipe_file, draft, folder=build.sources)
    state = progress(draft)
    if state.phase is not Phase.LOADING or state.uuid is None:
        raise DatasetError(f"anemoi-datasets init left no dataset at {draft}", "See the job's output.")
    record = BuildRecord(name=build.name, uuid=state.uuid, recipe=build.recipe, groups=gridded_groups(draft))
    require_separate_chunks(draft, record, job.deployment.dataset.parts)
    # leftovers of a build that somebody removed by hand
    shutil.rmtree(build.work_dir, ignore_errors=True)
    build.manifest.unlink(missing_ok=True)
    record.save(build.record_file)
    draft.rename(build.store)
    shutil.rmtree(scratch, ignore_errors=True)
    tell(f"{len(state.loaded)} groups to load")


def require_separate_chunks(store: Path, record: BuildRecord, parts: int) -> None:
    """Refuse a layout in which two load tasks would overwrite each other's dates.

    Raises
    ------
    ConfigError
        Naming the groups, the chunk length and the remedy.
    """
    length = open_group(store)["data"].chunks[0]
    if shared := shared_chunks(record.row_groups(), length, parts):
        first, second = shared[0]
        raise ConfigError(
            f"groups {first} and {second} of the recipe share a chunk of {length} dates, "
            "and two load tasks would overwrite each other",
            "Make build.group_by a multiple of output.chunking.dates (mind missing dates), or set dataset.parts: 1.",
        )


def tell(text: str) -> None:
    """Say it in the log and on the task."""
    print(text, flush=True)
    callback.label("info", text)
