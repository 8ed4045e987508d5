"""Host files: what is shipped, what a user's own file changes, and the paths that they lead to."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.errors import ConfigError
from ml_suite.hosts import host
from ml_suite.hosts.queues import queues

SHIPPED = ("jupiter", "leonardo", "local", "lumi", "marenostrum5")


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of the user's own host files."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / "ml-suite" / "hosts"
    folder.mkdir(parents=True)
    return folder


def test_every_shipped_host_is_there() -> None:
    assert set(SHIPPED) <= set(host.files())


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_holds_facts_and_no_private_values(name: str) -> None:
    facts = host.load(name)
    assert (facts.user, facts.account, facts.partition, facts.qos) == (None, None, None, None)
    if facts.here:
        return
    assert facts.control is not None
    assert facts.needs_account
    assert facts.internet is not None
    assert (facts.callback == "spool") or facts.internet.compute, "a direct callback needs a way out"
    assert any(queue.gpus and not queue.by_name for queue in queues(facts))
    facts.place(facts.paths.work, "p")
    facts.place(facts.paths.environment, "p")


@pytest.mark.parametrize("name", [name for name in SHIPPED if name != "local"])
def test_facts_of_a_shipped_file_have_a_source(name: str, repository: Path) -> None:
    text = (repository / "hosts" / f"{name}.yaml").read_text()
    head, _, body = text.partition("\ntitle:")
    assert "[O] the site's own documentation" in head
    assert body.count("[O]") + body.count("[U]") + body.count("[E]") >= 8


def test_known_rules_of_the_sites() -> None:
    assert host.load("marenostrum5").cpus_per_gpu == 20
    assert host.load("jupiter").architecture == "aarch64"
    assert host.load("jupiter").auth.kind == "totp"
    leonardo = host.load("leonardo")
    assert leonardo.transfer is not None
    assert not leonardo.transfer.shell
    assert leonardo.auth.lifetime is not None
    assert leonardo.auth.renew is not None
    assert leonardo.auth.renew.startswith("step ssh login")


def test_the_users_own_file_changes_only_what_it_names(own: Path) -> None:
    (own / "leonardo.yaml").write_text(
        "user: a08eml00\npartitions: {boost_usr_prod: {max_nodes: 64}}\ncontrol: {nodes: [login07]}\n"
    )
    facts, shipped = host.load("leonardo"), host.load("lumi")
    assert facts.user == "a08eml00"
    assert facts.title == "Leonardo Booster, CINECA"
    partition = facts.partitions["boost_usr_prod"]
    assert (partition.max_nodes, partition.max_walltime.days, len(partition.qos)) == (64, 1, 2)
    assert facts.control is not None
    assert facts.control.nodes == ("login07",)
    assert facts.control.address == "login.leonardo.cineca.it"
    assert shipped.user is None


def test_a_mistake_is_reported_where_it_was_written(own: Path) -> None:
    (own / "leonardo.yaml").write_text("auth:\n  lifetime: 12\n")
    with pytest.raises(ConfigError, match=r"leonardo\.yaml:2:13: error: write a duration") as caught:
        host.load("leonardo")
    assert str(own) in str(caught.value)


def test_a_new_machine_needs_a_whole_file(own: Path) -> None:
    (own / "mine.yaml").write_text("title: mine\n")
    with pytest.raises(ConfigError, match="callback"):
        host.load("mine")


def test_names_go_into_command_lines(own: Path) -> None:
    (own / "lumi.yaml").write_text("user: -oProxyCommand=x\n")
    with pytest.raises(ConfigError, match="user"):
        host.load("lumi")


def test_placeholders_of_another_machine() -> None:
    facts = host.load("lumi")
    assert facts.place("/s/{account}/{user}", "p", "u") == Path("/s/p/u")
    assert facts.model_copy(update={"user": "v", "account": "q"}).place("/s/{account}/{user}", None) == Path(
        "/s/q/v"
    )
    with pytest.raises(ConfigError, match="needs a user"):
        facts.place("/s/{user}", "p")
    with pytest.raises(ConfigError, match="needs an account"):
        facts.place("/s/{account}", None)
    with pytest.raises(ConfigError, match="a folder of this machine"):
        facts.place("{home}/x", "p")


def test_placeholders_of_this_machine() -> None:
    here = host.load("local")
    assert here.place("{home}/x", None) == Path.home() / "x"
    assert "{" not in str(here.place("/x/{user}", None))
