"""What is known of a study, from its folder; nothing is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from ml_suite.config.resolved import Resolved
from ml_suite.errors import MlSuiteError, StudyError
from ml_suite.home import home
from ml_suite.layout import WorkTree
from ml_suite.search import network
from ml_suite.search.folder import Folder
from ml_suite.search.network import Network
from ml_suite.study import record
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.certificate import Certificate
from ml_suite.study.contract import SearchPlan, Selection, Shortlist, StudyPlan, TrialResult
from ml_suite.study.cost import Cost
from ml_suite.study.files import load


@dataclass(frozen=True)
class Known:
    """A study as far as it is."""

    folder: Folder
    plan: SearchPlan
    results: list[TrialResult]
    """Of both steps."""
    left_out: str
    """Results of other studies in the folder, in words."""
    shortlist: Shortlist | None
    selection: Selection | None
    cost: Cost | None
    certificate: Certificate | None
    network: Network | None

    def of_step(self, step: int) -> list[TrialResult]:
        """Results of one step by trial and replicate."""
        return [r for r in self.results if r.step == step]


def find(name: str) -> Folder:
    """Return the folder of a study: a folder, a study of this machine, or a deployed suite.

    Raises
    ------
    MlSuiteError
        If there is none of that name.
    """
    given = Path(name).expanduser()
    if (given / "plan.json").is_file():
        return Folder(given.absolute())
    if (own := Folder.named(name)).plan.is_file():
        return own
    if (suite := _deployed(name)) is not None:
        return suite
    known = [folder.root.name for folder in studies()]
    raise MlSuiteError(
        f"there is no study {name!r}: neither a folder with a plan.json, nor one in {home() / 'studies'}",
        f"There are: {', '.join(known)}." if known else "Run: ml-suite study run FILE",
    )


def studies() -> list[Folder]:
    """Folders of the studies of this machine that have one by their name."""
    return [Folder(path.parent) for path in sorted((home() / "studies").glob("*/plan.json"))]


def _deployed(name: str) -> Folder | None:
    """Folder of the latest cycle of a deployed suite."""
    path = home() / "suites" / name / "resolved.json"
    if not path.is_file():
        return None
    resolved = Resolved.load(path)
    root = WorkTree.of(resolved, resolved.ops).root.parent
    plans = sorted(root.glob("*/study/plan.json"), key=lambda p: p.parents[1].name)
    return Folder(plans[-1].parent) if plans else None


def look(folder: Folder) -> Known:
    """Read a study.

    Raises
    ------
    StudyError
        If a file is damaged.
    """
    plan = _plan(folder.plan)
    paths = [path for stage in ("step1", "step2") for path in folder.records(stage)]
    found = record.gather([*paths, *_mirrored(folder)], plan.study)
    selection = _mine(plan, load(Selection, folder.selection))
    return Known(
        folder=folder,
        plan=plan,
        results=[r for r in found.results if r.step == 2 or r.trial < plan.trials],
        left_out=found.left_out,
        shortlist=_mine(plan, load(Shortlist, folder.shortlist)),
        selection=selection,
        cost=load(Cost, folder.cost),
        certificate=_mine(plan, load(Certificate, folder.certificate)),
        network=network.known(folder, selection),
    )


def _mirrored(folder: Folder) -> list[Path]:
    """Records that came from other hosts, where the folder is that of a deployed suite."""
    cycle = folder.root.parent
    work = cycle.parent.parent.parent
    if folder.root.name != "study" or cycle.parent.parent.name != "suites":
        return []
    inside = folder.root.relative_to(work)
    return sorted((work / "mirror").glob(f"*/{inside}/step*/*.jsonl"))


def _plan(path: Path) -> SearchPlan:
    content = path.read_bytes()
    for kind in (ArrayPlan, StudyPlan):
        try:
            return kind.model_validate_json(content)
        except ValidationError:
            continue
    raise StudyError(f"{path} is damaged or of another version", "Run the study again to write it anew.")


Owned = TypeVar("Owned", Shortlist, Selection, Certificate)


def _mine(plan: SearchPlan, found: Owned | None) -> Owned | None:
    """Leave out what an earlier study of the folder left."""
    return found if found is not None and found.study == plan.study else None
