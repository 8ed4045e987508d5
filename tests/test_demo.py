"""The whole job, as a newcomer runs it: ci/demo.sh on real servers, disturbed while step 1 runs, then run again."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.demo, pytest.mark.anemoi, pytest.mark.timeout(1500)]


@dataclass
class Demo:
    """A finished demo and what was seen on the way."""

    home: Path
    repository: Path
    output: str = ""
    code: int | None = None
    before: dict[str, str] = field(default_factory=dict)
    """Try number and process of every busy task before the suite was changed, and after."""
    after: dict[str, str] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    """Tasks that were complete before the suite was changed."""
    deploy: str = ""

    @property
    def environment(self) -> dict[str, str]:
        path = f"{self.repository / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "ML_SUITE_HOME": str(self.home), "PATH": path}

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=self.repository, env=self.environment, capture_output=True, text=True, check=False
        )
        assert not check or done.returncode == 0, (
            f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return done

    def json(self, *command: str) -> Any:
        return json.loads(self.run("ml-suite", *command, "--json").stdout)

    def client(self, *arguments: str) -> str:
        address = json.loads((self.home / "services" / "ecflow" / "address.json").read_text())
        environment = {
            **self.environment,
            "ECF_HOST": address["host"],
            "ECF_PORT": str(address["port"]),
            "ECF_PASSWD": address["passwd"],
        }
        done = subprocess.run(
            ["ecflow_client", *arguments], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    def tasks(self) -> dict[str, str]:
        """State and try of every task by path."""
        tasks, stack = {}, []
        for line in self.client("--get_state=/demo").splitlines():
            if found := re.match(r"(\s*)(suite|family|task) (\S+) # (.*)", line):
                stack = [*stack[: len(found[1]) // 2], found[3]]
                if found[2] == "task":
                    tasks["/" + "/".join(stack)] = found[4]
        return tasks


def state(text: str) -> str:
    found = re.search(r"state:(\w+)", text)
    return found[1] if found else "unknown"


def attempt(text: str) -> str:
    """Try and process of a busy task: what changes when it is submitted again."""
    return " ".join(re.findall(r"(?:try|rid):\S+", text))


def wait_for_step1(demo: Demo, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 900
    while time.monotonic() < deadline and process.poll() is None:
        try:
            tasks = demo.tasks()
        except (OSError, subprocess.CalledProcessError):
            tasks = {}
        if sum("/step1/shard" in p and state(t) == "active" for p, t in tasks.items()) == 2:
            return
        time.sleep(1)
    pytest.fail("step 1 never ran")


def change_one_value(demo: Demo, folder: Path) -> None:
    """Deploy a changed deployment while step 1 runs, and note what became of everything."""
    shutil.copytree(demo.repository / "suites" / "demo", folder / "suites" / "demo")
    shutil.copytree(demo.repository / "recipes", folder / "recipes")
    file = folder / "suites" / "demo" / "deployment.yaml"
    text = file.read_text()
    changed = text.replace("limit: 2", "limit: 3")
    assert changed != text
    file.write_text(changed)
    tasks = demo.tasks()
    demo.before = {p: attempt(t) for p, t in tasks.items() if "/step1/shard" in p and state(t) == "active"}
    demo.finished = {p for p, t in tasks.items() if state(t) == "complete"}
    demo.deploy = demo.run("ml-suite", "deploy", str(file), "-y").stdout
    time.sleep(3)
    tasks = demo.tasks()
    demo.after = {p: attempt(tasks[p]) for p in demo.before if p in tasks}
    demo.finished -= {p for p, t in tasks.items() if state(t) == "complete"}


def restart_server(demo: Demo) -> None:
    """Stop the ecFlow server as an operator does, and start it from its checkpoint."""
    demo.client("--halt=yes")
    demo.client("--check_pt")
    demo.client("--terminate=yes")
    time.sleep(2)
    demo.run("ml-suite", "services", "up")


@pytest.fixture(scope="module")
def demo(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    demo = Demo(folder / "home", repository)
    log = folder / "demo.log"
    try:
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "ci/demo.sh"], cwd=repository, env=demo.environment, stdout=out, stderr=out
            )
            wait_for_step1(demo, process)
            change_one_value(demo, folder)
            restart_server(demo)
            demo.code = process.wait(1200)
        demo.output = log.read_text()
        yield demo
    finally:
        demo.run("ml-suite", "services", "down", check=False)


def test_demo_ends_well_and_prints_where_to_look(demo: Demo) -> None:
    assert demo.code == 0, demo.output
    for word in ("ecflow_ui", "http://127.0.0.1", "demo-report.html", "val_multi_dataset_loss_epoch"):
        assert word in demo.output
    assert "Traceback" not in demo.output


def test_every_main_task_is_complete(demo: Demo) -> None:
    main = {
        p: state(t)
        for p, t in demo.tasks().items()
        if p.startswith(("/demo/main", "/demo/lag", "/demo/setup"))
    }
    assert len(main) > 20
    assert set(main.values()) == {"complete"}, main


def test_a_deploy_in_step_1_disturbs_nothing(demo: Demo) -> None:
    assert len(demo.before) == 2
    assert demo.after == demo.before, "a running task was submitted again"
    assert demo.finished == set(), "a finished task lost its state"
    assert "limit local" in demo.deploy


def test_no_training_ran_twice(demo: Demo) -> None:
    tries = {p: t for p, t in demo.tasks().items() if re.search(r"/(shard|candidate)_", p)}
    assert tries
    assert all("try:1 " in f"{t} " for t in tries.values()), tries


def test_report_accounts_for_every_trial(demo: Demo) -> None:
    report = demo.json("report", "demo")
    html = (demo.home / "demo-report.html").read_text()
    assert "<html" in html
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=[\"']https?:", html), "it opens offline"
    assert json.dumps(report).count("complete") >= 6


def test_lineage_is_verified_and_can_be_recomputed_by_hand(demo: Demo) -> None:
    """Follow the winner from its S3 object to the recipe's commit without our own verifier."""
    import boto3

    demo.run("ml-suite", "lineage", "demo", "--verify")
    lineage = demo.json("lineage", "demo")
    nodes = {node["kind"]: node for node in lineage["nodes"]}
    s3 = json.loads((demo.home / "connections.json").read_text())["s3"]
    client = boto3.client(
        "s3",
        endpoint_url=s3["endpoint"],
        aws_access_key_id=s3["access_key_id"],
        aws_secret_access_key=s3["secret_access_key"],
        region_name=s3["region"],
    )
    weights, stored = nodes["weights"], nodes["object"]
    bucket, _, key = stored["s3"].removeprefix("s3://").partition("/")
    body = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    assert hashlib.sha256(body).hexdigest() == weights["sha256"]
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("anemoi-metadata/anemoi.json"))
        metadata = json.loads(archive.read(name))
    assert metadata["uuid"] == weights["uuid"]
    assert nodes["dataset"]["uuid"] in json.dumps(metadata)
    assert all(edge["broken"] is None for edge in lineage["edges"])
    assert all(node["present"] for node in lineage["nodes"])
    recipe = nodes["recipe"]
    blob = subprocess.run(
        ["git", "cat-file", "-p", recipe["blob"]], cwd=demo.repository, capture_output=True, check=True
    ).stdout
    assert hashlib.sha256(blob).hexdigest() == recipe["sha256"]


