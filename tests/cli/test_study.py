"""``ml-suite study`` as a person types it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ml_suite.cli import main
from ml_suite.cli import study_words as words
from ml_suite.cli.study_live import left, line, title
from ml_suite.search.folder import Folder
from ml_suite.search.look import look
from ml_suite.search.stages import Progress
from ml_suite.study import record, two_step
from ml_suite.study.contract import Choice, TrialState
from tests.search.studies import TEXT, samples, study
from tests.study.results import plan as study_plan
from tests.study.results import result

PROGRAM = """\
import json, sys, time
spec = json.load(open(sys.argv[1]))
time.sleep(spec["params"].get("sleep", 0))
outcome = {"metrics": {"error": 1 / spec["params"]["a"]}, "parameters": spec["params"]["a"]}
json.dump(outcome, open("outcome.json", "w"))
"""
COMMAND = """\
study: own
data: {arrays: small.npz, validation: 20%, test: 10%}
training: {trainer: command, command: ["{python}", "{files}/train.py"], files: [train.py]}
hpo:
  metric: error
  space: {a: {int: [1, 9]}}
  step1: {trials: 5, subset: 20%}
  step2: {keep: 40%}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, anemoi_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ML_SUITE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ML_SUITE_ENVIRONMENT", str(anemoi_python.parents[1]))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.chdir(tmp_path)


@dataclass(frozen=True)
class Typed:
    """What a command left."""

    returncode: object
    stdout: str
    stderr: str


def typed(*words: object) -> Typed:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["study", *map(str, words)])
    return Typed(ended.value.code, out.getvalue(), err.getvalue())


def own(folder: Path, *changes: tuple[str, str]) -> Path:
    samples(folder / "small.npz", 100)
    (folder / "train.py").write_text(PROGRAM)
    text = COMMAND
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "study.yaml").write_text(text)
    return folder / "study.yaml"


def test_a_study_is_run_shown_listed_and_exported(tmp_path: Path) -> None:
    own(tmp_path)
    done = typed("run", ".", "--workers", 2)
    assert done.returncode == 0, done.stderr
    assert "step 1: 5 of 5, 5 complete" in done.stdout
    assert "winner" in done.stdout
    assert done.stdout.endswith("Next: ml-suite study show own\n")
    assert "\x1b" not in done.stdout
    shown = typed("show", "own").stdout
    assert "5 of 5 trials: 5 complete" in shown
    assert "report       home/studies/own/report.html" in shown
    told = json.loads(typed("show", "own", "--json").stdout)
    assert told["states"] == {"1": {"complete": 5}, "2": {"complete": 2}}
    assert told["selection"]["params"]["a"] == max(
        row["params"]["a"] for row in json.loads(typed("trials", "own", "--step", 1, "--json").stdout)
    )
    assert told["certificate"]["verdict"] == "not judged"
    listed = json.loads(typed("trials", "own", "--sort", "parameters", "--filter", "a < 5", "--json").stdout)
    sizes = [row["parameters"] for row in listed]
    assert sizes == sorted(sizes)
    assert all(size < 5 for size in sizes)
    table = typed("trials", "own", "--step", 1, "--top", 2).stdout
    assert table.endswith("2 of 5 trainings\n")
    assert typed("export", "own", "--csv", "a.csv", "--optuna", "sqlite:///a.db").returncode == 0
    assert len(list(csv.reader(Path("a.csv").read_text().splitlines()))) == 8
    assert typed("report", "own", "--html", "own.html").returncode == 0
    assert "</html>" in Path("own.html").read_text()
    # a folder is as good as a name
    by_folder = typed("show", tmp_path / "home" / "studies" / "own").stdout
    assert by_folder.splitlines()[:-1] == shown.splitlines()[:-1]


