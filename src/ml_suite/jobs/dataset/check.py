"""Task check: everything is loaded, and the name follows the convention."""

from __future__ import annotations

from ml_suite.datasets.store import Phase
from ml_suite.jobs import callback
from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.load import require_loaded
from ml_suite.jobs.dataset.naming import require_name_of_store
from ml_suite.jobs.dataset.record import Build


def run(job: Job) -> None:
    """Check the dataset, whether it is finalised or not.

    Raises
    ------
    DatasetError
        Naming the groups that are missing.
    ConfigError
        If the name breaks the convention or disagrees with the data.
    """
    build = Build.of(job)
    state, record = build.require()
    require_name_of_store(build.store)
    if state.phase is Phase.LOADING and not record.complete:
        require_loaded(build.store, record, list(range(len(state.loaded))))
    text = "finalised" if state.phase is Phase.FINISHED else f"{len(state.loaded)} groups loaded"
    print(f"{build.name}: {text}", flush=True)
    callback.label("info", text)
