"""What comes before and after the two steps: decisions of the pilot, winner, cost, network and report."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import StudyError
from ml_suite.search import environment
from ml_suite.search.folder import Folder
from ml_suite.search.freeze import Frozen
from ml_suite.study import cost, record, two_step
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.contract import Selection, Shortlist, TrialResult
from ml_suite.trainers.mlp.protocol import Setup

Say = Callable[[str], None]

EXPORT = "ml_suite.trainers.mlp.export"


def decided(frozen: Frozen, work: Callable[..., list[TrialResult]], say: Say) -> Frozen:
    """Run the pilot where there is one, and return the study with what it decided."""
    return frozen


def conclude(
    frozen: Frozen, plan: ArrayPlan, chosen: Shortlist, results: Sequence[TrialResult], say: Say
) -> Selection:
    """Name the winner and leave everything that is known of the study in its folder."""
    folder = frozen.folder
    second = [r for r in results if r.step == 2]
    atomic.write(folder.table(2), record.table(second))
    selection = two_step.select(plan, chosen, second)
    selection.save(folder.selection)
    account(plan, folder, results).save(folder.cost)
    if plan.trainer == "mlp":
        export(frozen, plan, selection, say)
    return selection


def account(plan: ArrayPlan, folder: Folder, results: Sequence[TrialResult]) -> cost.Cost:
    """Add up what the study has cost."""
    parts = {
        "pilot": record.merge(folder.root.glob("pilot/*/*.jsonl")),
        "step1": [r for r in results if r.step == 1],
        "step2": [r for r in results if r.step == 2],
    }
    return cost.account({part: of for part, of in parts.items() if of}, plan.trials)


def setup(plan: ArrayPlan, folder: Folder) -> Setup:
    """Return the data of a training on everything."""
    return Setup(
        arrays=plan.arrays,
        members={
            name: folder.root / part.path
            for name in ("training", "validation", "test")
            if (part := plan.members[name]).path is not None
        },
        normalisation=None if plan.normalisation == "none" else folder.normalisation,
        precision=plan.precision["step2"],
        settings=plan.settings,
    )


def export(frozen: Frozen, plan: ArrayPlan, selection: Selection, say: Say) -> Path | None:
    """Leave the winner's network as ONNX; without the libraries for it the study is told, not lost."""
    folder, weights = frozen.folder, selection.result.checkpoint
    path = folder.root / "setup.json"
    setup(plan, folder).save(path)
    if weights is None or not weights.path.exists():
        say("the winner's weights are gone: no network is exported")
        return None
    about = {
        "study": plan.study,
        "name": plan.suite,
        **{f"software_{k}": v for k, v in plan.software.items()},
    }
    argv = [str(environment.python_of(frozen.environment)), "-m", EXPORT, "--weights", str(weights.path)]
    argv += ["--setup", str(path), "--out", str(folder.network), "--study", json.dumps(about)]
    done = subprocess.run(argv, env=environment.variables(0), capture_output=True, text=True, check=False)
    if done.returncode:
        words = (done.stderr.strip() or "it said nothing").splitlines()
        say(f"the network is not exported: {words[-1]}")
        return None
    say(done.stdout.strip())
    return folder.network


__all__ = ["StudyError", "account", "conclude", "decided", "export", "setup"]
