"""What a deployment refers to: files, recipe, hosts, and the composed training configuration."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import pytest

from ml_suite.config import composed
from ml_suite.config.checks import check
from ml_suite.config.findings import FileError, Finding, Severity
from ml_suite.config.hyperparameters import candidates
from ml_suite.config.periods import Span, periods
from ml_suite.config.source import load, parse

NAME = "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1"


@pytest.fixture
def project(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy of the demo with empty source files; no training environment unless a test names one."""
    monkeypatch.setenv("ML_SUITE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "project"
    shutil.copytree(repository / "suites" / "demo", folder)
    shutil.copy(repository / "recipes" / f"{NAME}.yaml", folder)
    (folder / "sources").mkdir()
    (folder / "sources" / "storm1996_6h.nc").touch()
    text = (folder / "deployment.yaml").read_text()
    text = text.replace(f"../../recipes/{NAME}.yaml", f"{NAME}.yaml")
    text = text.replace("~/.cache/ml-suite/sources/storm1996", "sources")
    (folder / "deployment.yaml").write_text(text)
    return folder


def edit(project: Path, *pairs: tuple[str, str], file: str = "deployment.yaml") -> None:
    text = (project / file).read_text()
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new)
    (project / file).write_text(text)


def findings(project: Path) -> list[Finding]:
    path = project / "deployment.yaml"
    source = load(path)
    return check(parse(source), source, path)


def errors(project: Path) -> list[str]:
    return [f"{f.message} | {f.hint}" for f in findings(project) if f.severity is Severity.ERROR]


def test_without_an_environment_one_note_says_so(project: Path) -> None:
    (note,) = findings(project)
    assert note.severity is Severity.NOTE
    assert "the search space is not checked" in note.message
    assert note.hint == "Run: bash ci/environment.sh"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (f"{NAME}.yaml", "none.yaml", "there is no file none.yaml | looked for"),
        ("sources: sources", "sources: elsewhere", "there is no folder elsewhere"),
        ("training/storm.yaml", "training/none.yaml", "there is no file training/none.yaml"),
        ("config: training/storm.yaml", "config: sources", "there is no file sources"),
        (
            "config: training/storm.yaml",
            "config: sources/storm1996_6h.nc",
            "Hydra reads files that end in .yaml",
        ),
        ("parts: 2", "parts: 9", "9 load tasks cannot share 8 groups of dates | write at most 8"),
        ("cpus: 1,", "cpus: 4096,", "CPU cores, not 4096"),
        ("cpus: 1,", "gpus: 4096,", "GPU"),
        ("local:", "locl:", "there is no host file for 'locl' | did you mean 'local'?"),
    ],
)
def test_what_is_not_there(project: Path, old: str, new: str, told: str) -> None:
    edit(project, (old, new))
    (only,) = errors(project)
    assert told in only


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("storm.yaml", "two years in a row are missing"),
        ("demo-na-an-storm-ncl-1p25-1996-1996-6hr-v1.yaml", "'6hr' is no frequency"),
        ("demo-na-an-storm-ncl-1p25-1995-1996-6h-v1.yaml", "starts in 1995, the recipe says 1996"),
        ("demo-na-an-storm-ncl-1p25-1996-1997-6h-v1.yaml", "ends in 1997, the recipe says 1996"),
        ("demo-na-an-storm-ncl-1p25-1996-1996-3h-v1.yaml", "says 3h, the recipe has a frequency of 6h"),
    ],
)
def test_the_recipe_has_the_name_of_its_dataset(project: Path, name: str, told: str) -> None:
    (project / f"{NAME}.yaml").rename(project / name)
    edit(project, (f"{NAME}.yaml", name))
    (only,) = errors(project)
    assert told in only


def test_the_recipe_is_yaml_with_places(project: Path) -> None:
    (project / f"{NAME}.yaml").write_text("dates: [1\n")
    (finding,) = [f for f in findings(project) if f.severity is Severity.ERROR]
    assert finding.place is not None
    assert finding.place.file.endswith(f"{NAME}.yaml")
    assert finding.place.line == 1


