"""The commands plan, deploy and status on a real server, as a person types them."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml_suite.jobs import behind
from ml_suite.jobs.behind import Behind, SuiteBehind
from ml_suite.server.address import Address
from ml_suite.server.client import Server
from ml_suite.stores.connections import S3, Catalogue, Connections, Mlflow

PROGRAM = str(Path(sys.executable).parent / "ml-suite")


@dataclass
class Shell:
    """Runs ml-suite in its own home."""

    environment: dict[str, str]
    folder: Path
    suite: str

    def __call__(self, *words: str, code: int = 0, **extra: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [PROGRAM, *words],
            env={**self.environment, **extra},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    @property
    def home(self) -> Path:
        return Path(self.environment["ML_SUITE_HOME"])


@pytest.fixture
def shell(tmp_path: Path, repository: Path, ecflow_address: tuple[str, int], server: Server) -> Any:
    """A project folder with the demo's deployment under another suite name, and the services' credentials."""
    suite = f"cli-{os.getpid()}"
    text = (
        (repository / "suites" / "demo" / "deployment.yaml")
        .read_text()
        .replace("suite: demo", f"suite: {suite}")
    )
    text = text.replace("../../recipes", str(repository / "recipes"))
    sources = tmp_path / "sources"
    sources.mkdir()
    # no job runs here, so nobody reads it
    (sources / "storm1996_6h.nc").touch()
    text = text.replace("~/.cache/ml-suite/sources/storm1996", str(sources))
    text = text.replace("training/storm.yaml", str(repository / "suites/demo/training/storm.yaml"))
    (tmp_path / "deployment.yaml").write_text(text)
    home = tmp_path / "home"
    Connections(
        s3=S3(endpoint="http://localhost:1", access_key_id="a", secret_access_key="b"),
        mlflow=Mlflow(url="http://localhost:1"),
        catalogue=Catalogue(url="http://localhost:1", token="t"),
    ).save(home / "connections.json")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ECF_", "GIT_"))}
    environment |= {
        "ML_SUITE_HOME": str(home),
        "ECF_HOST": ecflow_address[0],
        "ECF_PORT": str(ecflow_address[1]),
        "COLUMNS": "120",
    }
    yield Shell(environment, tmp_path, suite)
    node = suite.replace("-", "_")
    if server.fetch(node) is not None:
        server._client.delete(f"/{node}", True)


def test_plan_deploy_and_status_tell_one_story(shell: Shell, server: Server) -> None:
    node = shell.suite.replace("-", "_")
    planned = json.loads(shell("plan", ".", "--json", "--detailed-exitcode", code=3).stdout)
    assert planned["new"]
    assert {c["sign"] for c in planned["changes"]} == {"+"}
    assert not (shell.home / "suites").exists()

    refused = shell("deploy", ".", code=2)
    assert "add -y" in refused.stderr
    assert server.fetch(node) is None

    dry = shell("deploy", ".", "--dry-run").stdout
    assert dry.splitlines()[-1].startswith("Next: ml-suite deploy")
    done = shell("deploy", ".", "-y", "--suspended").stdout
    assert f"Suite {node} on localhost:{shell.environment['ECF_PORT']} (new)" in done
    assert done.splitlines()[-1] == f"Next: ml-suite status {shell.suite} --watch"
    tree = shell.home / "suites" / shell.suite
    assert (tree / "scripts" / "include" / "head.h").is_file()
    assert json.loads((tree / "resolved.json").read_text())["files"] == str(tree)
    library = next((shell.home / "lib").iterdir())
    assert f"edit ML_SUITE_LIB '{library}'" in (tree / f"{shell.suite}.def").read_text()
    assert (shell.home / "jobs").stat().st_mode & 0o077 == 0
    secret = json.loads((shell.home / "connections.json").read_text())["catalogue"]["token"]
    assert secret == "t"

    again = shell("deploy", ".").stdout
    assert "Nothing to change" in again
    assert json.loads(shell("plan", ".", "--json", "--detailed-exitcode").stdout)["empty"]

    file = shell.folder / "deployment.yaml"
    file.write_text(file.read_text().replace("limit: 2", "limit: 3"))
    changed = shell("plan", ".").stdout
    assert "limit local: 2 -> 3" in changed
    assert shell("deploy", ".", "-y").stdout.count("changed 1") == 1
    log = subprocess.run(
        ["git", "-C", str(tree), "log", "--format=%s"], capture_output=True, text=True, check=True
    )
    assert len(log.stdout.splitlines()) == 2

    rows = json.loads(shell("status", shell.suite, "--json").stdout)
    assert (rows["suite"], rows["suspended"], rows["outcome"]) == (node, True, None)
    assert rows["limits"][0] == {"name": "local", "used": 0, "limit": 3}
    shown = shell("status", ".").stdout
    assert "step 1: 0 % of the trials" in shown
    assert shown.splitlines()[-1] == f"Next: ml-suite status {shell.suite} --watch"


def test_status_says_how_far_deliveries_of_other_machines_are_behind(shell: Shell) -> None:
    shell("deploy", ".", "-y", "--suspended")
    assert json.loads(shell("status", shell.suite, "--json").stdout)["behind"] == []
    now = datetime.now(UTC)
    mine = SuiteBehind(parcels=3, oldest=now - timedelta(minutes=12))
    Behind(
        host="big-host",
        checked=now,
        contact=now - timedelta(minutes=9),
        problem="big-host wants a one-time code",
        hint="Run: ml-suite hosts login big-host",
        suites={shell.suite: mine, "another": SuiteBehind(parcels=100)},
    ).save(behind.path(shell.home, "big-host"))
    [row] = json.loads(shell("status", shell.suite, "--json").stdout)["behind"]
    assert (row["host"], row["parcels"]) == ("big-host", 3)
    assert row["contact"] == (now - timedelta(minutes=9)).isoformat()
    shown = " ".join(shell("status", ".").stdout.split())
    assert "deliveries of big-host: 3 parcels, oldest 12 min; last contact " in shown
    assert "Run: ml-suite hosts login big-host" in shown
    behind.path(shell.home, "big-host").write_text("{}")  # of another version
    assert json.loads(shell("status", shell.suite, "--json").stdout)["behind"] == []


def test_a_person_is_asked_and_may_say_no(shell: Shell, server: Server) -> None:
    mine, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, "deploy", "."],
        env=shell.environment, cwd=shell.folder, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    os.write(mine, b"n\n")
    out, _ = process.communicate(timeout=60)
    os.close(mine)
    os.close(theirs)
    assert b"Apply to localhost:" in out
    assert process.returncode == 130
    assert server.fetch(shell.suite.replace("-", "_")) is None


def test_watch_follows_a_suite_to_its_end(shell: Shell, server: Server) -> None:
    import ecflow

    node = shell.suite.replace("-", "_")
    shell("deploy", ".", "-y", "--suspended")
    process = subprocess.Popen(
        [PROGRAM, "status", shell.suite, "--watch", "--every", "0.3"],
        env=shell.environment, cwd=shell.folder, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert "suspended" in process.stdout.readline()
    for path in (f"/{node}/setup", f"/{node}/main", f"/{node}/lag"):
        server._client.force_state_recursive(path, ecflow.State.complete)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert f"complete  /{node}/main/evaluate" in out
    assert out.splitlines()[-2].endswith(f"complete  /{node}")
    assert out.splitlines()[-1].startswith("Next: ml-suite report")

    server._client.force_state(f"/{node}/main/evaluate", ecflow.State.aborted)
    failed = shell("status", shell.suite, "--watch", "--every", "0.3", code=1).stdout
    assert f"aborted   /{node}/main/evaluate" in failed
    assert f"ecflow_client --file=/{node}/main/evaluate jobout" in failed
    once = shell("status", shell.suite, "--once", code=1).stdout
    assert "no reason given" in once
    assert str(shell.home / "jobs" / node / "main" / "evaluate.0") in once

    server._client.force_state(f"/{node}/main/evaluate", ecflow.State.complete)
    queued = shell("deploy", ".", "-y", "--rerun").stdout
    assert f"queued again: /{node}/setup, /{node}/main, /{node}/lag" in queued
    refused = shell("deploy", ".", "-y", "--rerun", code=1).stderr
    assert "is not finished, so it is not queued again" in refused


def test_what_is_missing_is_said_with_what_to_type(shell: Shell, free_port: int) -> None:
    nobody = shell("plan", ".", code=5, ECF_PORT=str(free_port)).stderr
    assert f"no ecFlow server answers at localhost:{free_port} (from ECF_HOST)" in nobody
    absent = shell("status", "no-such-suite", code=1).stderr
    assert "suite no_such_suite is not on the server" in absent
    (shell.home / "connections.json").unlink()
    login = shell("deploy", ".", "-y", code=4).stderr
    assert "Run: ml-suite services up" in login
    file = shell.folder / "deployment.yaml"
    file.write_text(file.read_text().replace("walltime: 10m", "walltime: 10"))
    wrong = shell("plan", ".", code=2).stderr
    assert "deployment.yaml:" in wrong


def test_a_folder_that_cannot_be_written_is_said_and_deploying_again_works(
    shell: Shell, server: Server
) -> None:
    (shell.home / "suites").write_text("in the way")
    said = shell("deploy", ".", "-y", "--suspended", code=1).stderr
    assert "suites" in said
    assert "deploy again" in said
    assert server.fetch(shell.suite.replace("-", "_")) is None
    (shell.home / "suites").unlink()
    shell("deploy", ".", "-y", "--suspended")
    assert server.fetch(shell.suite.replace("-", "_")) is not None


def test_an_address_knows_whether_it_is_here() -> None:
    assert Address("localhost", 3141, "").here
    assert not Address("ecflow.example.int", 3141, "").here
