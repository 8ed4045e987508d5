"""Deploys to a real server with jobs that run."""

from __future__ import annotations

from typing import Any

import pytest

from ml_suite.errors import MlSuiteError
from tests.server.conftest import Bench

FIRST = """
  edit V '1'
  limit gpu 2
  family f
    repeat date YMD 20240101 20240110 1
    task a
      inlimit gpu
      meter epoch 0 100 100
      event ckpt
      label info "-"
    task b
      trigger a == complete
      meter epoch 0 100 100
    task c
      trigger b == complete
    task d
      trigger c == complete
  endfamily
"""
SECOND = (
    FIRST.replace("edit V '1'", "edit V '2'")
    .replace("task c\n", "task c2\n")
    .replace("trigger c ==", "trigger c2 ==")
    .replace("  endfamily", "    task e\n      trigger d == complete\n  endfamily")
)


def test_a_new_suite_is_loaded_begun_and_runs(bench: Bench) -> None:
    done = bench.deploy(FIRST)
    assert done.applied.plan.new
    bench.wait(lambda: bench.submitted() == [f"/{bench.name}/f/a"])


def test_a_new_suite_can_wait_for_an_operator(bench: Bench) -> None:
    bench.deploy(FIRST, suspended=True)
    assert bench.running().suite.suspended
    bench.client.resume(f"/{bench.name}")
    bench.wait(lambda: bench.state("/f/a") == "submitted")


def test_an_active_job_survives_a_deploy_and_nothing_is_submitted_again(bench: Bench) -> None:
    bench.deploy(FIRST)
    job = bench.start("/f/a")
    job.child_meter("epoch", 42)
    job.child_label("info", "val_loss 0.31")
    job.child_event("ckpt")
    bench.client.alter(f"/{bench.name}/f", "change", "repeat", "20240105")
    bench.client.suspend(f"/{bench.name}/f/d")
    before = bench.submitted()

    bench.deploy(SECOND)

    running = bench.running()
    a = running.nodes[f"/{bench.name}/f/a"]
    assert (a.state, a.tries) == ("active", 1)
    assert "meter epoch 0 100 100 # 42" in (a.stateful or "")
    assert 'label info "-" # "val_loss 0.31"' in (a.stateful or "")
    assert "event ckpt # set" in (a.stateful or "")
    assert "20240110 1 # 20240105" in (running.nodes[f"/{bench.name}/f"].stateful or "")
    assert running.nodes[f"/{bench.name}/f/d"].suspended
    assert "edit V '2'" in running.suite.structure
    assert f"limit gpu 2 # 1 /{bench.name}/f/a" in (running.suite.stateful or "")
    assert f"/{bench.name}/f/c" not in running.nodes
    assert not running.suite.suspended
    assert bench.submitted() == before

    job.child_meter("epoch", 43)
    job.child_complete()
    bench.wait(lambda: bench.submitted() == [*before, f"/{bench.name}/f/b"])
    assert bench.state("/f/a") == "complete"
    assert "limit gpu 2\n" in (bench.running().suite.stateful or "")


def test_finished_and_failed_tasks_stay_so(bench: Bench) -> None:
    bench.deploy(FIRST)
    bench.start("/f/a").child_complete()
    bench.start("/f/b").child_abort("out of # memory")
    before = bench.submitted()
    bench.deploy(SECOND)
    b = bench.running().nodes[f"/{bench.name}/f/b"]
    assert (bench.state("/f/a"), b.state, b.facts["abort"]) == ("complete", "aborted", "out of # memory")
    assert bench.submitted() == before


def test_a_second_deploy_of_the_same_changes_nothing(bench: Bench) -> None:
    bench.deploy(FIRST)
    bench.start("/f/a")
    prepared = bench.prepare(FIRST)
    assert prepared.plan.empty
    assert prepared.plan.kept == 6
    assert prepared.file_changes.empty


def test_removing_a_running_task_is_refused_and_changes_nothing(bench: Bench) -> None:
    bench.deploy(FIRST)
    bench.start("/f/a")
    before = bench.running()
    with pytest.raises(MlSuiteError, match="/f/a is active and not in the deployment any more"):
        bench.deploy(FIRST.replace("task a\n", "task a2\n").replace("trigger a ==", "trigger a2 =="))
    after = bench.running()
    assert list(after.nodes) == list(before.nodes)
    assert not after.suite.suspended


def test_a_removal_is_refused_when_the_task_started_after_the_plan(bench: Bench) -> None:
    from ml_suite.server.deploy import carry_out

    bench.deploy(FIRST, suspended=True)
    prepared = bench.prepare(FIRST.replace("task a\n", "task a2\n").replace("trigger a ==", "trigger a2 =="))
    assert not prepared.plan.refusals
    bench.client.resume(f"/{bench.name}")
    bench.start("/f/a")
    with pytest.raises(MlSuiteError, match="is active and not in the deployment"):
        carry_out(prepared, {})
    assert bench.state("/f/a") == "active"
    assert not bench.running().suite.suspended


def test_a_plan_that_is_no_longer_true_is_not_applied(bench: Bench) -> None:
    from ml_suite.server.deploy import carry_out

    bench.deploy(FIRST)
    prepared = bench.prepare(SECOND)
    bench.client.alter(f"/{bench.name}/f/d", "add", "variable", "MINE", "x")
    bench.client.delete(f"/{bench.name}/f/b", True)
    with pytest.raises(MlSuiteError, match="was changed on the server after the plan"):
        carry_out(prepared, {})
    assert f"/{bench.name}/f/c" in bench.running().nodes


