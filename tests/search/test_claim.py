"""Who works on a study, as others see it."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ml_suite.cli import study_words as words
from ml_suite.errors import StudyError
from ml_suite.search import claim, remaining
from ml_suite.search.claim import Holder
from ml_suite.search.folder import Folder
from ml_suite.search.look import look
from ml_suite.study import record, two_step
from ml_suite.study.contract import Choice, Rungs
from tests.search.studies import plan
from tests.study.results import result

HOLD = """\
import sys
from pathlib import Path
from ml_suite.search import claim
with claim.claim(Path(sys.argv[1]), (int(sys.argv[2]), 4)):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(folder: Path, shard: int) -> Iterator[subprocess.Popen[str]]:
    argv = [sys.executable, "-c", HOLD, str(folder), str(shard)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_who_works_is_seen_and_keeps_its_claim(tmp_path: Path) -> None:
    with holding(tmp_path / "step1", 1) as one, holding(tmp_path / "pilot" / "5%-0", 2) as other:
        found = claim.holders(tmp_path)
        assert [(h.stage, h.shard, h.process, h.here) for h in found] == [
            ("pilot/5%-0", (2, 4), other.pid, True),
            ("step1", (1, 4), one.pid, True),
        ]
        assert abs(datetime.now(UTC) - found[0].since) < timedelta(minutes=1)
        with (
            pytest.raises(StudyError, match=f"by process {one.pid}"),
            claim.claim(tmp_path / "step1", (1, 4)),
        ):
            pass


@pytest.mark.parametrize("kill", [True, False])
def test_who_has_ended_is_not_seen_however_it_ended(kill: bool, tmp_path: Path) -> None:
    with holding(tmp_path / "step1", 1) as process:
        if kill:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate("")
        assert claim.holders(tmp_path) == []
    with claim.claim(tmp_path / "step1", (1, 4)):
        assert [holder.process for holder in claim.holders(tmp_path)] == [os.getpid()]
        assert claim.holders(tmp_path)


def test_of_another_host_only_the_claim_is_known(tmp_path: Path) -> None:
    lock = tmp_path / "step1" / "0-of-1.lock"
    lock.parent.mkdir()
    lock.write_text("process 17 on elsewhere since 2026-01-02 03:04:05 UTC")
    (tmp_path / "step1" / "1-of-1.lock").write_text("something else")
    (holder,) = claim.holders(tmp_path)
    assert not holder.here
    told = words.running([(holder, None)])
    assert told == {
        "running": "unknown: step 1 is claimed by process 17 on elsewhere since 2026-01-02 03:04:05 UTC"
    }


def begun(stage: str, seconds: float, shard: tuple[int, int] = (0, 1)) -> Holder:
    since = datetime(2026, 7, 1, tzinfo=UTC)
    return Holder(stage, shard, 1, platform.node(), since - timedelta(seconds=seconds), True)


def test_what_is_left_is_told_by_what_the_process_has_done_itself(tmp_path: Path) -> None:
    made = plan(trials=8, trainer="command", rungs=Rungs(at=[1], keep=0.5, cohort=2))
    made.save(tmp_path / "plan.json")
    now = datetime(2026, 7, 1, tzinfo=UTC)
    known = look(Folder(tmp_path))
    assert remaining.seconds(known, begun("step1", 60), now) is None
    for trial, ago in ((0, 600), (1, 600), (2, 30), (3, 10)):
        one = result(trial, 0.5, study=made.study)
        ended = now - timedelta(seconds=ago)
        record.append(tmp_path / "step1" / "r.jsonl", one.model_copy(update={"ended": ended}))
    known = look(Folder(tmp_path))
    assert remaining.seconds(known, begun("step1", 60), now) == pytest.approx(120)  # 2 in 60 s, 4 left
    # cohorts 1 and 3 are of the second of two shards: trials 2, 3, 6, 7
    assert remaining.seconds(known, begun("step1", 60, (1, 2)), now) == pytest.approx(60)
    assert remaining.seconds(known, begun("pilot/5%-0", 60), now) is None


def test_finalists_are_expected_before_they_are_known(tmp_path: Path) -> None:
    made = plan(trials=4, keep=2, trainer="command", choice=Choice(controls=1, finalists=1, replicates=3))
    first = [result(i, i / 10, study=made.study) for i in range(4)]
    made.save(tmp_path / "plan.json")
    two_step.shortlist(made, first).save(tmp_path / "shortlist.json")
    now = datetime(2026, 7, 1, tzinfo=UTC)
    done = result(0, 0.5, step=2, study=made.study).model_copy(update={"ended": now})
    record.append(tmp_path / "step2" / "r.jsonl", done)
    assert remaining.seconds(look(Folder(tmp_path)), begun("step2", 10), now) == pytest.approx(40)