def test_a_study_is_validated_without_leaving_anything(tmp_path: Path) -> None:
    own(tmp_path, ("step2: {keep: 40%}", "step2: {keep: 2, controls: 1, finalists: 1, replicates: 3}"))
    done = typed("validate", "study.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    summary = "5 trials on 14 of 70 samples, 2 of them again on all, 1 control, 2 with other seeds"
    assert done.stdout == f"study.yaml is valid: {summary}\nNext: ml-suite study run study.yaml\n"
    assert not (tmp_path / "home").exists()
    told = json.loads(typed("validate", ".", "--json").stdout)
    assert told == {"file": "study.yaml", "valid": True, "study": "own", "findings": []}
    # the command for deployments takes it too
    out = io.StringIO()
    with redirect_stdout(out), pytest.raises(SystemExit) as ended:
        main(["validate", "."])
    assert (ended.value.code, out.getvalue()) == (0, done.stdout)


def test_a_study_that_cannot_run_is_not_valid(tmp_path: Path) -> None:
    path = own(tmp_path, ("  metric: error", "  metric: error\n  direction: maximize"))
    (tmp_path / "small.npz").unlink()
    told = json.loads(typed("validate", path, "--json").stdout)
    assert [(f["severity"], f["line"]) for f in told["findings"]] == [("warning", 6), ("error", None)]
    assert "small.npz is missing" in told["findings"][1]["message"]
    done = typed("validate", path, "--folder", "f")
    assert done.returncode == 2
    assert "error: there are no samples: " in done.stderr
    assert "1 error in study.yaml" in done.stderr
    own(tmp_path)
    typed("run", ".", "--folder", "f")
    assert "valid: 5 trials on 14 of 70 samples, 2 of them again on all, 7 are trained already" in (
        typed("validate", ".", "--folder", "f").stdout
    )
    own(tmp_path, ("subset: 20%", "subset: 40%"))
    done = typed("validate", ".", "--folder", "f")
    assert done.returncode == 2
    assert "has 7 finished trials and would become another one: subset: 0.2 -> 0.4" in done.stderr


def test_samples_that_a_program_makes_are_no_reason_to_refuse(tmp_path: Path) -> None:
    path = own(tmp_path, ("arrays: small.npz,", "arrays: made.npz, make: [touch, '{arrays}'],"))
    done = typed("validate", path)
    assert done.returncode == 0
    assert "note: the samples are not made yet: " in done.stderr
    assert done.stdout.startswith("study.yaml is valid\n")
    assert not (tmp_path / "made.npz").exists()


def test_what_a_file_leaves_out_is_shown_and_read_back_as_the_same(tmp_path: Path) -> None:
    from ml_suite.config.study_file import parse

    for path in (own(tmp_path), study(tmp_path / "mlp")):
        shown = path.with_name("shown.yaml")
        shown.write_text(typed("validate", path, "--show-defaults").stdout)
        assert parse(shown)[0] == parse(path)[0]
        assert "direction: minimize" in shown.read_text()


def test_a_file_of_the_other_kind_is_told_from_one_that_is_wrong(tmp_path: Path) -> None:
    own(tmp_path)
    (tmp_path / "deployment.yaml").write_text("suite: a\nhosts: {local: {}}\n")
    done = typed("run", "deployment.yaml")
    assert done.returncode == 2
    assert "deployment.yaml:1:1: error: this is a deployment, and no study file" in done.stderr
    assert "1 error in" in done.stderr
    err = io.StringIO()
    with redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(["plan", "study.yaml"])
    assert ended.value.code == 2
    assert "study.yaml:1:1: error: this is a study file, and no deployment" in err.getvalue()


def test_a_search_begins_where_a_study_of_optuna_ended(tmp_path: Path) -> None:
    own(tmp_path)
    typed("run", ".")
    assert typed("export", "own", "--optuna", "sqlite:///a.db").returncode == 0
    path = own(tmp_path, ("metric: error", "metric: error\n  sampling: {optuna: tpe, rounds: 2}"))
    done = typed("import", path, "--optuna", "sqlite:///a.db", "--name", "own", "--folder", "f")
    assert done.stdout == "took 5 of 5 trials of own\nNext: ml-suite study run study.yaml --folder f\n"
    assert typed("run", path, "--folder", "f").returncode == 0
    drawn = [json.loads((tmp_path / "f" / "draws" / f"00{i}.json").read_text()) for i in range(2)]
    assert [draws["seen"] for draws in drawn] == [5, 8]
    assert "Name one of: own, own-step2" in typed("import", path, "--optuna", "sqlite:///a.db").stderr


def test_shards_end_by_themselves_and_a_plain_run_takes_them_up(tmp_path: Path) -> None:
    own(tmp_path)
    first = typed("run", "study.yaml", "--folder", "f", "--shard", "1/2")
    assert "This shard is done. When all are: ml-suite study run study.yaml --folder f" in first.stdout
    assert "3 of 5 trials: 3 complete" in typed("show", "f").stdout
    assert "There is no winner yet." in typed("show", "f").stdout
    done = typed("run", "study.yaml", "--folder", "f")
    assert "5 of 5 trials: 5 complete" in done.stdout
    assert len((tmp_path / "f" / "step1" / "0-of-2.jsonl").read_text().splitlines()) == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_cleanly_and_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    own(
        tmp_path, ("a: {int: [1, 9]}", "a: {int: [1, 9]}, sleep: {choice: [0.3]}"), ("trials: 5", "trials: 9")
    )
    argv = [
        sys.executable,
        "-c",
        "from ml_suite.cli import main; main()",
        "study",
        "run",
        ".",
        "--workers",
        "1",
    ]
    running = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    record = tmp_path / "home" / "studies" / "own" / "step1" / "0-of-1.jsonl"
    while not (record.exists() and record.stat().st_size) and running.poll() is None:
        time.sleep(0.01)
    shown = typed("show", "own").stdout
    assert re.search(rf"running +step 1, by process {running.pid} since .* UTC, about .* left of it", shown)
    (known,) = json.loads(typed("show", "own", "--json").stdout)["running"]
    assert (known["stage"], known["process"], known["here"]) == ("step1", running.pid, True)
    os.kill(running.pid, number)
    _, told = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "of 9 trainings of step1 are done" in told
    assert "It goes on from there: ml-suite study run study.yaml" in told
    assert re.search(r"running +no\n", typed("show", "own").stdout)
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "nowhere.yaml"], 2, "there is no file nowhere.yaml"),
        (["run", "bad.yaml"], 2, "bad.yaml:7:3: error: unknown key 'epoch'"),
        (["run", "study.yaml", "--shard", "9/8"], 2, "'9/8' is no shard; write 1/8 to 8/8"),
        (["show", "nothing"], 1, "there is no study 'nothing'"),
        (["trials", "nothing"], 1, "there is no study 'nothing'"),
        (["export", "nothing"], 2, "say what to write"),
        (["shw"], 2, "Did you mean 'show'?"),
        (["run", "small.yaml", "--workers", "1", "--folder", "/proc/1/no"], 1, "cannot be written"),
    ],
)
def test_expected_errors_are_short(words: list[str], code: int, message: str, tmp_path: Path) -> None:
    own(tmp_path)
    (tmp_path / "bad.yaml").write_text(TEXT.replace("epochs: 6", "epoch: 6"))
    (tmp_path / "small.yaml").write_text(
        study(tmp_path / "s").read_text().replace("small.npz", "s/small.npz")
    )
    done = typed(*words)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_quote_before_and_after(tmp_path: Path) -> None:
    path = study(tmp_path)
    told = json.loads(typed("quote", path, "--json").stdout)
    assert not told["measured"]
    assert {row["part"] for row in told["lines"]} == {"step1", "step2"}
    assert 0 < told["share"] < 1
    assert "a rough estimate before anything is trained" in typed("quote", path).stdout
    own(tmp_path)
    refused = typed("quote", "study.yaml")
    assert refused.returncode == 1
    assert "Run the study for a minute" in refused.stderr
    typed("run", "study.yaml")
    assert json.loads(typed("quote", "study.yaml", "--json").stdout)["measured"]


