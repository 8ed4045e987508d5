"""From which recipe a dataset is built: a small file beside the store.

``NAME.zarr.build.json`` is written before the store appears under its name and names the store's uuid, so a store and
a record that do not belong together are noticed.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_suite.config.resolved import GitSource
from ml_suite.datasets.groups import Group, from_ranges, ranges, read_groups
from ml_suite.datasets.store import Phase, Progress, open_group, progress
from ml_suite.errors import ConfigError, DatasetError
from ml_suite.jobs.context import Job
from ml_suite.study.contract import Document


class BuildRecord(Document):
    """The recipe of a store and whether all its groups were seen loaded."""

    name: str
    uuid: str
    recipe: GitSource
    groups: list[list[tuple[int, int]]]
    """Rows of each group of dates, as ranges with both ends; empty when the layout is not gridded."""
    complete: bool = False
    """Every group was loaded when finalise began; after a kill in finalise the flags may be gone."""

    def row_groups(self) -> list[Group]:
        """Groups of dates with their rows."""
        return [from_ranges(number, spans) for number, spans in enumerate(self.groups)]


def gridded_groups(store: Path) -> list[list[tuple[int, int]]]:
    """Rows of the groups of a store in the making, for `BuildRecord.groups`."""
    group = open_group(store)
    if len(group["data"].shape) != 4 or "_recipe" not in group.attrs:
        return []
    return [ranges(found.rows) for found in read_groups(store)]


@dataclass(frozen=True)
class Build:
    """Names and places of the deployment's dataset on the host that builds it."""

    name: str
    recipe: GitSource
    recipe_file: Path
    sources: Path
    store: Path

    @classmethod
    def of(cls, job: Job) -> Build:
        """Look them up; a relative dataset.sources is below the host's work folder.

        Raises
        ------
        ConfigError
            If the deployed recipe is missing or was changed after the deploy.
        """
        chosen = job.deployment.dataset.sources
        sources = job.tree.work / Path(chosen).expanduser() if chosen else job.tree.sources
        recipe, file = job.resolved.recipe, job.resolved.recipe_file
        name = job.deployment.dataset_name
        if not file.is_file():
            raise ConfigError(f"the deployed recipe {file} is missing", "Run: ml-suite deploy")
        if hashlib.sha256(file.read_bytes()).hexdigest() != recipe.sha256:
            raise ConfigError(f"the deployed recipe {file} was changed by hand", "Run: ml-suite deploy")
        return cls(name, recipe, file, sources, job.tree.build(name))

    @property
    def record_file(self) -> Path:
        """Where the record is."""
        return self.store.with_name(f"{self.store.name}.build.json")

    @property
    def work_dir(self) -> Path:
        """Partial statistics of anemoi-datasets."""
        return self.store.with_name(f"{self.store.name}.work_dir")

    @property
    def manifest(self) -> Path:
        """Checksums of the finished store."""
        return self.store.with_name(f"{self.store.name}.manifest.jsonl")

    def record(self) -> BuildRecord | None:
        """Read the record; None if there is none."""
        return BuildRecord.load(self.record_file) if self.record_file.exists() else None

    def require(self) -> tuple[Progress, BuildRecord]:
        """State of the store and its record, when it is the one that the deployed recipe describes.

        Raises
        ------
        DatasetError
            If it is not there, broken, or made from another recipe.
        """
        state = progress(self.store)
        if state.phase is Phase.ABSENT:
            raise DatasetError(f"{self.store} does not exist", "Run the task init first.")
        if state.phase is Phase.BROKEN or state.uuid is None:
            raise DatasetError(
                f"{self.store} is neither in the making nor finished",
                f"Move it away ({self.store} and the files beside it) and run the task init again.",
            )
        return state, self._belonging(state.uuid)

    def _belonging(self, uuid: str) -> BuildRecord:
        record = self.record()
        if record and record.uuid == uuid and record.recipe.sha256 == self.recipe.sha256:
            return record
        if not self._same_recipe():
            raise DatasetError(
                f"{self.store} was made from another recipe than the deployed {self.recipe.path}",
                f"Raise the version number in the recipe's file name ({next_version(self.name)}) and deploy again.",
            )
        # made elsewhere, or from a recipe that differs in comments only: the first recipe stays the one on record
        if record is None or record.uuid != uuid:
            groups = gridded_groups(self.store)
            record = BuildRecord(name=self.name, uuid=uuid, recipe=self.recipe, groups=groups)
            record.save(self.record_file)
        return record

    def _same_recipe(self) -> bool:
        """Compare the recipe that the store carries with the deployed one, both without paths and comments."""
        return bool(open_group(self.store).attrs.get("recipe") == sanitised_recipe(self.recipe_file))


def sanitised_recipe(file: Path) -> dict[str, Any]:
    """Return the recipe as anemoi-datasets keeps it in a finished store."""
    from anemoi.datasets.create.recipe import loader_recipe_from_yaml
    from anemoi.utils.sanitise import sanitise

    recipe: Any = loader_recipe_from_yaml(str(file))
    whole = recipe.strip_unknown_keys(json.loads(recipe.model_dump_json()))
    kept: dict[str, Any] = sanitise(whole) if recipe.output.sanitise else whole
    return kept


def next_version(name: str) -> str:
    """Name of the next version.

    >>> next_version("demo-na-an-storm-ncl-1p25-1996-1996-6h-v1")
    'demo-na-an-storm-ncl-1p25-1996-1996-6h-v2'
    >>> next_version("storm")
    'storm-v2'
    """
    import re

    if m := re.fullmatch(r"(.*-v)(\d+)(-.*)?", name):
        return f"{m[1]}{int(m[2]) + 1}{m[3] or ''}"
    return f"{name}-v2"
