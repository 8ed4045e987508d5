"""From a study file to a frozen plan, with the members of each part beside it."""

from __future__ import annotations

import fcntl
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from ml_suite.config.hpo import Patience
from ml_suite.config.study_file import StudyFile, parse
from ml_suite.errors import StudyError
from ml_suite.search import checks, environment, samples
from ml_suite.search.folder import Folder
from ml_suite.study import arrays, contract, piloting, planning, record, subset
from ml_suite.study.arrays import ArrayPlan, Members
from ml_suite.study.contract import TrialState
from ml_suite.trainers.mlp import precision, settings

if TYPE_CHECKING:
    from numpy import int64
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Frozen:
    """A study that is ready to run."""

    file: StudyFile
    beside: Path
    """Folder of the study file."""
    folder: Folder
    environment: Path
    plan: ArrayPlan
    parts: subset.Parts
    x: NDArray[Any]
    """Inputs of all samples."""

    @property
    def decided(self) -> bool:
        """Whether subset and keep are stated, rather than to be found by the pilot."""
        return piloting.decided(self.file.hpo)


def freeze(
    path: Path,
    root: Path | None = None,
    say: samples.Say = lambda text: None,
    *,
    doubt: checks.Tell | None = None,
    make: bool = True,
) -> Frozen:
    """Read the study file and its samples, and check all that can be before anything runs.

    Where subset or keep is `auto`, the plan has the largest that may be chosen; see `decide`.

    Parameters
    ----------
    say
        Told that samples are made, and what is doubtful unless DOUBT is.
    make
        Make the samples where they are missing.

    Raises
    ------
    FileError
        With what is wrong in the file.
    samples.Unmade
        If samples are missing and not to be made.
    StudyError
        If samples, parts or environment do not allow the study.
    """
    study, source = parse(path)
    tell = doubt or (lambda finding: say(finding.render()))
    checks.of_file(study, source, tell)
    beside = path.absolute().parent
    where = study.environment(beside)
    software = environment.software(where)
    table = samples.table(study, samples.ensure(study, beside, say, make))
    study = checks.of_samples(study, source, table, tell)
    parts = subset.split(table.arrays.samples, study.data.validation, study.data.test, study.data.seed)
    folder = Folder(root.absolute()) if root else Folder.named(study.study)
    draft = _draft(study, beside, table.arrays, software, folder)
    frozen = Frozen(study, beside, folder, where, draft, parts, table.x)
    hpo = study.hpo
    share = hpo.step1.subset if isinstance(hpo.step1.subset, float) else 1.0
    keep = hpo.keep_count or (hpo.step1.trials if hpo.step2.keep == "auto" else 0)
    frozen = decide(frozen, share, keep)
    checks.of_trials(frozen.plan)
    return frozen


def decide(frozen: Frozen, share: float, keep: int) -> Frozen:
    """Return the study with its subset and the number of candidates.

    Raises
    ------
    StudyError
        If the subset is smaller than a batch.
    """
    plan, study = frozen.plan, frozen.file
    chosen = subset.subset(frozen.parts.training, share, study.data.seed, batch(study, max))
    counts = {"step1": len(chosen), "step2": len(frozen.parts.training)}
    stated = {"step1": study.hpo.step1.patience, "step2": study.hpo.step2.patience}
    patience = {
        name: patience_of(study, given, counts[name])
        for name, own in stated.items()
        if (given := own or study.training.patience)
    }
    members = {name: _members(name, numbers) for name, numbers in _parts(frozen.parts, chosen).items()}
    decided = plan.model_copy(
        update={
            "subset": share,
            "keep": keep,
            "patience": {name: steps for name, (steps, _) in patience.items() if steps},
            "patience_epochs": {name: epochs for name, (_, epochs) in patience.items() if epochs},
            "members": members,
        }
    )
    return replace(frozen, plan=planning.identified(decided))


def settle(frozen: Frozen) -> ArrayPlan:
    """Write the plan and the members; those that are there stay when they are the same.

    Raises
    ------
    StudyError
        If another study has finished trials in this folder.
    """
    folder, plan = frozen.folder, frozen.plan
    try:
        folder.root.mkdir(parents=True, exist_ok=True)
        with (folder.root / "plan.lock").open("w") as lock:
            fcntl.lockf(lock, fcntl.LOCK_EX)  # shards may begin at once
            if (old := load_plan(folder)) is not None:
                planning.require_same(old, plan, finished(folder, old), folder.root, "run it")
            chosen = subset.subset(frozen.parts.training, plan.subset, frozen.file.data.seed)
            for name, numbers in _parts(frozen.parts, chosen).items():
                samples.save(folder.members / f"{name}.npy", numbers)
            if plan.normalisation != "none":
                of = chosen if plan.normalisation == "subset" else frozen.parts.training
                samples.normalise(folder.normalisation, frozen.x, of)
            if old != plan:
                for path in folder.outcome if old is not None else ():
                    path.unlink(missing_ok=True)
                plan.save(folder.plan)
    except OSError as error:
        raise StudyError(
            f"{folder.root} cannot be written: {(error.strerror or str(error)).lower()}",
            "Choose another folder: --folder, or make room.",
        ) from error
    return plan


