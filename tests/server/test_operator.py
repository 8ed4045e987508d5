"""What an operator changed on a real server, through deploys."""

from __future__ import annotations

import pytest

from ml_suite.errors import MlSuiteError
from ml_suite.server.deploy import carry_out, prepare
from ml_suite.server.rerun import rerun
from tests.server.conftest import Bench

BODY = """
  edit ACCOUNT 'p1'
  limit gpu 8
  family f
    task a
      edit EPOCHS '3'
      label info "-"
      inlimit /{name}:gpu 2
    task q
      trigger a == complete
      queue work one two three
  endfamily
"""


def body(bench: Bench, old: str = "", new: str = "") -> str:
    return BODY.replace("{name}", bench.name).replace(old, new) if old else BODY.replace("{name}", bench.name)


def test_limits_and_variables_of_the_operator_stay_and_are_told(bench: Bench) -> None:
    bench.deploy(body(bench))
    client, path = bench.client, f"/{bench.name}"
    client.alter(path, "change", "limit_max", "gpu", "4")
    client.alter(f"{path}/f/a", "change", "variable", "EPOCHS", "9")
    client.alter(path, "add", "variable", "MINE", "x")

    prepared = bench.prepare(body(bench, "limit gpu 8", "limit gpu 16"))
    assert prepared.plan.empty
    notes = sorted(n.message for n in prepared.plan.notes)
    assert notes == [
        "EPOCHS: keeps '9', set by operator (file says '3')",
        "MINE: added by operator, stays (x)",
        "limit gpu: keeps 4, set by operator (file says 16)",
    ]
    bench.deploy(body(bench, "ACCOUNT 'p1'", "ACCOUNT 'p2'"))
    text = bench.running().suite.structure + bench.running().nodes[f"{path}/f/a"].structure
    for line in ("edit ACCOUNT 'p2'", "limit gpu 4", "edit EPOCHS '9'", "edit MINE 'x'"):
        assert line in text


def test_the_deployment_wins_when_it_changes_a_variable_or_overrules(bench: Bench) -> None:
    bench.deploy(body(bench))
    path = f"/{bench.name}"
    bench.client.alter(f"{path}/f/a", "change", "variable", "EPOCHS", "9")
    bench.client.alter(path, "change", "limit_max", "gpu", "4")
    done = bench.deploy(body(bench, "EPOCHS '3'", "EPOCHS '5'"))
    assert any("operator had set '9'" in n.message for n in done.applied.plan.notes)
    assert "edit EPOCHS '5'" in bench.running().nodes[f"{path}/f/a"].structure
    bench.deploy(body(bench, "EPOCHS '3'", "EPOCHS '5'"), overrule=True)
    assert "limit gpu 8" in bench.running().suite.structure


def test_tokens_of_a_running_task_follow_a_changed_inlimit(bench: Bench) -> None:
    bench.deploy(body(bench))
    job = bench.start("/f/a")
    bench.deploy(body(bench, "gpu 2", "gpu 5"))
    assert f"limit gpu 8 # 5 /{bench.name}/f/a" in (bench.running().suite.stateful or "")
    bench.deploy(body(bench, f"      inlimit /{bench.name}:gpu 2\n", ""))
    assert "limit gpu 8\n" in (bench.running().suite.stateful or "")
    job.child_complete()
    assert bench.state("/f/a") == "complete"


def test_queues_keep_what_is_done(bench: Bench) -> None:
    bench.deploy(body(bench))
    bench.start("/f/a").child_complete()
    job = bench.start("/f/q")
    assert job.child_queue("work", "active") == "one"
    job.child_queue("work", "complete", "one")
    bench.deploy(body(bench, "one two three", "one two three four"))
    assert job.child_queue("work", "active") == "two"
    assert "one two three four" in bench.running().nodes[f"/{bench.name}/f/q"].structure


def test_time_dependencies_and_triggers_that_were_freed_stay_free(bench: Bench) -> None:
    text = body(bench) + "  task t\n    time 23:59\n  task u\n    trigger f == aborted\n    time 23:59\n"
    bench.deploy(text, suspended=True)
    path = f"/{bench.name}"
    bench.client.free_time_dep(f"{path}/t")
    bench.client.free_trigger_dep(f"{path}/u")
    bench.deploy(text.replace("ACCOUNT 'p1'", "ACCOUNT 'p2'"))
    assert "23:59 # free" in (bench.running().nodes[f"{path}/t"].stateful or "")
    assert "aborted # free" in (bench.running().nodes[f"{path}/u"].stateful or "")


def test_labels_with_quotes_and_hashes_do_not_break_a_deploy(bench: Bench) -> None:
    bench.deploy(body(bench))
    job = bench.start("/f/a")
    job.child_label("info", "epoch 3 # 'best' \"ever\" # 4")
    bench.deploy(body(bench, "ACCOUNT 'p1'", "ACCOUNT 'p2'"))
    stateful = bench.running().nodes[f"/{bench.name}/f/a"].stateful or ""
    assert "epoch 3  'best' \"ever\"  4" in stateful


@pytest.mark.parametrize("new", [True, False])
def test_a_variable_that_ecflow_would_cut_is_refused(bench: Bench, new: bool) -> None:
    if not new:
        bench.deploy(body(bench))
    made = bench.defs(body(bench))
    made.find_suite(bench.name).add_variable("HASHED", "one # two")
    prepared = prepare(bench.server, bench.home, made, bench.name, {})
    with pytest.raises(MlSuiteError, match="has ' #' in variable HASHED"):
        carry_out(prepared, {})
    assert (bench.server.fetch(bench.name) is None) == new


def test_a_suite_that_was_loaded_but_never_begun_is_begun(bench: Bench) -> None:
    bench.client.load(bench.defs(body(bench)))
    assert bench.state("/f/a") == "unknown"
    prepared = bench.prepare(body(bench))
    assert not prepared.plan.changes
    assert not prepared.empty
    bench.deploy(body(bench))
    bench.wait(lambda: bench.state("/f/a") == "submitted")


def test_rerun_queues_a_finished_suite_and_refuses_a_running_one(bench: Bench) -> None:
    text = body(bench) + "  family admin\n    task sweep\n      cron 23:59\n  endfamily\n"
    bench.deploy(text)
    job = bench.start("/f/a")
    with pytest.raises(MlSuiteError, match="is not finished, so it is not queued again"):
        rerun(bench.server, bench.running())
    job.child_complete()
    bench.start("/f/q").child_complete()
    assert rerun(bench.server, bench.running()) == [f"/{bench.name}/f"]
    bench.wait(lambda: bench.submitted().count(f"/{bench.name}/f/a") == 2)
    assert bench.state("/f/q") == "queued"