def test_the_recipe_is_a_recipe(project: Path) -> None:
    (project / f"{NAME}.yaml").write_text("suite: x\n")
    assert "this is no recipe of a dataset" in errors(project)[0]


def test_files_of_the_recipe_exist(project: Path) -> None:
    (project / "sources" / "storm1996_6h.nc").unlink()
    (finding,) = [f for f in findings(project) if f.severity is Severity.ERROR]
    assert finding.message == f"there is no file {project}/sources/storm1996_6h.nc"
    assert finding.place is not None
    assert "path: storm1996_6h.nc" in finding.place.text


def test_patterns_of_the_recipe_are_checked_up_to_the_pattern(project: Path) -> None:
    edit(project, ("storm1996_6h.nc ", "'{date:strftime(%Y)}/*.nc' "), file=f"{NAME}.yaml")
    assert errors(project) == []
    edit(project, ("'{date", "'years/{date"), file=f"{NAME}.yaml")
    assert "there is no folder" in errors(project)[0]


@pytest.mark.parametrize(
    ("group_by", "parts", "fits"),
    [("8", 8, True), ("10", 8, False), ("daily", 16, True), ("monthly", 2, False)],
)
def test_parts_and_groups(project: Path, group_by: str, parts: int, fits: bool) -> None:
    edit(project, ("group_by: 8 ", f"group_by: {group_by} "), file=f"{NAME}.yaml")
    edit(project, ("parts: 2", f"parts: {parts}"))
    assert bool(errors(project)) is not fits


BIG = """\
title: Big
auth: {kind: key}
callback: spool
scheduler: slurm
gpus_per_node: 4
cores_per_node: 32
billing: core_hours
needs_account: true
partitions:
  short: {max_walltime: 2h}
  long: {max_walltime: 1d, whole_nodes: true}
paths: {work: '/w/{account}', environment: /e}
"""


@pytest.fixture
def elsewhere(project: Path) -> Path:
    """Project on a machine with a scheduler."""
    (project / "hosts").mkdir()
    (project / "hosts" / "big.yaml").write_text(BIG)
    edit(project, ("local: {limit: 2}", "big: {account: p}"))
    return project


def notes(project: Path) -> str:
    return "\n".join(f.message for f in findings(project) if f.severity is Severity.NOTE)


def test_datasets_are_built_beside_the_server(elsewhere: Path) -> None:
    edit(elsewhere, ("parts: 2", "parts: 2\n  host: big"))
    assert errors(elsewhere) == [
        "datasets are built beside the ecFlow server, not on big | leave the key out"
    ]


def test_files_that_go_with_the_suite_are_there(project: Path) -> None:
    edit(project, ("  epochs: 6\n", "  epochs: 6\n  files: [train.py, more/train.py]\n"))
    (project / "train.py").touch()
    assert "there is no file more/train.py" in errors(project)[0]
    (project / "more").mkdir()
    (project / "more" / "train.py").touch()
    assert errors(project) == ["another file is called train.py too | rename one of them"]


def test_a_walltime_above_the_partition_becomes_a_chain(elsewhere: Path) -> None:
    edit(elsewhere, ("cpus: 1, walltime: 10m", "gpus: 16, walltime: 30h"))
    assert errors(elsewhere) == []
    told = notes(elsewhere)
    assert "big: long runs jobs of at most 1d: 1d6h become 2 jobs that go on from the checkpoint" in told
    edit(elsewhere, ("walltime: 30h", "walltime: 1d"))
    assert "checkpoint" not in notes(elsewhere)


