"""The commands `hosts login` and `hosts check` as a person types them, against a real sshd."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ml_suite.hosts import slurm_facts, sshconfig
from ml_suite.hosts.host import load
from tests.hosts.sshd_fixture import NAME, Sshd

CODE = "739116"

HOST = """\
title: a big host
auth: {auth}
callback: spool
control: {{address: 127.0.0.1{control}}}
{transfer}
connections: {{wait: 1s}}
scheduler: {scheduler}
architecture: {architecture}
paths: {{work: {folder}/work, environment: {folder}/environment}}
"""


def ml_suite(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from ml_suite.cli import main; main()", "hosts", *words]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def described(sshd: Sshd, home: Path, tmp_path: Path) -> Sshd:
    """The user's own host file describes the server."""
    describe(home, tmp_path)
    return sshd


def describe(home: Path, tmp_path: Path, **changes: str) -> None:
    facts = {
        "auth": "{kind: key}",
        "scheduler": "local",
        "architecture": os.uname().machine,
        "folder": str(tmp_path),
        "control": "",
        "transfer": "",
        **changes,
    }
    (home / ".config" / "ml-suite" / "hosts").mkdir(parents=True, exist_ok=True)
    (home / ".config" / "ml-suite" / "hosts" / f"{NAME}.yaml").write_text(HOST.format(**facts))


def test_a_login_is_done_once_and_says_what_to_type_next(described: Sshd) -> None:
    for _ in range(2):
        done = ml_suite("login", NAME)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines() == [
            "bighost: the control connection is open",
            "Next: ml-suite hosts check bighost",
        ]
    assert described.connections == 1


def test_a_login_with_a_code_from_stdin_says_until_when(described: Sshd, home: Path, tmp_path: Path) -> None:
    described.want_codes()
    described.codes(CODE)
    describe(home, tmp_path, auth="{kind: totp, lifetime: 8h}")
    done = ml_suite("login", NAME, "--code-stdin", "--json", stdin=f"{CODE}\n")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert (found["state"], found["minutes_left"]) == ("ready", 479)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d \S+", found["until"])


def test_a_code_goes_to_no_other_question(described: Sshd, home: Path, tmp_path: Path) -> None:
    described.want_codes()
    describe(home, tmp_path, auth='{kind: totp, prompt: "Token:"}')
    done = ml_suite("login", NAME, "--code-stdin", stdin=f"{CODE}\n")
    assert done.returncode == 4
    assert "asks what --code-stdin does not answer" in done.stderr
    assert "Password" in done.stderr
    assert "ml-suite hosts login bighost" in done.stderr


def test_a_person_types_the_code_unseen(described: Sshd, home: Path, tmp_path: Path) -> None:
    described.want_codes()
    described.codes(CODE)
    describe(home, tmp_path, auth="{kind: totp}")
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(
            sys.executable,
            [sys.executable, "-c", "from ml_suite.cli import main; main()", "hosts", "login", NAME],
        )
    seen = read_until(terminal, "Password")
    # the terminal's echo is switched off after the prompt
    time.sleep(0.3)
    os.write(terminal, f"{CODE}\n".encode())
    seen += read_until(terminal, "Next: ml-suite hosts check bighost")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert CODE not in seen
    # the terminal is gone and the connection is still there
    assert ml_suite("login", NAME).returncode == 0
    assert described.connections == 1


def read_until(terminal: int, word: str) -> str:
    text, deadline = "", time.monotonic() + 20
    while word not in text:
        assert time.monotonic() < deadline, text
        if select.select([terminal], [], [], 0.1)[0]:
            text += os.read(terminal, 4096).decode(errors="replace")
    return text


def test_without_a_terminal_nobody_is_asked(described: Sshd, home: Path, tmp_path: Path) -> None:
    described.want_codes()
    describe(home, tmp_path, auth="{kind: totp}")
    done = ml_suite("login", NAME)
    assert done.returncode == 4
    assert "there is no terminal" in done.stderr


def test_an_ended_certificate_shows_the_renewal(described: Sshd, home: Path, tmp_path: Path) -> None:
    described.want_certificates()
    described.sign("-2h", "-1h")
    describe(home, tmp_path, auth="{kind: certificate, lifetime: 12h, renew: step ssh login EMAIL}")
    done = ml_suite("login", NAME)
    assert done.returncode == 4
    assert "ended" in done.stderr
    assert "Run: step ssh login EMAIL" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_endpoints_are_two_connections(described: Sshd, home: Path, tmp_path: Path) -> None:
    config = home / ".ssh" / "config"
    config.write_text(config.read_text().replace(f"Host {NAME}", f"Host {NAME} {NAME}-transfer"))
    describe(home, tmp_path, transfer="transfer: {address: 127.0.0.1, shell: false}")
    done = ml_suite("login", NAME)
    assert "the transfer connection is open" in done.stdout
    assert described.connections == 2


