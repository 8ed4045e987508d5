"""Which hosts are watched for whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.errors import MlSuiteError
from ml_suite.server.address import Address
from ml_suite.services.addresses import Places
from ml_suite.watch import registry
from ml_suite.watch.registry import Served, Watched

A, B = Watched("a", ("/spool",)), Watched("b")


def test_a_suite_replaces_its_own_hosts_and_no_others() -> None:
    one = Served("localhost", 3141).with_suite("demo", [A], []).with_suite("other", [B, A], ["demo"])
    assert one.hosts == [A, B]
    moved = one.with_suite("other", [Watched("a", ("/new",))], ["demo", "other"])
    assert moved.hosts == [Watched("a", ("/spool", "/new"))]
    assert moved.with_suite("demo", [], ["demo", "other"]).hosts == [Watched("a", ("/new",))]


def test_a_suite_that_was_deleted_watches_nothing() -> None:
    one = Served("localhost", 3141).with_suite("demo", [A], []).with_suite("other", [B], ["demo"])
    assert one.with_suite("third", [], ["other"]).hosts == [B]


def test_servers_are_kept_apart(tmp_path: Path) -> None:
    first = Served("localhost", 3141, passwd="/p").with_suite("demo", [A], [])
    second = Served("localhost", 4000, embedded=True).with_suite("demo", [B], [])
    servers = {"localhost:3141": first, "the embedded server": second}
    with registry.alone(tmp_path):
        registry.write(tmp_path, servers)
    assert registry.read(tmp_path) == servers
    assert registry.file(tmp_path).stat().st_mode & 0o777 == 0o600


def test_a_damaged_file_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    registry.file(tmp_path).parent.mkdir()
    for text in ("{", '{"x": {}}', "[]", '{"x": {"suites": {}, "strange": 1}}'):
        registry.file(tmp_path).write_text(text)
        with pytest.raises(MlSuiteError, match="cannot be read"):
            registry.read(tmp_path)


def test_a_password_file_of_the_deploying_shell_is_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ECF_PASSWD", "/home/me/ecf.passwd")
    address = Address("far.example.int", 3141, "--server")
    one = registry.served(tmp_path, address, None)
    monkeypatch.delenv("ECF_PASSWD")
    # a later deploy from a shell without it does not forget it
    assert registry.served(tmp_path, address, one).passwd == "/home/me/ecf.passwd"
    with registry.alone(tmp_path):
        registry.write(tmp_path, {registry.identity(tmp_path, address): one.with_suite("demo", [A], [])})
    monkeypatch.setenv("ECF_HOST", "far.example.int")
    monkeypatch.setenv("ECF_PORT", "3141")
    assert registry.mine(tmp_path).environment == {"ECF_PASSWD": "/home/me/ecf.passwd"}


def test_a_server_is_the_same_by_whatever_name_it_is_called(tmp_path: Path) -> None:
    names = ("localhost", "127.0.0.1")
    assert {registry.identity(tmp_path, Address(n, 3141, "x")) for n in names} == {"localhost:3141"}
    folder = Places(tmp_path).ecflow_address
    folder.parent.mkdir(parents=True)
    folder.write_text('{"host": "localhost", "port": 3141, "passwd": "/p"}')
    for name in names:
        # as after `ml-suite services env`: the login is the shell's
        address = Address(name, 3141, "from ECF_HOST")
        assert registry.identity(tmp_path, address) == registry.EMBEDDED
        assert registry.served(tmp_path, address, None).embedded
    assert registry.identity(tmp_path, Address("far.example.int", 3141, "x")) == "far.example.int:3141"