NAME = "demo-na-an-storm-ncl-1p25-1996-1996-6h-v1"


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        (("validate", "suites/demo"), {"valid", "findings"}),
        (("plan", "suites/demo"), {"suite", "changes"}),
        (("status", "demo"), {"suite", "state", "outcome", "tasks"}),
        (("report", "demo"), {"rows", "winner", "cost"}),
        (("lineage", "demo"), {"nodes", "edges"}),
        (("dataset", "status", NAME), {"name", "registered", "build"}),
        (("dataset", "describe", NAME, "--no-feed"), {"name"}),
        (("services", "status"), {"home", "services"}),
        (("hosts", "list"), set()),
        (("hosts", "show", "local"), set()),
    ],
    ids=lambda x: " ".join(x[:2]) if isinstance(x, tuple) else "",
)
def test_reading_commands_answer_in_json(demo: Demo, words: tuple[str, ...], keys: set[str]) -> None:
    answer = demo.json(*words)
    assert keys <= set(answer if isinstance(answer, dict) else keys)
    assert answer


def test_secrets_stay_in_their_files(demo: Demo) -> None:
    connections = json.loads((demo.home / "connections.json").read_text())
    secrets = [connections["s3"]["secret_access_key"], connections["catalogue"]["token"]]
    assert (demo.home / "connections.json").stat().st_mode & 0o077 == 0
    assert (demo.home / "jobs").stat().st_mode & 0o077 == 0
    for secret in secrets:
        assert secret not in demo.output
        assert secret not in demo.client("--get")
        for folder in ("jobs", "suites", "work/suites"):
            found = subprocess.run(
                ["grep", "-rlF", "-e", secret, str(demo.home / folder)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert found.stdout == "", f"a secret is in {found.stdout}"


def test_second_run_passes_and_trains_nothing_again(demo: Demo) -> None:
    results = sorted((demo.home / "work" / "suites").rglob("result.json"))
    assert len(results) == 12 + 3  # two candidates and a control
    ages = {r: r.stat().st_mtime_ns for r in results}
    done = demo.run("bash", "ci/demo.sh")
    assert {r: r.stat().st_mtime_ns for r in results} == ages, "a finished trial was trained again"
    assert "ecflow_ui" in done.stdout
    main = {p: state(t) for p, t in demo.tasks().items() if p.startswith("/demo/main")}
    assert set(main.values()) == {"complete"}
