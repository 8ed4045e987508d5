"""States of credentials and logins with keys, certificates and codes, against a real sshd."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ml_suite.errors import CredentialNeeded, HostError
from ml_suite.hosts import channel, credentials, mux, reach
from ml_suite.hosts.askpass import Ask
from ml_suite.hosts.reach import Reach
from tests.hosts.sshd_fixture import Sshd, keygen, signal_process, wait_for

CODE = "739116"


def answering(*answers: str | None) -> tuple[Ask, list[str]]:
    """A person who gives these answers, and what they were asked."""
    asked: list[str] = []
    left = iter(answers)

    def ask(question: str) -> str | None:
        asked.append(question)
        return next(left)

    return ask, asked


def nobody(question: str) -> str | None:
    raise AssertionError(f"nobody should be asked: {question}")


def test_a_key_is_ready_without_a_person(sshd: Sshd) -> None:
    assert credentials.state(sshd.way, connect=False).name == "down"
    assert credentials.state(sshd.way) == credentials.State("ready")


def test_a_refused_key_needs_a_human(sshd: Sshd) -> None:
    sshd.keys("")
    found = credentials.state(sshd.way)
    assert (found.name, found.hint) == ("needs-human", "Run: ml-suite hosts login bighost")


def test_a_host_that_does_not_answer_is_down(sshd: Sshd) -> None:
    sshd.stop()
    found = credentials.state(sshd.way)
    assert found.name == "down"
    assert "Connection refused" in found.reason


def test_a_connection_that_leads_nowhere_is_down_though_its_ssh_lives(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "PROBE", 0.5)
    way = replace(sshd.way, auth="totp")
    mux.open_master(sshd.way)
    for pid in sshd.sessions():
        os.kill(pid, signal.SIGSTOP)
    assert credentials.state(way).name == "down"
    # its end would cost the person a code
    assert mux.master(way)
    for pid in sshd.sessions():
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: credentials.state(way).name == "ready", "answer")
    assert sshd.connections == 1


@pytest.mark.parametrize(
    ("end", "name", "minutes"),
    [("+11h", "ready", 660), ("+30m", "ready-expiring", 30), ("forever", "ready", None)],
)
def test_a_certificate_says_how_long_it_lasts(sshd: Sshd, end: str, name: str, minutes: int | None) -> None:
    sshd.want_certificates()
    sshd.sign("always" if end == "forever" else "-1m", end)
    found = credentials.state(sshd.way)
    assert found.name == name
    assert found.minutes == minutes or (minutes and found.minutes in (minutes - 1, minutes + 1))


def test_a_short_certificate_expires_when_a_quarter_is_left(sshd: Sshd) -> None:
    sshd.want_certificates()
    sshd.sign("-1m", "+30m")
    assert credentials.state(replace(sshd.way, lifetime=3600)).name == "ready"


@pytest.mark.parametrize("start", ["-2h", None])
def test_without_a_certificate_nobody_knocks_and_the_renewal_is_named(sshd: Sshd, start: str | None) -> None:
    sshd.want_certificates()
    if start:
        sshd.sign(start, "-1h")
    found = credentials.state(sshd.way)
    assert (found.name, found.hint) == ("needs-human", "Run: step ssh login EMAIL")
    with pytest.raises(CredentialNeeded, match="ended" if start else "has no certificate"):
        credentials.login(sshd.way, nobody)
    assert sshd.connections == 0


def test_an_open_connection_outlives_its_certificate_and_a_new_one_opens_it_again(sshd: Sshd) -> None:
    sshd.want_certificates()
    sshd.sign("-1m", "+11h")
    channel.run(sshd.way, ["true"])
    sshd.sign("-2h", "-1h")
    found = credentials.state(sshd.way)
    assert (found.name, found.minutes) == ("ready-expired", 0)
    assert found.hint == "Run: step ssh login EMAIL"
    mux.close_master(sshd.way)
    with pytest.raises(CredentialNeeded):
        channel.run(sshd.way, ["true"])
    sshd.sign("-1m", "+11h")
    assert channel.run(sshd.way, ["echo", "in"]).out == "in\n"


def test_a_certificate_in_an_agent_is_found(sshd: Sshd, agent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sshd.want_certificates()
    sshd.sign("-1m", "+5h")
    config = Path(os.environ["HOME"]) / ".ssh" / "config"
    text = (
        config.read_text().replace(f"IdentityFile {sshd.folder}/id\n", "").replace("IdentitiesOnly yes", "")
    )
    os.spawnlpe(
        os.P_WAIT, "ssh-add", "ssh-add", "-q", f"{sshd.folder}/id", {**os.environ, "SSH_AUTH_SOCK": agent}
    )
    config.write_text(text)
    assert credentials.state(sshd.way).name == "needs-human"
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    found = credentials.state(sshd.way)
    assert found.name == "ready"
    assert found.minutes in (299, 300)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "agent"
    pid = os.spawnlp(os.P_NOWAIT, "ssh-agent", "ssh-agent", "-D", "-a", str(path))
    wait_for(path.exists, "agent")
    yield str(path)
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)


def test_a_code_opens_the_connection_for_everything_after(sshd: Sshd) -> None:
    sshd.want_codes()
    sshd.codes(CODE)
    found = credentials.state(sshd.way)
    assert (found.name, found.hint) == ("needs-human", "Run: ml-suite hosts login bighost")
    assert sshd.connections == 0
    ask, asked = answering(CODE)
    opened = credentials.login(sshd.way, ask)
    assert (opened.name, opened.minutes) == ("ready", 479)
    assert len(asked) == 1
    assert "Password" in asked[0]
    assert credentials.login(sshd.way, nobody).name == "ready"
    assert channel.run(sshd.way, ["echo", "in"]).out == "in\n"
    assert credentials.state(sshd.way).name == "ready"
    assert sshd.connections == 1


def test_a_wrong_or_used_code_is_refused_and_asked_for_once(sshd: Sshd) -> None:
    sshd.want_codes()
    sshd.codes(CODE)
    ask, asked = answering("000000", CODE)
    with pytest.raises(CredentialNeeded, match="Permission denied"):
        credentials.login(sshd.way, ask)
    assert len(asked) == 1
    credentials.login(sshd.way, ask)
    mux.close_master(sshd.way)
    with pytest.raises(CredentialNeeded, match="Permission denied"):
        credentials.login(sshd.way, answering(CODE)[0])


def test_a_lost_connection_that_needs_a_code_is_not_opened_by_a_program(sshd: Sshd) -> None:
    sshd.want_codes()
    sshd.codes(CODE)
    credentials.login(sshd.way, answering(CODE)[0])
    master = mux.master(sshd.way)
    assert master
    signal_process(master.pid, signal.SIGKILL)
    wait_for(lambda: not mux.listening(sshd.way), "end of the connection")
    with pytest.raises(CredentialNeeded, match="one-time code"):
        channel.run(sshd.way, ["true"])
    assert sshd.connections == 1


def test_a_code_is_in_no_argument_no_environment_and_no_file(sshd: Sshd, tmp_path: Path) -> None:
    sshd.want_codes()
    sshd.codes(CODE)
    seen: list[str] = []

    def ask(question: str) -> str:
        seen.extend(processes())
        return CODE

    credentials.login(sshd.way, ask)
    seen.extend(processes())
    assert any("ssh\0" in text for text in seen)
    assert not [text for text in seen if CODE in text]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and sshd.folder / "codes" != path]
    assert sshd.way.file("log") in written
    assert not [path for path in written if CODE.encode() in path.read_bytes()]


def processes() -> list[str]:
    """Arguments and environments of all processes."""
    found = []
    for path in [*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")]:
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return found


def test_a_passphrase_is_asked_for_at_login_only(sshd: Sshd) -> None:
    keygen("-q", "-p", "-P", "", "-N", "open sesame", "-f", sshd.folder / "id")
    assert credentials.state(sshd.way).name == "needs-human"
    ask, asked = answering("open sesame")
    assert credentials.login(sshd.way, ask).name == "ready"
    assert "passphrase" in asked[0]


def test_a_person_may_accept_an_unknown_host_key_by_its_fingerprint(sshd: Sshd) -> None:
    (sshd.folder / "known_hosts").unlink()
    with pytest.raises(HostError, match="is not known"):
        credentials.login(sshd.way, answering("no")[0])
    ask, asked = answering("yes")
    assert credentials.login(sshd.way, ask).name == "ready"
    assert "SHA256:" in asked[0]


def test_a_changed_host_key_is_refused_to_a_person_too(sshd: Sshd) -> None:
    sshd.stop()
    (sshd.folder / "host_key").unlink()
    keygen("-q", "-t", "ed25519", "-N", "", "-f", sshd.folder / "host_key")
    sshd.start()
    with pytest.raises(HostError, match="has changed"):
        credentials.login(sshd.way, nobody)


def test_a_login_waits_for_no_pause(sshd: Sshd) -> None:
    sshd.keys("")
    way = replace(sshd.way, wait=0.5)
    for _ in range(2):
        with pytest.raises(CredentialNeeded):
            channel.run(way, ["true"])
    sshd.keys((sshd.folder / "id.pub").read_text())
    assert credentials.login(way, nobody).name == "ready"


def test_this_machine_needs_no_login(home: Path) -> None:
    assert credentials.login(Reach("local"), nobody).name == "ready"
    assert credentials.state(Reach("local")).name == "ready"


def test_what_is_known_of_a_host_needs_no_host_file(home: Path) -> None:
    way = Reach("big", address="big.example.int", nodes=("a", "b"), user="me")
    files = replace(way, endpoint=reach.TRANSFER, shell=False)
    reach.save((way, files))
    assert reach.known("big") == way
    assert reach.known("big", reach.TRANSFER) == files
    with pytest.raises(HostError, match="nothing is known"):
        reach.known("small")