def test_gpus_that_do_not_fill_nodes_are_billed_whole(elsewhere: Path) -> None:
    edit(
        elsewhere,
        ("cpus: 1, walltime: 10m", "gpus: 6, walltime: 10m"),
        ("{account: p}", "{account: p, partition: long}"),
    )
    assert errors(elsewhere) == []
    whole = "big: long bills 2 whole nodes with 8 GPUs for the 6 that a job uses, 64 core-hours an hour"
    assert whole in notes(elsewhere)
    edit(elsewhere, ("gpus: 6", "gpus: 7"))
    (only,) = errors(elsewhere)
    assert "big: 7 GPUs cannot be shared evenly by 2 nodes of 4 | write 4 or 8" in only


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("{account: p}", "{}", "Big runs no job without an account | Write `account:`"),
        ("{account: p}", "{account: p, partition: lon}", "no partition 'lon' on Big | did you mean 'long'?"),
        ("cpus: 1", "cpus: 33", "at most 32 cores, not 33"),
        ("{account: p}", "{account: '-p --x'}", "hosts.big.account"),
    ],
)
def test_what_a_host_with_a_scheduler_refuses(elsewhere: Path, old: str, new: str, told: str) -> None:
    edit(elsewhere, (old, new))
    try:
        found = errors(elsewhere)
    except FileError as error:
        found = [str(error)]
    assert told in "\n".join(found)


def test_values_of_the_users_own_file_count(elsewhere: Path, tmp_path: Path) -> None:
    own = tmp_path / "config" / "ml-suite" / "hosts" / "big.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("account: mine\n")
    edit(elsewhere, ("{account: p}", "{}"))
    assert errors(elsewhere) == []


def test_another_architecture_is_noted(elsewhere: Path) -> None:
    (elsewhere / "hosts" / "big.yaml").write_text(BIG + "architecture: aarch64\n")
    assert "big has aarch64 processors" in notes(elsewhere)


def test_a_host_without_internet_fetches_nothing_itself(elsewhere: Path) -> None:
    edit(elsewhere, ("{account: p}", "{account: p, transfer: pull}"))
    for login, count in (("true", 0), ("false", 1)):
        internet = f"internet: {{login: {login}, compute: false}}\n"
        (elsewhere / "hosts" / "big.yaml").write_text(BIG + internet)
        assert len(errors(elsewhere)) == count
    assert (
        "the login nodes of big do not reach the outside | write `transfer: stream`" in errors(elsewhere)[0]
    )
    edit(elsewhere, ("transfer: pull", "object_store: 'https://s3.example'"))
    with pytest.raises(FileError, match="object_store: is for `transfer: pull`"):
        errors(elsewhere)


def test_an_environment_without_anemoi_is_a_warning(project: Path, tmp_path: Path) -> None:
    python = tmp_path / "cache" / "ml-suite" / "anemoi" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    python.chmod(0o755)
    (warning,) = findings(project)
    assert warning.severity is Severity.WARNING
    assert "broken" in warning.message


def test_candidates_are_ends_and_a_point_between(project: Path) -> None:
    deployment = parse(load(project / "deployment.yaml"))
    tried = candidates(deployment)
    assert [v for k, v in tried if k == "training.optimization.lr"] == pytest.approx([1e-3, 3e-2, 3e-5**0.5])
    assert [v for k, v in tried if k == "model.num_channels"] == [8, 16, 32]
    assert [v for k, v in tried if k == "model.processor.num_layers"] == [1, 3]


@pytest.fixture
def trained(project: Path, anemoi_python: Path) -> Path:
    """Project with the real training environment."""
    edit(project, ("config: training", f"environment: {anemoi_python.parents[1]}\n  config: training"))
    return project


