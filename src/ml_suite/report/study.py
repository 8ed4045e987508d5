"""Read the folder of a study that ran on one machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ml_suite.errors import StudyError
from ml_suite.report.assemble import Found, assemble
from ml_suite.report.model import Report
from ml_suite.report.predictions import outputs, predictions
from ml_suite.study import record
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.certificate import Certificate
from ml_suite.study.contract import Selection, Shortlist, TrialResult
from ml_suite.study.files import load


def report_of_study(folder: Path, now: datetime | None = None) -> Report:
    """Everything that is known of a study; a half-finished one gives a report too.

    Raises
    ------
    StudyError
        If there is no study in the folder, or a file of it is damaged.
    """
    plan = load(ArrayPlan, folder / "plan.json")
    if plan is None:
        raise StudyError(
            f"{folder} holds no study: there is no plan.json",
            "Run: ml-suite study run FILE",
        )
    chosen = load(Shortlist, folder / "shortlist.json")
    selection = load(Selection, folder / "selection.json")
    found = Found(
        results=record.merge([*folder.glob("step1/*.jsonl"), *folder.glob("step2/*.jsonl")], plan.study),
        plan=plan,
        pilot=_pilot(folder),
        chosen=chosen,
        selection=selection,
        certificate=load(Certificate, folder / "certificate.json"),
        predictions=predictions(folder, outputs(plan.arrays)),
    )
    missing = [
        (chosen, "step 1 is not finished: there is no shortlist"),
        (selection, "there is no winner yet"),
    ]
    return assemble(found, plan.suite, now or datetime.now(UTC)).model_copy(
        update={
            "kind": "study",
            "missing": [words for there, words in missing if not there],
            "dataset": str(plan.arrays.path),
            "samples": {name: part.count for name, part in plan.members.items()},
        }
    )


def _pilot(folder: Path) -> list[TrialResult]:
    """Trainings of the pilot; its parts train the same trials, so each is a record of its own."""
    parts = sorted({path.parent for path in folder.glob("pilot/*/*.jsonl")})
    return [result for part in parts for result in record.merge(part.glob("*.jsonl"))]
