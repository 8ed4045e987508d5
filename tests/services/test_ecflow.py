"""Nobody but the owner of the password file reads or changes suites; jobs and the owner's clients work."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml_suite.errors import ServerUnreachable
from ml_suite.services.addresses import Places, client_environment
from ml_suite.services.credentials import Secrets
from ml_suite.services.ecflow import EXPOSED, Ecflow
from ml_suite.services.ports import choose
from ml_suite.services.process import launch
from ml_suite.services.server import Setting, base_environment, wait_until_ready

from .conftest import pid_of

_REQUESTS = (
    "--ping",
    "--get",
    "--get_state",
    "--stats",
    "--restart",
    "--halt=yes",
    "--check_pt",
    "--delete=force yes /s",
)


def _client(variables: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ECF_")}
    command = ["ecflow_client", *arguments]
    return subprocess.run(
        command, env=kept | variables, capture_output=True, text=True, check=False, timeout=60
    )


@pytest.fixture
def stranger(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """Environment of somebody without the password."""
    known = client_environment(home)
    password = {"none": None, "wrong": "guess"}[request.param]
    del known["ECF_PASSWD"]
    if password is not None:
        right = (home / "services/ecflow/ecf.passwd").read_text()
        secret = right.split()[-1]
        (tmp_path / "passwd").write_text(right.replace(secret, password))
        (tmp_path / "passwd").chmod(0o600)
        known["ECF_PASSWD"] = str(tmp_path / "passwd")
    return known


@pytest.mark.parametrize("stranger", ["none", "wrong"], indirect=True)
@pytest.mark.parametrize("arguments", _REQUESTS)
def test_strangers_are_refused(stranger: dict[str, str], arguments: str) -> None:
    done = _client(stranger, *arguments.split())
    assert done.returncode != 0
    assert "authentication failed" in done.stderr
    assert "suite" not in done.stdout


@pytest.mark.parametrize("stranger", ["none"], indirect=True)
def test_strangers_cannot_load(stranger: dict[str, str], home: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.def").write_text("suite intruder\n task t\nendsuite\n")
    assert _client(stranger, f"--load={tmp_path / 'bad.def'}").returncode != 0
    assert "intruder" not in _client(client_environment(home), "--get").stdout


def test_another_user_is_refused_with_and_without_the_password(home: Path, tmp_path: Path) -> None:
    known = client_environment(home)
    assert _client(known, "--user", "nobody", "--get").returncode != 0
    theirs = tmp_path / "passwd"
    lines = (home / "services/ecflow/ecf.passwd").read_text().splitlines()
    renamed = [" ".join(["nobody", *line.split()[1:]]) for line in lines[1:]]
    theirs.write_text("\n".join([lines[0], *renamed]) + "\n")
    theirs.chmod(0o600)
    for variable in ("ECF_PASSWD", "ECF_CUSTOM_PASSWD"):
        variables = {**known, "ECF_USER": "nobody", variable: str(theirs)}
        assert _client(variables, "--get").returncode != 0


def test_owner_reads_with_the_printed_environment_and_the_binding(home: Path) -> None:
    known = client_environment(home)
    assert _client(known, "--ping").returncode == 0
    assert _client({**known, "ECF_HOST": "127.0.0.1"}, "--ping").returncode == 0
    code = "import ecflow; c = ecflow.Client(); c.ping(); c.sync_local(); print(c.get_defs() is not None)"
    environment = {**os.environ, **known}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "True", done.stderr


def test_jobs_report_without_the_password(home: Path, tmp_path: Path) -> None:
    known = client_environment(home)
    name = "jobs" + str(os.getpid())
    (tmp_path / "t.ecf").write_text(
        "export ECF_PORT=%ECF_PORT% ECF_HOST=%ECF_HOST% ECF_NAME=%ECF_NAME% ECF_PASS=%ECF_PASS% ECF_TRYNO=%ECF_TRYNO%\n"
        "unset ECF_PASSWD\nexport ECF_RID=$$ ECF_DENIED=1\n"
        "ecflow_client --init=$$ && ecflow_client --meter=m 7 && ecflow_client --complete\n"
        "echo preload=${LD_PRELOAD-} host=$ECF_HOST mask=$(umask)\n"
    )
    (tmp_path / "s.def").write_text(
        f"suite {name}\n edit ECF_FILES '{tmp_path}'\n edit ECF_HOME '{tmp_path}'\n"
        " edit ECF_JOB_CMD 'bash %ECF_JOB% > %ECF_JOBOUT% 2>&1 &'\n task t\n  meter m 0 10\nendsuite\n"
    )
    assert _client(known, f"--load={tmp_path / 's.def'}").returncode == 0
    assert _client(known, f"--begin={name}").returncode == 0
    for _ in range(200):
        if "state:complete" in _client(known, "--get_state", f"/{name}/t").stdout:
            break
        time.sleep(0.1)
    else:
        pytest.fail(_client(known, "--get_state", f"/{name}").stdout)
    for _ in range(50):
        if (output := (tmp_path / name / "t.1").read_text()).strip():
            break
        time.sleep(0.1)
    assert output.strip() == "preload= host=localhost mask=0077"
    assert _client(known, "--delete=force", "yes", f"/{name}").returncode == 0


def test_other_interfaces_are_closed(home: Path) -> None:
    port = int(client_environment(home)["ECF_PORT"])
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex(("127.0.0.2", port)) != 0
    with socket.socket() as probe:
        probe.settimeout(2)
        assert probe.connect_ex(("127.0.0.1", port)) == 0


def test_running_job_outlives_down(home: Path, tmp_path: Path) -> None:
    from ml_suite.services import lifecycle

    known = client_environment(home)
    name = "long" + str(os.getpid())
    (tmp_path / "t.ecf").write_text(f"echo $$ > {tmp_path}/pid; exec sleep 60\n")
    (tmp_path / "s.def").write_text(
        f"suite {name}\n edit ECF_FILES '{tmp_path}'\n edit ECF_HOME '{tmp_path}'\n"
        " edit ECF_JOB_CMD 'bash %ECF_JOB% > %ECF_JOBOUT% 2>&1 &'\n task t\nendsuite\n"
    )
    assert _client(known, f"--load={tmp_path / 's.def'}").returncode == 0
    assert _client(known, f"--begin={name}").returncode == 0
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    job = int((tmp_path / "pid").read_text())
    os.kill(pid_of(home, "ecflow"), 0)
    lifecycle.down(home)
    assert Path(f"/proc/{job}/exe").exists()
    os.kill(job, 9)
    lifecycle.up(home)
    assert _client(known, "--delete=force", "yes", f"/{name}").returncode == 0


def test_without_a_compiler_it_says_that_the_port_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for program in ("ecflow_server", "ecflow_client"):
        (tools / program).symlink_to(str(shutil.which(program)))
    monkeypatch.setenv("PATH", str(tools))
    server, places = Ecflow(), Places(tmp_path)
    setting = Setting(places, Secrets.keep(places.secrets), {"ecflow": choose(("main",), {}, set())})
    server.data(setting).mkdir(parents=True)
    server.prepare(setting)
    folder = places.folder("ecflow")
    assert not (folder / "loopback.so").exists()
    environment = base_environment() | server.environment(setting)
    process = launch(server.command(setting), environment, folder, folder / "log")
    try:
        assert wait_until_ready(server, setting, process, fresh=True) == EXPOSED
    finally:
        server.stop(setting, process)
    assert not process.alive
    assert (server.data(setting) / "ecf.check").exists()


def test_home_without_a_server(tmp_path: Path) -> None:
    with pytest.raises(ServerUnreachable, match="does not name an ecFlow server") as caught:
        client_environment(tmp_path)
    assert caught.value.hint == "Run: ml-suite services up"