def test_a_repeat_that_loses_its_value_is_refused(bench: Bench) -> None:
    bench.deploy(FIRST)
    bench.client.alter(f"/{bench.name}/f", "change", "repeat", "20240105")
    with pytest.raises(MlSuiteError, match="the repeat is at 20240105"):
        bench.deploy(FIRST.replace("20240101 20240110", "20240106 20240110"))
    bench.deploy(FIRST.replace("20240101 20240110", "20240103 20240120"))
    assert "20240103 20240120 1 # 20240105" in (bench.running().nodes[f"/{bench.name}/f"].stateful or "")


def test_a_new_task_in_a_finished_family_runs(bench: Bench) -> None:
    body = FIRST.replace("    repeat date YMD 20240101 20240110 1\n", "")
    bench.deploy(body)
    bench.client.force_state_recursive(f"/{bench.name}", _state("complete"))
    assert bench.state("") == "complete"
    bench.deploy(body.replace("  endfamily", "    task e\n      trigger d == complete\n  endfamily"))
    bench.wait(lambda: bench.state("/f/e") == "submitted")
    assert bench.state("/f/a") == "complete"


def test_new_nodes_start_as_their_defstatus_says(bench: Bench) -> None:
    bench.deploy(FIRST)
    bench.deploy(
        FIRST
        + "  task s\n    defstatus suspended\n  family cancel\n    defstatus complete\n    task x\n  endfamily\n"
    )
    running = bench.running()
    assert running.nodes[f"/{bench.name}/s"].suspended
    assert bench.state("/cancel/x") == "complete"
    assert f"/{bench.name}/cancel/x" not in bench.submitted()


def test_what_jobs_say_during_the_replace_is_not_lost(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    body = FIRST + '  task other\n    meter m 0 100 100\n    label l ""\n  task third\n'
    bench.deploy(body)
    job, other = bench.start("/f/a"), bench.start("/other")
    third = bench.start("/third")
    real = bench.server.replace

    def slow(*arguments: Any) -> None:
        other.child_meter("m", 7)
        other.child_label("l", "moved 3 GB")
        job.child_complete()
        third.child_abort("walltime")
        real(*arguments)

    monkeypatch.setattr(bench.server, "replace", slow)
    done = bench.deploy(body.replace("edit V '1'", "edit V '2'"))
    assert [m.kind for m in done.applied.repeated] == ["meter", "label", "complete", "aborted"]
    bench.wait(lambda: bench.state("/f/b") == "submitted")
    assert bench.state("/f/a") == "complete"
    stateful = bench.running().nodes[f"/{bench.name}/other"].stateful or ""
    assert "# 7" in stateful
    assert "moved 3 GB" in stateful
    assert bench.running().nodes[f"/{bench.name}/third"].facts["abort"] == "walltime"


def test_a_job_that_starts_during_the_replace_is_active_and_completes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.deploy(FIRST)
    bench.wait(lambda: bench.state("/f/a") == "submitted")
    job = bench.job("/f/a", "4711")
    real = bench.server.replace

    def slow(*arguments: Any) -> None:
        job.child_init()
        real(*arguments)

    monkeypatch.setattr(bench.server, "replace", slow)
    bench.deploy(FIRST.replace("edit V '1'", "edit V '2'"))
    assert bench.state("/f/a") == "active"
    job.child_complete()
    assert bench.state("/f/a") == "complete"


def test_a_deploy_that_was_killed_is_finished_by_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.deploy(FIRST)
    real, resume = bench.server.replace, bench.server.resume

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(bench.server, "replace", die)
    monkeypatch.setattr(bench.server, "resume", lambda _: None)
    with pytest.raises(Killed):
        bench.deploy(SECOND)
    # kill -9 leaves the mark as well
    mark = bench.prepare(SECOND).places.keep.mark
    mark.touch()
    assert bench.running().suite.suspended
    monkeypatch.setattr(bench.server, "replace", real)
    monkeypatch.setattr(bench.server, "resume", resume)
    bench.deploy(SECOND)
    assert not bench.running().suite.suspended
    assert not mark.exists()
    assert f"/{bench.name}/f/e" in bench.running().nodes


def test_a_suite_that_an_operator_suspended_stays_suspended(bench: Bench) -> None:
    bench.deploy(FIRST)
    bench.client.suspend(f"/{bench.name}")
    bench.deploy(SECOND)
    assert bench.running().suite.suspended


def test_backups_hold_the_state_and_are_private(bench: Bench) -> None:
    bench.deploy(FIRST)
    bench.start("/f/a")
    backup = bench.deploy(SECOND).applied.backup
    assert backup is not None
    assert "state:active" in backup.read_text()
    assert backup.stat().st_mode & 0o077 == 0
    assert not list(backup.parent.glob("*.new"))
    bench.client.replace(f"/{bench.name}", str(backup), True, True)
    assert bench.state("/f/a") == "active"
    assert f"/{bench.name}/f/c" in bench.running().nodes


def _state(name: str) -> object:
    import ecflow

    return getattr(ecflow.State, name)