@pytest.mark.anemoi
class TestComposed:
    """With the real anemoi-training."""

    def test_the_demo_is_valid(self, trained: Path, tmp_path: Path) -> None:
        assert findings(trained) == []
        (kept,) = (tmp_path / "cache" / "ml-suite" / "composed").iterdir()
        before = kept.stat().st_mtime_ns
        assert findings(trained) == []
        assert kept.stat().st_mtime_ns == before
        edit(trained, ("num_channels: 16", "num_channels: 32"), file="training/storm.yaml")
        assert findings(trained) == []
        assert len(list(kept.parent.iterdir())) == 2

    @pytest.mark.parametrize("place", ["", "composed", "lib"])
    def test_a_cache_that_cannot_be_written_is_done_without(
        self, trained: Path, tmp_path: Path, place: str
    ) -> None:
        cache = tmp_path / "cache" / "ml-suite"
        # a file where a folder has to be: also root is refused
        (cache / place).parent.mkdir(parents=True)
        (cache / place).touch()
        assert findings(trained) == []
        edit(trained, ("model.num_channels: ", "model.num_channel: "))
        assert "model.num_channel is not a key" in "\n".join(errors(trained))
        assert (cache / place).read_bytes() == b""

    def test_facts(self, trained: Path, anemoi_python: Path) -> None:
        deployment = parse(load(trained / "deployment.yaml"))
        facts = composed.compose(trained / "training" / "storm.yaml", anemoi_python.parents[1], {}, [])
        assert facts.version == "0.17.1"
        assert facts.keys["training.optimization.lr"].type == "float"
        assert facts.batch_size["training"] == facts.keys["dataloader.batch_size.training"].value
        assert facts.unsettable == ()
        assert periods(deployment, facts)["training"] == Span(datetime(1996, 1, 5), datetime(1996, 1, 16, 18))

    def test_all_that_is_wrong_with_a_space_comes_at_once(self, trained: Path) -> None:
        edit(
            trained,
            ("model.num_channels: ", "model.num_channel: "),
            ("log: [1.0e-3", "log: [1.0e-300"),
            (
                "{int: [1, 3]}",
                "{int: [-3, 3]}\n    model.processor: {int: [1, 2]}\n    training.max_epochs: {int: [1, 2]}\n"
                "    dataloader.batch_size.training: {float: [1, 4]}\n    data.frequency: {choice: [6h, [1]]}",
            ),
            ("subset: 50%", "subset: 1%"),
            ("epochs: 6", "epochs: 6\n  overrides: {training.precison: x}"),
        )
        told = "\n".join(errors(trained))
        assert "model.num_channel is not a key of training/storm.yaml (anemoi-training 0.17.1)" in told
        assert "did you mean 'model.num_channels'?" in told
        assert "model.processor is a group of keys" in told
        assert "ml-suite sets training.max_epochs for each training | write training.epochs" in told
        assert "dataloader.batch_size.training cannot be 2.1457: write a whole number" in told
        assert "data.frequency cannot be [1]" in told
        assert "model.processor.num_layers cannot be -3: this must be at least 0" in told
        assert "1% of 46 training samples are 0, and step 1 needs 1 | write at least 2.2%" in told
        assert "training.precison is not a key" in told
        assert len(errors(trained)) == 8

    @pytest.mark.parametrize(
        ("old", "new", "told"),
        [
            ("- model: gnn", "- model: none", "Could not find 'model/none'"),
            ("num_channels: 16", "num_channels: -1", "does not fit the schema"),
            ("num_channels: 16", "num_channels: ${nowhere}", "nowhere"),
            ("config_validation: ", "config_validation: [", "anemoi-training 0.17.1: "),
        ],
    )
    def test_a_configuration_that_is_wrong_itself(self, trained: Path, old: str, new: str, told: str) -> None:
        edit(trained, (old, new), file="training/storm.yaml")
        found = errors(trained)
        assert told in found[0]
        assert "Input should" not in "\n".join(found)

    def test_a_contiguous_subset_has_a_whole_window(self, trained: Path) -> None:
        edit(trained, ("subset: 50%", "subset: 5%\n    contiguous: true"))
        (told,) = errors(trained)
        assert "5% of 48 training dates are 2, and one sample needs 3 | write at least 6.3%" in told

    def test_step_2_keeps_the_batch_of_step_1(self, trained: Path) -> None:
        # more GPUs than this machine has, so look only at what the layouts say
        edit(trained, ("step2: {keep: 17%,", "step2: {keep: 17%, resources: {gpus: 3, walltime: 1h},"))
        told = "\n".join(errors(trained))
        assert (
            "step 1 searches a batch of 4 samples (4 on each of 1 replicas), which 3 replicas cannot share"
            in told
        )
        edit(trained, ("gpus: 3", "gpus: 2"))
        assert "cannot share" not in "\n".join(errors(trained))
        assert any(
            "divided by the ratio" in f.message for f in findings(trained) if f.severity is Severity.NOTE
        )

    def test_periods_lie_in_the_dataset_and_apart(self, trained: Path) -> None:
        edit(
            trained,
            ("1996-01-05 00:00:00", "1995-12-05 00:00:00"),
            ("1996-01-17 00:00:00", "1996-01-16 18:00:00"),
            file="training/storm.yaml",
        )
        told = "\n".join(errors(trained))
        assert "the training period 1995-12-05T00:00 to 1996-01-16T18:00 is not within the dataset" in told
        assert (
            "its training period 1995-12-05T00:00 to 1996-01-16T18:00 shares dates with its validation"
            in told
        )
        assert len(errors(trained)) == 2
        edit(
            trained,
            (
                "  config:",
                "  periods:\n    training: {start: 1996-01-05T00:00, end: 1996-01-06T18:00}\n"
                "    validation: {start: 1996-01-07T00:00, end: 1996-01-08T18:00}\n"
                "    test: {start: 1996-01-09T00:00, end: 1996-02-10T18:00}\n  config:",
            ),
        )
        (only,) = errors(trained)
        assert "the test period 1996-01-09T00:00 to 1996-02-10T18:00 is not within" in only

    def test_epochs_and_frequency(self, trained: Path) -> None:
        edit(trained, ("  epochs: 6\n", ""))
        edit(trained, ("frequency: 6h", "frequency: 9h"), file="training/storm.yaml")
        text = (trained / "training" / "storm.yaml").read_text()
        told = "\n".join(errors(trained))
        assert "data.frequency is 9h, which is no multiple of the recipe's 6h" in told
        assert "does not say how many epochs" not in told
        assert "max_epochs" in text


