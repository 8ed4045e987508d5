"""Task load: read one part of the dates into the dataset."""

from __future__ import annotations

from pathlib import Path

from ml_suite.datasets.groups import groups_of_part, groups_without_chunks
from ml_suite.datasets.store import Phase, open_group, progress
from ml_suite.errors import DatasetError
from ml_suite.jobs import callback
from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.command import anemoi_datasets
from ml_suite.jobs.dataset.record import Build, BuildRecord


def run(job: Job, part: int, parts: int) -> None:
    """Load part PART of PARTS; groups that are done are skipped.

    Raises
    ------
    DatasetError
        If anemoi-datasets fails, the disk is full, or a group is not there afterwards.
    """
    build = Build.of(job)
    state, record = build.require()
    if state.phase is not Phase.LOADING:
        callback.meter("groups", 100)
        print(f"{build.name} is loaded and finalised already", flush=True)
        return
    mine = groups_of_part(part, parts, len(state.loaded))
    forget_lost(build.store, record, mine)

    def watch() -> None:
        done = progress(build.store).loaded
        callback.meter("groups", 100 * sum(done[g] for g in mine) // len(mine))

    if mine:
        watch()
        anemoi_datasets("load", build.store, "--parts", f"{part}/{parts}", folder=build.sources, watch=watch)
    require_loaded(build.store, record, mine)
    callback.meter("groups", 100)
    callback.label("info", f"{len(mine)} of {len(state.loaded)} groups")


def forget_lost(store: Path, record: BuildRecord, groups: list[int]) -> None:
    """Clear the flag of groups whose data is not there, so that they are loaded again."""
    loaded = progress(store).loaded
    for group in set(missing_groups(store, record)) & set(groups):
        if loaded[group]:
            print(
                f"group {group} is flagged as loaded but its data is not there: loading it again", flush=True
            )
            open_group(store, "r+")["_build"]["flags"][group] = False


def missing_groups(store: Path, record: BuildRecord) -> list[int]:
    """Groups of a store in the making that are not flagged, or flagged without data."""
    flagged = progress(store).missing
    return sorted({*flagged, *groups_without_chunks(store, record.row_groups())})


def require_loaded(store: Path, record: BuildRecord, groups: list[int]) -> None:
    """Refuse a store in which one of these groups is missing.

    Raises
    ------
    DatasetError
        Naming the groups.
    """
    if missing := sorted(set(missing_groups(store, record)) & set(groups)):
        total = len(progress(store).loaded)
        raise DatasetError(
            f"{store.stem}: groups not loaded: {', '.join(map(str, missing))} (of {total})",
            "Run the load tasks again: groups that are done are skipped.",
        )