def progress(**changes: object) -> Progress:
    fields = {"stage": "step1", "done": 3, "total": 9, "running": 2, "share": 0.5, "begun": 0.0}
    return Progress(**{**fields, "seconds": 60.0, "cpu_seconds": 30.0, **changes})  # type: ignore[arg-type]


def test_what_is_left_is_estimated_from_this_run_alone() -> None:
    assert left(progress()) == pytest.approx(60)
    assert left(progress(begun=0.4)) == pytest.approx(300)
    assert left(progress(share=0.0)) is None
    assert left(progress(share=1.0)) is None


def test_a_line_says_what_matters() -> None:
    told = line(progress(states={TrialState.COMPLETE: 2, TrialState.PRUNED: 1}))
    assert told == "step 1: 3 of 9, 2 complete, 1 pruned, about 60 s left, 30 s of CPU"
    assert title("pilot/5%-0") == "pilot 5%-0"


def test_a_control_that_beats_the_winner_is_told(tmp_path: Path) -> None:
    made = study_plan(trials=6, keep=1, choice=Choice(controls=1))
    chosen = two_step.shortlist(made, [result(i, i / 10, study=made.study) for i in range(6)])
    trained = [result(0, 0.5, step=2, study=made.study), result(3, 0.4, step=2, study=made.study)]
    made.save(tmp_path / "plan.json")
    chosen.save(tmp_path / "shortlist.json")
    for one in trained:
        record.append(tmp_path / "step2" / "0.jsonl", one)
    two_step.select(made, chosen, trained).save(tmp_path / "selection.json")
    told = words.facts(look(Folder(tmp_path)))
    assert told["winner"].startswith("trial 0: m 0.5")
    assert told["doubt"].startswith(
        "trial 3, a control from the middle of step 1, reached 0.4, which is better"
    )