def test_the_program_of_trainer_command(project: Path) -> None:
    periods_ = (
        "  periods:\n    training: {start: 1996-01-05T00:00, end: 1996-01-06T18:00}\n"
        "    validation: {start: 1996-01-07T00:00, end: 1996-01-08T18:00}\n"
        "    test: {start: 1996-01-09T00:00, end: 1996-01-10T18:00}\n"
    )
    text = (project / "deployment.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("  config:"))
    edit(
        project,
        (f"{line}\n", f"  trainer: command\n  command: [./train.py]\n{periods_}"),
        ("patience: 4 epochs", "patience: 200 steps"),  # only the program knows its steps
    )
    assert (
        "./train.py is looked for in the folder of each trial | write its absolute path" in errors(project)[0]
    )
    edit(project, ("./train.py", "no-such-program"))
    assert "there is no program no-such-program" in errors(project)[0]
    edit(project, ("no-such-program", "/bin/true"))
    assert errors(project) == []


def test_the_keys_that_every_training_sets_are_known(tmp_path: Path) -> None:
    from ml_suite.study.contract import Budget, DatasetRef, Layout, Span, TrialSpec
    from ml_suite.trainers import anemoi
    from ml_suite.trainers.compose import OWN

    span = Span(start=datetime(2000, 1, 1), end=datetime(2000, 1, 2))
    spec = TrialSpec(
        study="s",
        trial=0,
        step=1,
        trainer="anemoi",
        params={anemoi.LR: 1e-3, anemoi.BATCH: 4},
        metric="m",
        direction="minimize",
        seed=0,
        dataset=DatasetRef(name="d", path=tmp_path, uuid="u", manifest="m"),
        training=span,
        validation=span,
        test=span,
        samples=10,
        layout=Layout(replicas=1, reference=1),
        budget=Budget(epochs=1),
        environment=tmp_path,
        output=tmp_path,
    )
    # a run that is resumed is named by its id too; these three are the study's or everybody's
    set_by_trainer = {*anemoi.settings(spec), "training.run_id"} - {anemoi.LR, anemoi.BATCH, anemoi.CALLBACKS}
    assert set(OWN) == set_by_trainer
