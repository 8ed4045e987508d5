"""From a file to a plan: what is checked before anything runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ml_suite.config.findings import FileError
from ml_suite.errors import StudyError
from ml_suite.search import freeze, run
from ml_suite.search.freeze import Frozen
from ml_suite.search.pool import Orders
from ml_suite.search.work import Job
from ml_suite.study import record, subset
from ml_suite.study.stage import Task
from ml_suite.trainers.mlp.protocol import Setup
from tests.search.studies import TEXT, samples, study
from tests.study.results import result

COMMAND = """\
study: small
data: {arrays: small.npz, validation: 20%, test: 10%}
training: {trainer: command, command: ["{python}", "{files}/train.py"], files: [train.py]}
hpo:
  metric: m
  space: {a: {int: [1, 9]}}
  step1: {trials: 4, subset: 20%}
  step2: {keep: 50%}
"""


@pytest.fixture(autouse=True)
def environment(anemoi_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_SUITE_ENVIRONMENT", str(anemoi_python.parents[1]))


def frozen(folder: Path, *changes: tuple[str, str], text: str = TEXT) -> Frozen:
    return freeze.freeze(study(folder, *changes, text=text), folder / "study")


def test_the_members_of_each_part_are_exact_and_recorded(tmp_path: Path) -> None:
    plan = freeze.settle(frozen(tmp_path))
    counts = {name: part.count for name, part in plan.members.items()}
    assert counts == {"training": 420, "subset": 84, "validation": 120, "test": 60}
    numbers = {}
    for name, part in plan.members.items():
        assert part.path is not None
        numbers[name] = np.load(tmp_path / "study" / part.path)
        assert subset.digest(numbers[name]) == part.sha256
    assert set(numbers["subset"]) < set(numbers["training"])
    parts = [set(numbers[name]) for name in ("training", "validation", "test")]
    assert set.union(*parts) == set(range(600))
    stored = np.load(tmp_path / "study" / "members" / "normalisation.npz")
    x = np.load(tmp_path / "small.npz")["x"][numbers["training"]]
    assert stored["mean"] == pytest.approx(x.mean(0), abs=1e-6)


def test_another_choice_of_candidates_takes_the_outcome_of_the_old_one_away(tmp_path: Path) -> None:
    first = frozen(tmp_path)
    freeze.settle(first)
    for path in first.folder.outcome:
        path.touch()
    freeze.settle(frozen(tmp_path))
    assert all(path.exists() for path in first.folder.outcome)
    other = frozen(tmp_path, ("step2: {keep: ", "step2: {controls: 1, keep: "))
    freeze.settle(other)
    assert other.plan.study == first.plan.study
    assert not any(path.exists() for path in first.folder.outcome)


def test_the_same_file_is_the_same_study_and_another_place_too(tmp_path: Path) -> None:
    one, other = frozen(tmp_path / "a").plan, frozen(tmp_path / "b").plan
    assert one.study == other.study
    assert one.arrays.path != other.arrays.path


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("trials: 12", "trials: 24", True),
        ("keep: 17%", "keep: 50%, finalists: 1, replicates: 2", True),
        ("subset: 20%", "subset: 25%", False),
        ("batch: 32", "batch: 16", False),
        ("epochs: 6", "epochs: 7", False),
        ("normalise: training", "normalise: subset", False),
    ],
)
def test_what_a_trial_does_is_its_identity(old: str, new: str, same: bool, tmp_path: Path) -> None:
    text = TEXT.replace("  test: 10%", "  test: 10%\n  normalise: training")
    one = frozen(tmp_path / "a", text=text).plan
    other = frozen(tmp_path / "b", (old, new), text=text).plan
    assert (one.study == other.study) is same


def test_other_samples_are_another_study(tmp_path: Path) -> None:
    one = frozen(tmp_path).plan
    np.savez(tmp_path / "small.npz", x=np.ones((600, 3)), y=np.ones((600, 2)))
    assert freeze.freeze(tmp_path / "study.yaml", tmp_path / "study").plan.study != one.study


def test_another_version_of_the_program_is_another_study(tmp_path: Path) -> None:
    studies = set()
    for version in ("print(1)", "print(2)"):
        (tmp_path / "train.py").write_text(version)
        studies.add(frozen(tmp_path, text=COMMAND).plan.study)
    assert len(studies) == 2


def test_other_code_of_the_trainer_is_another_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = freeze.settle(frozen(tmp_path))
    record.append(tmp_path / "study" / "step1" / "0-of-1.jsonl", result(0, 0.5, study=plan.study))
    monkeypatch.setattr("ml_suite.search.environment.trainer_version", lambda: "0" * 16)
    with pytest.raises(StudyError, match=r"software\.trainer-mlp: [0-9a-f]{16} -> 0{16}"):
        freeze.settle(frozen(tmp_path))


def test_a_study_with_finished_trials_does_not_become_another_one(tmp_path: Path) -> None:
    plan = freeze.settle(frozen(tmp_path))
    record.append(tmp_path / "study" / "step1" / "0-of-1.jsonl", result(0, 0.5, study=plan.study))
    freeze.settle(frozen(tmp_path, ("trials: 12", "trials: 16")))
    with pytest.raises(StudyError, match=r"has 1 finished trials .* settings.batch: 32 -> 64") as caught:
        freeze.settle(frozen(tmp_path, ("batch: 32", "batch: 64")))
    assert "run it again, or start anew: mv " in (caught.value.hint or "")


def test_a_plan_is_described_on_one_line(tmp_path: Path) -> None:
    plan = frozen(tmp_path).plan
    assert freeze.described(plan) == "12 trials on 84 of 420 samples, 2 of them again on all"
    plan = frozen(tmp_path, ("keep: 17%", "keep: 3, narrow: 5")).plan
    assert freeze.described(plan).endswith("samples, then the best and 5 drawn between the best 3 on all")


def test_patience_in_epochs_is_that_of_each_step(tmp_path: Path) -> None:
    plan = frozen(tmp_path, ("epochs: 6", "epochs: 6\n  patience: 2 epochs")).plan
    assert plan.patience == {"step1": 2 * 3, "step2": 2 * 14}
    plan = frozen(tmp_path, ("epochs: 6", "epochs: 6\n  patience: 50 steps")).plan
    assert plan.patience == {"step1": 50, "step2": 50}


def test_patience_in_epochs_is_that_of_each_trial_where_the_batch_is_searched(tmp_path: Path) -> None:
    plan = frozen(
        tmp_path,
        ("epochs: 6", "epochs: 6\n  patience: 2 epochs"),
        ("  batch: 32\n", ""),
        ("space:\n", "space:\n    batch: {choice: [8, 32]}\n"),
    ).plan
    assert plan.patience == {}
    assert plan.patience_epochs == {"step1": 2, "step2": 2}
    setup = Setup(arrays=plan.arrays, members={}, settings=plan.settings)
    orders = Orders(plan, run.stage2(plan), setup, lambda task: 0, None, tmp_path)
    tasks = [Task(0, {"layers": 1, "units": 8, "batch": batch}) for batch in (8, 32)]
    assert [orders.order(Job(task, None)).patience for task in tasks] == [2 * 53, 2 * 14]


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("layers: {int: [1, 2]}", "layers: {int: [0, 2]}", 13, "layers cannot be 0"),
        ("learning_rate:", "learning_rat:", 15, "did you mean 'learning_rate'"),
        ("units: {choice: [4, 8], per: layers}", "units: {choice: [4.5]}", 14, "units cannot be 4.5"),
    ],
)
def test_the_space_is_compared_with_the_trainer(
    old: str, new: str, line: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(FileError) as caught:
        frozen(tmp_path, (old, new))
    assert message in str(caught.value)
    assert f"study.yaml:{line}:5: error: " in str(caught.value)


def test_constraints_that_nothing_fulfils_are_refused(tmp_path: Path) -> None:
    with pytest.raises((StudyError, FileError), match="constraint"):
        frozen(tmp_path, ("  step1:", "  constraints: ['layers > 2']\n  step1:"))


def test_a_subset_smaller_than_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="has 84, and a batch has 128") as caught:
        frozen(tmp_path, ("batch: 32", "batch: 128"))
    assert "Write at least `subset: 32%`" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.ones((5, 2)), np.ones((6, 1)), "5 inputs and 6 targets"),
        (np.full((5, 2), np.nan), np.ones((5, 1)), "x is not finite in 5 of 5 samples, the first is 0"),
        (np.array(["a"] * 5), np.ones((5, 1)), "x is an array of <U1"),
        (np.ones((2, 2, 2)), np.ones((2, 1)), "with shape"),
    ],
)
def test_samples_that_cannot_be_are_refused(
    x: np.ndarray, y: np.ndarray, message: str, tmp_path: Path
) -> None:
    path = study(tmp_path)
    np.savez(tmp_path / "small.npz", x=x, y=y)
    with pytest.raises(StudyError, match=message):
        freeze.freeze(path)


def test_a_file_that_is_no_table_says_so(tmp_path: Path) -> None:
    path = study(tmp_path)
    (tmp_path / "small.npz").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(StudyError, match=r"small\.npz cannot be read"):
        freeze.freeze(path)
    (tmp_path / "small.npz").write_text("hello")
    with pytest.raises(
        StudyError, match=r"small\.npz is no NumPy file\n  .*numpy\.savez\(FILE, x=\.\.\., y=\.\.\.\)"
    ):
        freeze.freeze(path)
    with (tmp_path / "small.npz").open("wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(StudyError, match=r"is a single array with shape \(3,\)"):
        freeze.freeze(path)
    (tmp_path / "small.npz").unlink()
    (tmp_path / "small.npz").mkdir()
    with pytest.raises(StudyError, match=r"small\.npz is a folder"):
        freeze.freeze(path)
    (tmp_path / "small.npz").rmdir()
    samples(tmp_path / "small.npz")
    path.write_text(path.read_text().replace("npz\n", "npz\n  inputs: z\n"))
    with pytest.raises(StudyError, match="has no array 'z'"):
        freeze.freeze(path)


def test_samples_are_made_once_when_they_are_missing(tmp_path: Path) -> None:
    make = "import sys, numpy as np; np.savez(sys.argv[1], x=np.ones((600, 3)), y=np.ones((600, 1)))"
    path = study(tmp_path, ("small.npz\n", f'made/small.npz\n  make: [python, -c, "{make}", "{{arrays}}"]\n'))
    told: list[str] = []
    assert freeze.freeze(path, say=told.append).plan.arrays.samples == 600
    assert told[0].startswith("making small.npz: ")
    freeze.freeze(path, say=told.append)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("raise ValueError(3)", "data.make failed with exit code 1: ValueError: 3"),
        ("pass", "data.make left no "),
    ],
)
def test_a_program_that_makes_no_samples_is_told(code: str, message: str, tmp_path: Path) -> None:
    path = study(tmp_path, ("small.npz\n", f'other.npz\n  make: [python, -c, "{code}", "{{arrays}}"]\n'))
    with pytest.raises(StudyError, match=message):
        freeze.freeze(path)
    assert not (tmp_path / "other.npz").exists()


def test_missing_samples_that_nothing_makes(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"other\.npz is missing"):
        frozen(tmp_path, ("small.npz", "other.npz"))


def test_an_environment_that_is_not_there_says_how_to_make_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ML_SUITE_ENVIRONMENT", "/nowhere")
    with pytest.raises(StudyError, match="no training environment in /nowhere"):
        frozen(tmp_path)


def test_a_plan_of_another_kind_in_the_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "plan.json").write_text("{}")
    with pytest.raises(StudyError, match="is damaged, or another version or kind of study"):
        freeze.settle(frozen(tmp_path))