def second_step(folder: Path, trained: list[tuple[int, int]], **changes: Any) -> str:
    """What is told of step 2 of a study of eight trials, of which some are TRAINED: trial and replicate."""
    made = study_plan(trials=8, space={"x": {"int": [0, 99]}}, **changes)
    first = [result(i, i / 10, study=made.study, params={"x": 10 * i}) for i in range(8)]
    chosen = two_step.shortlist(made, first)
    made.save(folder / "plan.json")
    chosen.save(folder / "shortlist.json")
    drawn = [c.trial for c in chosen.candidates if c.role == "narrowed"]
    for trial, seed in trained:
        number = trial if trial >= 0 else drawn[-trial - 1]
        one = result(number, 0.5 + trial / 10, step=2, replicate=seed, study=made.study)
        record.append(folder / "step2" / "0.jsonl", one)
    return words.facts(look(Folder(folder)))["step 2"]


@pytest.mark.parametrize(
    ("trained", "changes", "words"),
    [
        ([], {"keep": 1}, "0 of 1 training (1 candidate): none yet"),
        ([(0, 0)], {"keep": 1}, "1 of 1 training (1 candidate): 1 complete"),
        (
            [(0, 0), (1, 0)],
            {"keep": 2, "choice": Choice(controls=1, finalists=1, replicates=3)},
            "2 of 5 trainings (2 candidates, 1 control, 2 with other seeds): 2 complete",
        ),
        # trials 2 and 3, and the other seeds of trial 1, are of the time when more were kept
        (
            [(0, 0), (1, 0), (2, 0), (3, 0), (0, 1), (1, 1)],
            {"keep": 2, "choice": Choice(finalists=1, replicates=2)},
            "3 of 3 trainings (2 candidates, 1 with other seeds): 3 complete; 3 more of an earlier choice",
        ),
        (
            [(0, 0), (-1, 0)],
            {"keep": 2, "choice": Choice(narrow=3)},
            "2 of 4 trainings (1 candidate, 3 drawn between the best of step 1): 2 complete",
        ),
    ],
)
def test_what_is_trained_in_step_2_is_counted_in_words(
    trained: list[tuple[int, int]], changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    assert second_step(tmp_path, trained, **changes) == words


def test_all_studies_are_listed_without_a_name(tmp_path: Path) -> None:
    assert typed("show").stdout.startswith("There is no study in ")
    own(tmp_path)
    typed("run", ".", "--shard", "1/2")
    study_plan(trials=4).save(tmp_path / "home" / "studies" / "other" / "plan.json")
    listed = typed("show").stdout
    assert re.search(r"(?m)^other +0 of 4 trials of step 1$", listed)
    assert re.search(r"(?m)^own +3 of 5 trials of step 1$", listed)
    assert listed.endswith("Next: ml-suite study show other\n")
    (tmp_path / "home" / "studies" / "other" / "plan.json").write_text("{")
    assert "left out: " in typed("show").stderr
    typed("run", ".")
    assert re.search(r"(?m)^own +error [\d.]+ \(trial \d\)$", typed("show").stdout)
    told = json.loads(typed("show", "--json").stdout)
    assert [(one["done"], one["running"]) for one in told] == [(5, False)]


def test_a_trial_of_a_narrower_search_has_a_short_name(tmp_path: Path) -> None:
    second_step(tmp_path, [(0, 0), (-2, 0)], keep=2, choice=Choice(narrow=3))
    listed = typed("trials", tmp_path, "--step", 2).stdout
    assert re.search(r"2 +new 1 +complete", listed)
    assert json.loads(typed("trials", tmp_path, "--step", 2, "--json").stdout)[0]["trial"] > 10_000_000
