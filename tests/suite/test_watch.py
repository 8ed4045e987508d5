"""The suite that watches hosts, without a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.errors import ConfigError
from ml_suite.suite.build import Built
from ml_suite.suite.watch import build_watch
from ml_suite.watch.registry import Watched
from tests.suite.conftest import places


def build(folder: Path, scripts: Path, *hosts: Watched) -> Built:
    return build_watch(hosts, places(folder), folder, scripts)


def tasks(built: Built, host: str) -> list[str]:
    return [node.name() for node in built.defs.find_abs_node(f"/ml_suite/{host}").nodes]


def test_only_a_host_with_a_spool_has_relays(tmp_path: Path, scripts: Path) -> None:
    built = build(tmp_path, scripts, Watched("far-away", ("/a", "/b")), Watched("direct"))
    first, relay, second, *rest = tasks(built, "far_away")
    assert (first, relay, rest) == ("login", "relay", ["sweep", "courier", "transfers"])
    assert second.startswith("relay_")
    assert tasks(built, "direct") == ["login", "sweep", "courier", "transfers"]


def test_what_a_host_shows_is_on_its_family(tmp_path: Path, scripts: Path) -> None:
    family = build(tmp_path, scripts, Watched("far-away")).defs.find_abs_node("/ml_suite/far_away")
    assert [limit.name() for limit in family.limits] == ["open"]
    assert [(m.name(), m.max()) for m in family.meters] == [("minutes", 1440)]
    assert [label.name() for label in family.labels] == ["state", "behind"]
    assert family.find_variable("WATCHED").value() == "far-away"


def test_the_two_that_start_others_again_take_turns(tmp_path: Path, scripts: Path) -> None:
    admin = build(tmp_path, scripts).defs.find_abs_node("/ml_suite/admin")
    series = [str(next(iter(task.crons))).split() for task in admin.nodes]
    assert [words[-3:] for words in series] == [["00:00", "23:58", "00:02"], ["00:01", "23:59", "00:02"]]


def test_every_script_is_there_with_a_manual_and_no_other(tmp_path: Path, scripts: Path) -> None:
    built = build(tmp_path, scripts, Watched("far", ("/a",)))
    used = {task.find_variable("ML_SUITE_SCRIPT").value() for task in built.defs.get_all_tasks()}
    own = {name.removesuffix(".ecf") for name in built.files if name.endswith(".ecf")}
    assert used == own
    for name in own:
        text = built.files[f"{name}.ecf"]
        assert "PURPOSE" in text
        assert "WHEN" in text
        assert "%include <tail.h>" in text


def test_two_hosts_of_one_node_are_refused(tmp_path: Path, scripts: Path) -> None:
    for names in (("a-b", "a_b"), ("admin",)):
        with pytest.raises(ConfigError, match="cannot be watched"):
            build(tmp_path, scripts, *map(Watched, names))
