"""Plans from texts, without a server."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.server.definition import Definition, attributes, parse
from ml_suite.server.files import FileChanges
from ml_suite.server.plan import Plan, plan
from ml_suite.server.show import lines, summary

SUITE = """suite s # begun:1 state:active
  edit ACCOUNT 'p1'
  limit gpu 8 # 2 /s/f/a
  family f # state:active
    repeat enumerated E "x" "y" # 1
    task a # passwd:xyz rid:7 try:2 state:active
      trigger b == complete or b == aborted
      inlimit /s:gpu
      label info "-" # "v=1"
      meter m 0 100 100 # 42
      event ckpt # set
    task b # try:1 state:complete
      queue q one two three # 1 complete queued queued
  endfamily
  task c # abort<:state:active is a lie>abort try:3 state:aborted
endsuite
"""


def suite(text: str = SUITE) -> Definition:
    """Read a suite with its state, as a server prints it twice."""
    structure = "\n".join(line.partition(" # ")[0] for line in text.splitlines())
    return parse(structure, text)


def changed(old: str, new: str) -> Plan:
    """Plan for the suite with OLD replaced by NEW, as it was deployed."""
    running = suite()
    return plan(suite(SUITE.replace(old, new)), running, running)


def test_what_runs_is_read_with_its_state() -> None:
    nodes = suite().nodes
    assert list(nodes) == ["/s", "/s/f", "/s/f/a", "/s/f/b", "/s/c"]
    assert [n.state for n in nodes.values()] == ["active", "active", "active", "complete", "aborted"]
    assert nodes["/s/f/a"].facts["passwd"] == "xyz"
    assert nodes["/s/c"].facts["abort"] == "state:active is a lie"
    runtime = {a.key: a.runtime for a in attributes(nodes["/s/f/a"])}
    assert runtime[("meter", "m")] == "42"
    assert runtime[("label", "info")] == '"v=1"'
    assert runtime[("event", "ckpt")] == "set"


def test_a_suite_needs_no_plan_against_itself() -> None:
    one = plan(suite(), suite(), suite())
    assert one.empty
    assert one.kept == 5
    assert not one.notes


@pytest.mark.parametrize(
    ("old", "new", "attribute", "values"),
    [
        ("'p1'", "'p2'", "ACCOUNT", ("p1", "p2")),
        (" or b == aborted", "", "trigger", ("b == complete or b == aborted", "b == complete")),
        ("limit gpu 8", "limit gpu 9", "limit gpu", ("8", "9")),
        ("inlimit /s:gpu", "inlimit /s:gpu 2", "inlimit /s:gpu", ("1", "2")),
        ("meter m 0 100 100", "meter m 0 200 200", "meter m", ("0 100 100", "0 200 200")),
        ('label info "-"', 'label info "none"', "label info", ("-", "none")),
        ('"x" "y"', '"x" "y" "z"', "repeat", ('enumerated E "x" "y"', 'enumerated E "x" "y" "z"')),
        ("      event ckpt # set\n", "", "event ckpt", ("ckpt", "")),
        ("      event ckpt", "      late -c +02:00\n      event ckpt", "late", ("", "-c +02:00")),
        ("      event ckpt", "      defstatus complete\n      event ckpt", "defstatus", ("", "complete")),
        ("      event ckpt", "      time 10:00\n      event ckpt", "time 10:00", ("", "10:00")),
        ("one two three", "one two three four", "queue q", ("one two three", "one two three four")),
    ],
)  # fmt: skip
def test_a_changed_attribute_is_named_with_both_values(
    old: str, new: str, attribute: str, values: tuple[str, str]
) -> None:
    made = changed(old, new)
    assert [(c.sign, c.attribute, (c.old, c.new)) for c in made.changes] == [("~", attribute, values)]
    assert not made.refusals
    assert made.kept == 5


def test_added_and_removed_nodes_name_what_they_cost() -> None:
    made = changed("task c #", "task d #")
    assert {(c.sign, c.path, c.cost) for c in made.changes} == {
        ("+", "/s/d", ""),
        ("-", "/s/c", "aborted, 3 tries"),
    }
    assert (made.count("+"), made.count("~"), made.count("-")) == (1, 0, 1)


def test_a_running_task_cannot_be_removed() -> None:
    running = suite()
    made = plan(suite("suite s\n  edit ACCOUNT 'p1'\n  limit gpu 8\n  task c\nendsuite\n"), running, running)
    assert [r.path for r in made.refusals] == ["/s/f/a"]
    assert "ecflow_client --kill=/s/f/a" in made.refusals[0].hint
    shown = "\n".join(map(str, lines(made, FileChanges())))
    assert "- /s/f " in shown
    assert "family, 2 tasks   loses 1 active, 1 complete" in shown
    assert "! /s/f/a" in shown


def test_a_task_that_becomes_a_family_loses_its_state() -> None:
    made = changed("task c #", "family c #")
    assert {(c.sign, c.kind) for c in made.changes} == {("+", "family"), ("-", "task")}


def test_values_that_no_longer_fit_are_named_or_refused() -> None:
    assert changed("meter m 0 100 100", "meter m 0 10 10").changes[0].cost == "value 42"
    refused = changed('"x" "y"', '"x" "z"').refusals
    assert "the repeat is at y" in refused[0].message


def test_queue_items_keep_their_state_by_name() -> None:
    made = changed("one two three", "zero one two")
    queue = next(a for a in made.merged["/s/f/b"] if a.key == ("queue", "q"))
    assert queue.runtime == "0 queued complete queued"


def test_an_operators_limit_stays() -> None:
    base, running = suite(), suite(SUITE.replace("limit gpu 8", "limit gpu 4"))
    made = plan(suite(SUITE.replace("limit gpu 8", "limit gpu 16")), running, base)
    assert made.empty
    assert made.notes[0].message == "limit gpu: keeps 4, set by operator (file says 16)"
    assert plan(suite(), running, base, overrule=True).changes[0].new == "8"


def test_an_operators_variable_stays_until_the_deployment_changes_it() -> None:
    base, running = suite(), suite(SUITE.replace("'p1'", "'mine'"))
    kept = plan(suite(), running, base)
    assert kept.empty
    assert "keeps 'mine', set by operator" in kept.notes[0].message
    made = plan(suite(SUITE.replace("'p1'", "'p2'")), running, base)
    assert [(c.old, c.new) for c in made.changes] == [("mine", "p2")]
    assert "operator had set 'mine'" in made.notes[0].message


def test_what_an_operator_added_stays_and_what_the_deployment_drops_goes() -> None:
    running = suite(SUITE.replace("  limit gpu", "  edit MINE 'x'\n  limit gpu"))
    made = plan(suite(), running, suite())
    assert made.empty
    assert made.notes[0].message == "MINE: added by operator, stays (x)"
    assert plan(suite(), running, running).changes[0].attribute == "MINE"


def test_lines_fold_siblings_and_whole_families() -> None:
    tasks = "".join(f"    task t{n}\n" for n in range(200, 204))
    made = changed("    task b #", f"{tasks}    task b #")
    shown = [str(line) for line in lines(made, FileChanges(added=("scripts/x.ecf",)))]
    assert any("/s/f/t200 ... t203" in line and "4 tasks" in line for line in shown)
    assert shown[-1].startswith("+ scripts/x.ecf")
    assert summary(made, FileChanges(added=("scripts/x.ecf",))) == "4 added, 1 file"


@given(
    removed=st.sets(st.integers(0, 19)),
    added=st.sets(st.integers(20, 29)),
    altered=st.sets(st.integers(0, 19)),
)
def test_a_plan_lists_exactly_the_difference(removed: set[int], added: set[int], altered: set[int]) -> None:
    def text(numbers: set[int], altered: set[int]) -> str:
        tasks = (f"  task t{n}\n    edit V '{'new' if n in altered else 'old'}'\n" for n in sorted(numbers))
        return f"suite s # begun:1\n  edit A '1'\n{''.join(tasks)}endsuite\n"

    old = suite(text(set(range(20)), set()))
    new = suite(text((set(range(20)) - removed) | added, altered))
    made = plan(new, old, old)
    assert {c.path for c in made.changes if c.sign == "+"} == {f"/s/t{n}" for n in added}
    assert {c.path for c in made.changes if c.sign == "-"} == {f"/s/t{n}" for n in removed}
    assert {c.path for c in made.changes if c.sign == "~"} == {f"/s/t{n}" for n in altered - removed}
    assert plan(new, new, new).empty


def test_ten_thousand_tasks_are_compared_in_well_under_a_second() -> None:
    tasks = [f"task t{n}\n      meter m 0 100 100\n      edit N '{n}'" for n in range(10_000)]
    families = [
        f"  family f{i}\n    " + "\n    ".join(tasks[i * 10 : i * 10 + 10]) + "\n  endfamily"
        for i in range(1000)
    ]
    text = "suite s\n" + "\n".join(families) + "\nendsuite\n"
    start = time.perf_counter()
    old = suite(text)
    new = suite(text.replace("edit N '77'", "edit N 'x'"))
    made = plan(new, old, old)
    assert time.perf_counter() - start < 1
    assert [c.path for c in made.changes] == ["/s/f7/t77"]