def described(plan: ArrayPlan) -> str:
    """Say on one line what a plan trains, where subset and keep are decided."""
    part, whole = plan.members["subset"].count, plan.members["training"].count
    first = f"{plan.trials:,} trials on {part:,} of {whole:,} samples"
    if plan.choice.narrow is None:
        return f"{first}, {plan.keep:,} of them again on all"
    return f"{first}, then the best and {plan.choice.narrow:,} drawn between the best {plan.keep:,} on all"


def load_plan(folder: Folder) -> ArrayPlan | None:
    """Return the frozen study of a folder; None if there is none.

    Raises
    ------
    StudyError
        If the file is damaged, or is that of another kind of study.
    """
    try:
        return ArrayPlan.load(folder.plan)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise StudyError(
            f"{folder.plan} is damaged, or another version or kind of study",
            f"Start anew: mv {folder.root} {folder.root}.old",
        ) from error


def patience_of(study: StudyFile, patience: Patience, samples_: int) -> tuple[int | None, int | None]:
    """Return a patience as optimiser steps, or as epochs where the trials differ in how many steps those have."""
    if patience.unit == "epochs" and study.training.trainer == "mlp" and "batch" in study.hpo.space:
        return None, patience.count
    return patience.steps(settings.steps(samples_, batch(study, min))), None


def _draft(
    study: StudyFile, beside: Path, data: arrays.Arrays, software: dict[str, str], folder: Folder
) -> ArrayPlan:
    hpo, training = study.hpo, study.training
    return ArrayPlan(
        study="",
        suite=study.study,
        metric=hpo.metric,
        direction=hpo.direction,
        seed=hpo.seed,
        space={name: d.model_dump(mode="json", exclude_none=True) for name, d in hpo.space.items()},
        constraints=hpo.constraints,
        sampling=hpo.sampling if isinstance(hpo.sampling, str) else f"optuna:{hpo.sampling.optuna}",
        rounds=hpo.sampling.rounds if not isinstance(hpo.sampling, str) else 1,
        trials=hpo.step1.trials,
        keep=0,
        subset=1.0,
        shards=1,
        epochs={
            "step1": hpo.step1.epochs or training.epochs,
            "step2": hpo.step2.epochs or training.epochs,
        },
        rungs=contract.Rungs(
            **hpo.step1.rungs.model_dump(include={"at", "cohort"}), keep=hpo.step1.rungs.keep
        )
        if hpo.step1.rungs
        else None,
        choice=contract.Choice(
            by=hpo.step2.by,
            against=hpo.step2.against,
            filter=hpo.step2.filter,
            controls=hpo.step2.controls,
            finalists=hpo.step2.finalists,
            replicates=hpo.step2.replicates,
            select=hpo.step2.select,
            narrow=hpo.step2.narrow,
            rungs=contract.Cuts(at=hpo.step2.rungs.at, keep=hpo.step2.rungs.keep)
            if hpo.step2.rungs
            else None,
        ),
        trainer=training.trainer,
        software=software | _program(study, beside),
        training_seed=training.seed,
        command=training.command,
        arrays=data,
        members={},
        normalisation=study.data.normalise,
        precision=_precision(study, folder),
        settings=training.settings if training.trainer == "mlp" else {},
    )


def _precision(study: StudyFile, folder: Folder) -> dict[str, Literal["fp32", "bf16"]]:
    wanted = study.training.precision
    if wanted != "auto":
        return {"step1": wanted, "step2": wanted}
    if study.training.trainer != "mlp":
        return {"step1": "fp32", "step2": "fp32"}
    known = load_plan(folder)  # another host of the same study decides as the first one did
    if known is not None and known.precision["step2"] == "fp32":
        return known.precision
    fast = bool(environment.gpus()) or precision.available()
    return {"step1": "bf16" if fast else "fp32", "step2": "fp32"}


def _program(study: StudyFile, beside: Path) -> dict[str, str]:
    """Versions of the code that trains: of trainer mlp, or of the files that the program is made of."""
    if study.training.trainer == "mlp":
        return {"trainer-mlp": environment.trainer_version()}
    return {
        name: hashlib.sha256((beside / name).read_bytes()).hexdigest()[:16] for name in study.training.files
    }


def batch(study: StudyFile, pick: Any) -> int:
    """Samples of one optimiser step, the smallest or largest of the space; 1 where only a program knows."""
    if study.training.trainer != "mlp":
        return 1
    dimension = study.hpo.space.get("batch")
    if dimension is None:
        return study.training.batch or int(settings.Settings.model_fields["batch"].default)
    values = dimension.choice if dimension.choice is not None else getattr(dimension, dimension.kind)
    whole = [value for value in values if isinstance(value, int)]
    return int(pick(whole)) if whole else 1


def _parts(parts: subset.Parts, chosen: NDArray[int64]) -> dict[str, NDArray[int64]]:
    return {
        "training": parts.training,
        "subset": chosen,
        "validation": parts.validation,
        "test": parts.test,
    }


def _members(name: str, numbers: NDArray[int64]) -> Members:
    return Members(count=len(numbers), sha256=subset.digest(numbers), path=Path("members") / f"{name}.npy")


def finished(folder: Folder, old: ArrayPlan) -> int:
    """Count the trainings of both steps that have an outcome."""
    final = {TrialState.COMPLETE, TrialState.PRUNED, TrialState.DIVERGED}
    paths = [path for stage in ("step1", "step2") for path in folder.records(stage)]
    return sum(r.state in final for r in record.merge(paths, old.study))
