"""Rows of a status, from texts."""

from __future__ import annotations

from ml_suite.server.definition import Definition, parse
from ml_suite.server.status import LimitRow, Meter, news, outcome, status

SUITE = """suite demo # begun:1 state:aborted
  edit ECF_HOME '/home/jobs'
  limit local 4 # 2 /demo/main/hpo/step1/shard_0
  limit deliver 1
  family admin # state:queued
    task sweep # try:9 state:active
      cron 00:00 23:59 00:01
  endfamily
  family main # state:aborted
    family hpo # state:aborted suspended:1
      family step1 # state:active
        task shard_0 # try:1 state:active
          label info "-"
          label best "-" # "0.0213 (trial 3), 4 of 6 done"
          meter trials 0 100 100 # 40
        task shard_1 # try:1 state:complete
          label best "-" # "0.0301 (trial 7), 6 of 6 done"
          meter trials 0 100 100 # 100
        task deliver # try:1 state:complete
          label delivered "-" # "12 parcels"
      endfamily
      family step2 # state:aborted
        task candidate_1 # abort<:walltime 2:00 reached>abort try:2 state:aborted flag:task_aborted
          meter epochs 0 100 100 # 50
        task candidate_2 # state:queued
          meter epochs 0 100 100
      endfamily
      task select # state:queued
        label winner "-"
    endfamily
  endfamily
endsuite
"""


def suite(text: str = SUITE) -> Definition:
    """Read a suite with its state."""
    return parse("\n".join(line.partition(" # ")[0] for line in text.splitlines()), text)


def test_families_count_their_tasks_without_cron() -> None:
    rows = {row.path: row for row in status(suite()).families}
    assert "/demo/admin" not in rows
    assert rows["/demo/main"].counts == {"complete": 2, "active": 1, "aborted": 1, "queued": 2}
    assert rows["/demo/main/hpo"].suspended


def test_tasks_that_need_a_look_say_what_they_do() -> None:
    rows = {row.path.rpartition("/")[2]: row for row in status(suite()).tasks}
    assert set(rows) == {"sweep", "shard_0", "candidate_1"}
    assert rows["shard_0"].meters == (Meter("trials", 40, 0, 100),)
    assert rows["shard_0"].labels == {"best": "0.0213 (trial 3), 4 of 6 done"}
    failed = rows["candidate_1"]
    assert (failed.state, failed.tries, failed.reason) == ("aborted", 2, "walltime 2:00 reached")
    assert failed.output == "/home/jobs/demo/main/hpo/step2/candidate_1.2"


def test_limits_study_and_deliveries() -> None:
    seen = status(suite())
    assert seen.limits == (LimitRow("local", 2, 4), LimitRow("deliver", 0, 1))
    assert seen.study is not None
    assert (seen.study.shards, seen.study.shards_complete, seen.study.percent) == (2, 1, 70)
    assert (seen.study.candidates, seen.study.candidates_complete) == (2, 0)
    assert seen.study.best == "0.0213 (trial 3), 4 of 6 done"
    greatest = status(suite(), maximize=True).study
    assert greatest is not None
    assert greatest.best.startswith("0.0301")
    assert seen.study.winner == ""
    assert seen.delivered == {"/demo/main/hpo/step1/deliver": "12 parcels"}


def test_a_suite_ends_when_nothing_runs_and_cron_tasks_do_not_count() -> None:
    assert outcome(suite()) is None
    done = SUITE.replace("shard_0 # try:1 state:active", "shard_0 # try:1 state:complete")
    assert outcome(suite(done)) == "aborted"
    for state in ("state:aborted flag", "candidate_2 # state:queued", "select # state:queued"):
        done = done.replace(state, state.replace("aborted", "complete").replace("queued", "complete"))
    assert outcome(suite(done)) == "complete"
    assert outcome(suite(done.replace("select # state:complete", "select # state:queued"))) is None


def test_a_suite_without_a_search_has_no_study() -> None:
    assert status(suite("suite s # state:queued\n  task t # state:queued\nendsuite\n")).study is None


def test_news_are_what_changed_since_the_last_look() -> None:
    first = status(suite())
    lines = news(None, first)
    assert "active    /demo/main/hpo/step1/shard_0" in lines
    assert "aborted   /demo/main/hpo/step2/candidate_1: walltime 2:00 reached" in lines
    assert any("ecflow_client --file=/demo/main/hpo/step2/candidate_1 jobout" in line for line in lines)
    assert not any("sweep" in line or "candidate_2" in line for line in lines)
    assert news(first, first) == []
    later = SUITE.replace("0.0213 (trial 3), 4", "0.0200 (trial 5), 5").replace(
        "candidate_2 # state:queued", "candidate_2 # try:1 state:submitted"
    )
    assert news(first, status(suite(later))) == [
        "          /demo/main/hpo/step1/shard_0 best: 0.0200 (trial 5), 5 of 6 done",
        "submitted /demo/main/hpo/step2/candidate_2",
    ]
    done = SUITE.replace("shard_0 # try:1 state:active", "shard_0 # try:1 state:complete")
    assert news(first, status(suite(done)))[-1] == "aborted   /demo"