def test_an_endpoint_that_refuses_leaves_the_other_open(described: Sshd, home: Path, tmp_path: Path) -> None:
    described.want_codes()
    described.codes(CODE)
    config = home / ".ssh" / "config"
    config.write_text(config.read_text().replace(f"Host {NAME}", f"Host {NAME} {NAME}-transfer"))
    describe(home, tmp_path, auth="{kind: totp}", transfer="transfer: {address: 127.0.0.1}")
    done = ml_suite("login", NAME, "--code-stdin", stdin=f"{CODE}\n")
    assert done.returncode == 4
    assert "the control connection is open" in done.stdout
    assert "stdin has no code for the transfer connection" in done.stderr
    described.codes("123456")
    done = ml_suite("login", NAME, "--code-stdin", stdin="123456\n")
    assert done.returncode == 0, done.stderr
    assert described.connections == 3


def test_this_machine_needs_no_login(home: Path) -> None:
    done = ml_suite("login", "local")
    assert "local is this machine: no login is needed" in done.stdout
    assert done.returncode == 0


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, str]]:
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


def test_a_good_host_passes(described: Sshd, tmp_path: Path) -> None:
    done = ml_suite("check", NAME, "--json")
    found = findings(done)
    assert list(found) == ["reach", "shell", "clock", "architecture", "work", "disk", "python", "tools"]
    good = {name for name, finding in found.items() if finding["verdict"] == "ok"}
    # what this machine has installed and free is not ours to say
    assert good >= {"reach", "shell", "clock", "architecture", "work", "python"}
    assert str(tmp_path) in found["work"]["found"]
    assert re.fullmatch(rf".* free in {tmp_path}", found["disk"]["found"])
    assert not list(tmp_path.glob(".ml-suite-check*"))
    assert described.connections == 1


def test_a_check_says_what_differs_and_how_to_mend_it(described: Sshd, home: Path, tmp_path: Path) -> None:
    described.stop()
    described.options = ['ForceCommand echo Welcome to big; eval "$SSH_ORIGINAL_COMMAND"']
    described.start()
    describe(home, tmp_path, architecture="aarch64", scheduler="slurm", folder="/proc/none")
    done = ml_suite("check", NAME)
    assert done.returncode == 1
    lines = done.stdout
    assert re.search(
        r"differs +shell +the login shell writes: Welcome to big\n +Print only in interactive", lines
    )
    assert re.search(r"differs +architecture +x86_64, the host file says aarch64", lines)
    assert re.search(r"differs +work +/proc/none/work: ", lines)


def test_a_host_whose_slurm_does_not_answer_differs_and_its_account_is_unknown(
    described: Sshd, home: Path, tmp_path: Path
) -> None:
    described.stop()
    (tmp_path / "bin").mkdir()
    for name in ("sinfo", "sacctmgr"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho no controller >&2; exit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    described.options = [f'ForceCommand export PATH={tmp_path}/bin:$PATH; eval "$SSH_ORIGINAL_COMMAND"']
    described.start()
    describe(home, tmp_path, scheduler="slurm")
    found = findings(ml_suite("check", NAME, "--json"))
    assert (found["slurm"]["verdict"], found["slurm"]["found"]) == ("differs", "no controller")
    assert (found["account"]["verdict"], found["account"]["found"]) == ("unknown", "no controller")


def test_a_check_without_a_way_in_says_only_that(described: Sshd, home: Path, tmp_path: Path) -> None:
    describe(home, tmp_path, auth="{kind: totp}")
    done = ml_suite("check", NAME)
    assert done.returncode == 4
    assert done.stdout.splitlines()[0].split() == ["login", "reach", *f"{NAME} wants a one-time code".split()]
    assert done.stdout.splitlines()[-1] == "Next: ml-suite hosts login bighost"
    describe(home, tmp_path)
    described.stop()
    done = ml_suite("check", NAME)
    assert done.returncode == 1
    assert "Connection refused" in done.stdout


def test_this_machine_can_be_checked(home: Path) -> None:
    found = findings(ml_suite("check", "local", "--json"))
    assert found["reach"]["found"] == "this machine"
    assert found["clock"]["verdict"] == found["shell"]["verdict"] == "ok"


def test_queues_are_compared_with_the_host_file(home: Path, tmp_path: Path) -> None:
    partitions = "{gpu: {max_walltime: 2d}, dev: {max_walltime: 3h}, gone: {max_walltime: 1h}}"
    describe(home, tmp_path, scheduler="slurm", transfer=f"gpus_per_node: 8\npartitions: {partitions}")
    found = slurm_facts.queues(
        "gpu|1-00:00:00|gpu:mi250:4(S:0-1)|56+\ngpu|1-00:00:00|(null)|64\n"
        "dev|3:00:00|gpu:mi250:8,gres/tmp:1|56\nold|infinite|(null)|1\n"
    )
    assert slurm_facts.queues_that_differ(load(NAME), found) == [
        "gpu ends jobs after 1 day, 0:00:00, the host file says 2 days, 0:00:00",
        "gpu has 4 GPUs a node, the host file says 8",
        "there is no partition gone (there are: dev, gpu, old)",
    ]


def test_a_user_without_an_ssh_configuration(sshd: Sshd, home: Path) -> None:
    """Everything comes from the host file then; ssh refuses to include a file that anybody can write."""
    (home / ".ssh" / "config").unlink()
    text = sshconfig.write(sshd.way).read_text()
    words = ["ssh", "-G", "-F", str(sshd.way.file("conf")), NAME]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Include /etc/ssh/ssh_config" in text
