from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from ml_suite.errors import ConfigError, MlSuiteError
from ml_suite.services import lifecycle
from ml_suite.services.addresses import client_environment
from ml_suite.services.process import end, identify, launch
from ml_suite.stores.connections import Connections
from ml_suite.stores.s3 import get_file, put_file

from .conftest import pid_of

NAMES = ("ecflow", "s3", "mlflow", "catalogue")


def _cli(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from ml_suite.cli import main; main()", "services", *arguments]
    return subprocess.run(
        [*command, "--home", str(home)], capture_output=True, text=True, check=False, timeout=200
    )


def _ecflow(home: Path, *arguments: str) -> str:
    environment = {**os.environ, **client_environment(home)}
    done = subprocess.run(
        ["ecflow_client", *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


class Content:
    """Something of one's own in every service."""

    def __init__(self, home: Path, folder: Path, name: str) -> None:
        self.home, self.folder, self.name = home, folder, name

    @property
    def connections(self) -> Connections:
        return Connections.load(self.home / "connections.json")

    def put(self) -> None:
        (self.folder / "object").write_text(self.name)
        put_file(self.folder / "object", f"s3://ml-weights/{self.name}", self.connections.s3)
        api = self.connections.mlflow.url + "/api/2.0/mlflow"
        made = httpx.post(f"{api}/experiments/create", json={"name": self.name}).raise_for_status().json()
        run = httpx.post(
            f"{api}/runs/create", json={"experiment_id": made["experiment_id"]}
        ).raise_for_status()
        self.run_id = run.json()["run"]["info"]["run_id"]
        token = self.connections.catalogue.token.get_secret_value()
        httpx.post(
            f"{self.connections.catalogue.url}/api/v1/tasks",
            json={"action": "dummy", "note": self.name},
            headers={"Authorization": f"Bearer {token}"},
        ).raise_for_status()
        definition = self.folder / "s.def"
        definition.write_text(f"suite {self.name}\n edit KEPT yes\n task t\nendsuite\n")
        _ecflow(self.home, f"--load={definition}")
        _ecflow(self.home, "--check_pt")

    def check(self) -> None:
        got = self.folder / "got"
        get_file(f"s3://ml-weights/{self.name}", got, self.connections.s3)
        assert got.read_text() == self.name
        api = self.connections.mlflow.url + "/api/2.0/mlflow"
        run = httpx.get(f"{api}/runs/get", params={"run_id": self.run_id}).raise_for_status().json()
        assert run["run"]["info"]["run_id"] == self.run_id
        tasks = httpx.get(f"{self.connections.catalogue.url}/api/v1/tasks", params={"note": self.name}).json()
        assert len(tasks) == 1
        assert f"suite {self.name}" in _ecflow(self.home, "--get")
        assert "RUNNING" in _ecflow(self.home, "--stats")


@pytest.fixture
def content(home: Path, tmp_path: Path) -> Content:
    made = Content(home, tmp_path, "test" + tmp_path.name.replace("-", "_")[-30:].strip("[]_"))
    made.put()
    return made


def test_up_again_leaves_everything_alone(home: Path) -> None:
    before = {name: pid_of(home, name) for name in NAMES}
    outcomes = lifecycle.up(home)
    assert {x.name: (x.state, x.pid) for x in outcomes} == {name: ("running", before[name]) for name in NAMES}


def test_data_and_addresses_survive_down_and_up(home: Path, content: Content) -> None:
    connections, address = content.connections, client_environment(home)
    pids = {name: pid_of(home, name) for name in NAMES}
    assert {x.state for x in lifecycle.down(home)} == {"stopped"}
    assert not any(Path(f"/proc/{pid}/exe").exists() for pid in pids.values())
    assert {x.state for x in lifecycle.status(home)} == {"stopped"}
    assert {x.remark for x in lifecycle.down(home)} == {"was not running"}
    assert {x.state for x in lifecycle.up(home)} == {"started"}
    assert (content.connections, client_environment(home)) == (connections, address)
    content.check()


@pytest.mark.parametrize("name", NAMES)
def test_killed_service_comes_back_alone_with_its_data(home: Path, content: Content, name: str) -> None:
    before = {other: pid_of(home, other) for other in NAMES}
    os.kill(before[name], 9)
    while identify(before[name]):
        time.sleep(0.01)
    assert {x.name: x.state for x in lifecycle.status(home)}[name] == "stopped"
    outcomes = {x.name: x for x in lifecycle.up(home)}
    for other in NAMES:
        assert outcomes[other].state == ("started" if other == name else "running")
        assert (outcomes[other].pid == before[other]) == (other != name)
    content.check()


def test_taken_port_is_left_to_its_owner(home: Path, content: Content) -> None:
    old = content.connections.s3.endpoint
    s3, mlflow = pid_of(home, "s3"), pid_of(home, "mlflow")
    os.kill(s3, 9)
    port = int(old.rpartition(":")[2])
    told: list[str] = []
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        while True:
            try:
                other.bind(("127.0.0.1", port))
                break
            except OSError:  # the killed server is still going
                pass
        other.listen()
        outcomes = {x.name: x for x in lifecycle.up(home, told.append)}
    assert outcomes["s3"].port != port
    # MLflow was told where S3 is, so it starts anew
    assert outcomes["mlflow"].state == "restarted"
    assert pid_of(home, "mlflow") != mlflow
    assert any(f"s3: port {port} is in use by another program" in line for line in told)
    assert content.connections.s3.endpoint == f"http://127.0.0.1:{outcomes['s3'].port}"
    content.check()


def test_two_ups_at_once_start_one_of_each(home: Path) -> None:
    lifecycle.down(home)
    command = [sys.executable, "-c", "from ml_suite.cli import main; main()", "services", "up", "--json"]
    both = [
        subprocess.Popen(
            [*command, "--home", str(home)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = [process.communicate(timeout=200) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    services = [json.loads(out)["services"] for out, _ in answers]
    assert {name: services[0][name]["pid"] for name in NAMES} == {
        name: services[1][name]["pid"] for name in NAMES
    }
    assert {x["mlflow"]["state"] for x in services} == {"started", "running"}
    assert "waiting for it" in answers[0][1] + answers[1][1]


def test_recorded_number_of_a_stranger_is_not_signalled(home: Path, tmp_path: Path) -> None:
    lifecycle.down(home)
    stranger = launch(["sleep", "99"], dict(os.environ), tmp_path, tmp_path / "log")
    path = home / "services" / "catalogue" / "state.json"
    record = json.loads(path.read_text())
    record["process"] = {"pid": stranger.pid, "start": stranger.start.rpartition(":")[0] + ":1"}
    path.write_text(json.dumps(record))
    try:
        assert {x.state for x in lifecycle.down(home)} == {"stopped"}
        assert {x.state for x in lifecycle.up(home)} == {"started"}
        assert stranger.alive
    finally:
        end(stranger)


def test_damaged_record_is_an_empty_one(home: Path) -> None:
    lifecycle.down(home)
    (home / "services" / "catalogue" / "state.json").write_text('{"ports": ')
    assert {x.state for x in lifecycle.up(home)} == {"started"}


def test_secrets_are_in_private_files_only(home: Path) -> None:
    secrets = json.loads((home / "services" / "secrets.json").read_text())
    hidden = [value.encode() for key, value in secrets.items() if key != "s3_access_key_id"]
    holders = set()
    for path in home.rglob("*"):
        if path.is_file() and any(secret in path.read_bytes() for secret in hidden):
            holders.add(path.relative_to(home).as_posix())
            assert path.stat().st_mode & 0o777 == 0o600, path
    assert holders == {
        "connections.json",
        "services/secrets.json",
        "services/ecflow/ecf.passwd",
        "services/catalogue/token",
    }
    for name in NAMES:
        arguments = Path(f"/proc/{pid_of(home, name)}/cmdline").read_bytes()
        assert not any(secret in arguments for secret in hidden)


def test_everything_listens_at_loopback_only(home: Path) -> None:
    ours = {
        port
        for name in NAMES
        for port in json.loads((home / f"services/{name}/state.json").read_text())["ports"].values()
    }
    seen = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            address, _, port = local.partition(":")
            if state == "0A" and int(port, 16) in ours:
                seen.add(int(port, 16))
                assert address == "0100007F", line
    assert seen == ours


def test_words_of_the_command_line(home: Path) -> None:
    up = _cli("up", home=home)
    assert up.returncode == 0, up.stderr
    for word in (
        "ecflow_ui -ts localhost",
        'eval "$(ml-suite services env',
        "MLflow     http://127.0.0.1:",
        "connections.json",
    ):
        assert word in up.stdout
    assert up.stdout.splitlines()[-1].startswith("next: ml-suite ")
    assert "export ECF_PASSWD=" in _cli("env", home=home).stdout
    status = json.loads(_cli("status", "--json", home=home).stdout)
    assert {name: x["state"] for name, x in status["services"].items()} == dict.fromkeys(NAMES, "running")


def test_status_of_nothing(tmp_path: Path) -> None:
    done = _cli("status", home=tmp_path / "new")
    assert done.returncode == 1
    assert done.stdout.count("stopped") == 4
    assert _cli("down", home=tmp_path / "new").returncode == 0
    assert not (tmp_path / "new").exists()


def test_home_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = _cli("up", home=tmp_path / "file" / "home")
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "cannot be written: Not a directory" in done.stderr
    assert "--home DIR" in done.stderr


def test_connections_of_other_services_are_not_overwritten(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "connections.json").write_bytes((home / "connections.json").read_bytes())
    (other / "connections.json").chmod(0o600)
    with pytest.raises(ConfigError, match="names other services"):
        lifecycle.up(other)
    assert {x.state for x in lifecycle.status(other)} == {"stopped"}


def test_server_that_does_not_start_shows_its_log(home: Path) -> None:
    lifecycle.down(home)
    settings = home / "services" / "catalogue" / "data" / "settings.json"
    settings.write_text("{")
    try:
        with pytest.raises(
            MlSuiteError, match=r"catalogue ended when it was started; the end of .*log:"
        ) as caught:
            lifecycle.up(home)
        assert "settings.json" in str(caught.value)
    finally:
        settings.unlink()
    # the others stayed up
    assert {x.name: x.state for x in lifecycle.up(home)} == {
        **dict.fromkeys(NAMES, "running"),
        "catalogue": "started",
    }


def test_missing_programs_are_named_with_the_way_to_install_them(tmp_path: Path) -> None:
    code = "import sys; sys.executable = '/nowhere/python'; from ml_suite.cli import main; main()"
    command = [sys.executable, "-c", code, "services", "up", "--home", str(tmp_path / "home")]
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 5
    assert "ecflow_server is not installed" in done.stderr
    assert "conda install -c conda-forge ecflow" in done.stderr
    assert "apt install ecflow-server" in done.stderr
    assert not (tmp_path / "home").exists()
