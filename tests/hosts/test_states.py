"""Slurm's words about jobs in ours: every state, recorded outputs, and what nobody can tell."""

from __future__ import annotations

import doctest
from pathlib import Path
from types import ModuleType

import pytest

from ml_suite.hosts import chain, order, ranks, sbatch, states
from ml_suite.hosts.states import STATES, STUCK, Outcome, Seen, judge, sacct, squeue


@pytest.fixture(scope="module")
def recorded(repository: Path) -> Path:
    return repository / "tests" / "recorded"


@pytest.mark.parametrize(
    ("job", "outcome", "sentence"),
    [
        ("100", "running", "it runs on nid[005123-005124]"),
        ("101", "pending", "it waits (Priority)"),
        ("102", "pending", "it waits for ever: it asks for more time than the QOS gives"),
        ("103", "pending", "it waits for ever: a person holds it"),
        ("104", "running", "it is ending on nid005125"),
        ("105", "pending", "its nodes are being made ready on nid005126"),
        ("106", "walltime", "it reached its walltime on nid005127 after 12:00:10"),
        ("107_[3-9%2]", "pending", "it waits (JobArrayTaskLimit)"),
        ("107_1", "running", "it runs on nid005128"),
        ("108", "unknown", "another cluster of the federation took it"),
        ("109", "running", "it is suspended on nid005129"),
    ],
)
def test_squeue(recorded: Path, job: str, outcome: str, sentence: str) -> None:
    seen = squeue((recorded / "manual" / "squeue.txt").read_text())[job]
    assert (seen.outcome, seen.sentence) == (outcome, f"Slurm job {job}: {sentence}")


@pytest.mark.parametrize(
    ("job", "outcome", "sentence"),
    [
        ("200", "complete", "it ended with exit code 0 on nid005123 after 00:10:00"),
        ("201", "failed", "failed with exit code 2 on nid005123 after 00:00:07"),
        ("202", "failed", "killed by signal 9 (SIGKILL) on nid005123 after 00:00:07"),
        ("203", "walltime", "it reached its walltime on nid[005123-005124] after 12:00:20"),
        ("204", "out-of-memory", "it used more memory than it may on nid005123 after 00:03:00"),
        ("205", "out-of-memory", "it used more memory than it may on nid[005123-005124] after 00:03:00"),
        ("206", "node-failure", "a node failed on nid[005123-005126] after 03:00:00"),
        ("207", "preempted", "a job of higher priority took its nodes on nid005123 after 00:30:00"),
        ("208", "cancelled", "it was cancelled by user 327000042 on nid005123 after 00:01:00"),
        ("209", "cancelled", "it was cancelled by user 0"),
        ("210", "running", "it runs on nid005123"),
        ("211", "pending", "it waits"),
        ("212", "node-failure", "its nodes did not boot on nid005123 after 00:05:00"),
        ("213", "cancelled", "Slurm gave it up at its deadline"),
        ("214", "complete", "it ended with exit code 0 on nid005124 after 00:20:00"),
        ("215", "unknown", "no state ON_FIRE is known"),
    ],
)
def test_sacct(recorded: Path, job: str, outcome: str, sentence: str) -> None:
    seen = sacct((recorded / "manual" / "sacct.txt").read_text())[job]
    assert (seen.outcome, seen.sentence) == (outcome, f"Slurm job {job}: {sentence}")


def test_columns_are_found_by_their_names() -> None:
    assert sacct("State|JobID\nTIMEOUT|7\n")["7"].outcome is Outcome.WALLTIME


def test_steps_and_lines_cut_off_are_no_jobs(recorded: Path) -> None:
    found = sacct((recorded / "manual" / "sacct.txt").read_text())
    assert all("." not in job for job in found)
    assert "216" not in found


@pytest.mark.parametrize("word", [*STATES, *(state.code for state in STATES.values() if state.code)])
def test_every_state_in_full_and_short(word: str) -> None:
    seen = squeue(f"7|{word}|None||0:00|2026-11-21T01:00:00")["7"]
    assert seen.state in STATES
    assert seen.sentence.startswith("Slurm job 7: ")
    assert seen.outcome is STATES[seen.state].outcome
    assert sacct(f"JobID|State\n7|{word}+\n")["7"].state == seen.state


def test_every_outcome_is_reached_and_only_a_failure_is_failed() -> None:
    assert {state.outcome for state in STATES.values()} == set(Outcome)
    assert [name for name, state in STATES.items() if state.outcome is Outcome.FAILED] == ["FAILED"]
    assert [o for o in Outcome if o.blameless] == [Outcome.NODE_FAILURE, Outcome.PREEMPTED]
    assert [o for o in Outcome if not o.ended] == [Outcome.RUNNING, Outcome.PENDING, Outcome.UNKNOWN]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "slurm_load_jobs error: Unable to contact slurm controller",
        "JobID|State",
        "7",
        "7|RUNNING",
        "|||||",
        "\x00",
    ],
)
def test_text_that_is_no_answer_is_unknown(text: str) -> None:
    seen = judge("7", text, text)
    assert seen.outcome is Outcome.UNKNOWN
    assert seen.sentence == "Slurm job 7: Slurm does not know it"


def test_a_host_that_cannot_be_asked_is_unknown() -> None:
    seen = judge("7", None, None)
    assert (seen.outcome, seen.sentence) == (Outcome.UNKNOWN, "Slurm job 7: the host could not be asked")


QUEUE = "7|{}|None|n1|1:00|2026-11-21T01:00:00"
ACCOUNTS = "JobID|State|Submit\n7|{}|2026-11-21T01:00:00"


@pytest.mark.parametrize(
    ("queue", "accounts", "outcome"),
    [
        ("RUNNING", "PENDING", Outcome.RUNNING),
        ("COMPLETING", "COMPLETED", Outcome.RUNNING),
        ("PENDING", "NODE_FAIL", Outcome.PENDING),
        ("COMPLETED", "RUNNING", Outcome.COMPLETE),
        ("FAILED", "OUT_OF_MEMORY", Outcome.OUT_OF_MEMORY),
        ("REVOKED", "COMPLETED", Outcome.COMPLETE),
        ("TIMEOUT", None, Outcome.WALLTIME),
        (None, "RUNNING", Outcome.RUNNING),
        (None, "TIMEOUT", Outcome.WALLTIME),
        ("", "TIMEOUT", Outcome.WALLTIME),
        ("", "RUNNING", Outcome.UNKNOWN),
    ],
)
def test_the_queue_is_ahead_of_the_accounts(
    queue: str | None, accounts: str | None, outcome: Outcome
) -> None:
    seen = judge(
        "7",
        QUEUE.format(queue) if queue else queue,
        None if accounts is None else ACCOUNTS.format(accounts),
    )
    assert seen.outcome is outcome


def test_an_older_job_with_the_same_number_is_another() -> None:
    text = ACCOUNTS.format("FAILED")
    assert judge("7", "", text, submitted="2026-11-21T01:00:00").outcome is Outcome.FAILED
    assert judge("7", "", text, submitted="2026-11-21T02:00:00").outcome is Outcome.UNKNOWN


def test_a_name_tells_a_job_from_another_with_its_number() -> None:
    queue = "7|RUNNING|None|n1|1:00|2026-11-21T01:00:00|mine"
    accounts = "JobID|State|Submit|JobName\n7|FAILED|2026-11-21T01:00:00|mine\n7.batch|FAILED||batch"
    # no clock matters then, whatever it says
    assert judge("7", queue, "", submitted="2027-01-01T00:00:00", name="mine").outcome is Outcome.RUNNING
    assert judge("7", "", accounts, submitted="2027-01-01T00:00:00", name="mine").outcome is Outcome.FAILED
    for text in (judge("7", queue, "", name="other"), judge("7", "", accounts, name="other")):
        assert (text.outcome, text.forgotten) == (Outcome.UNKNOWN, True)


def test_forgotten_is_not_the_same_as_not_asked() -> None:
    assert judge("7", "", "").forgotten
    assert judge("7", "", None).forgotten
    assert not judge("7", None, None).forgotten
    assert not judge("7", "", ACCOUNTS.format("RUNNING")).forgotten


def test_a_failure_without_details() -> None:
    assert Seen("7", "FAILED").sentence == "Slurm job 7: failed"
    assert Seen("7", "FAILED", reason="JobLaunchFailure").sentence == "Slurm job 7: failed (JobLaunchFailure)"
    assert Seen("7", "FAILED", signal=200).sentence == "Slurm job 7: killed by signal 200"


def test_a_job_is_stuck_only_while_it_waits() -> None:
    assert Seen("7", "PENDING", reason="InvalidQOS").stuck == STUCK["InvalidQOS"]
    assert Seen("7", "RUNNING", reason="InvalidQOS").stuck is None
    assert Seen("7", "PENDING", reason="Resources").stuck is None


@pytest.mark.parametrize(
    ("job", "outcome", "sentence"),
    [
        ("1", "complete", "it ended with exit code 0 on lumi-c[1-2] after 00:00:00"),
        ("3", "failed", "failed with exit code 3 on lumi-c1 after 00:00:00"),
        ("4", "failed", "killed by signal 9 (SIGKILL) on lumi-c1 after 00:00:00"),
        ("5", "walltime", "it reached its walltime on lumi-c1 after 00:01:01"),
        ("6", "node-failure", "a node failed on lumi-c2 after 00:00:53"),
        ("7", "cancelled", "it was cancelled by user 6101 on lumi-c1 after 00:00:06"),
        ("8", "pending", "it waits for ever: a person holds it"),
        ("11", "pending", "it waits (BeginTime)"),
        ("12", "pending", "it waits (PartitionDown)"),
        ("13", "failed", "failed (BadConstraints)"),
        ("14", "unknown", "Slurm does not know it"),
    ],
)
def test_a_real_cluster(recorded: Path, job: str, outcome: str, sentence: str) -> None:
    queue, accounts = ((recorded / "slurm-22.05" / f"{n}.txt").read_text() for n in ("squeue", "sacct"))
    seen = judge(job, queue, accounts)
    assert (seen.outcome, seen.sentence) == (outcome, f"Slurm job {job}: {sentence}")


def test_a_real_cluster_that_keeps_no_accounts(recorded: Path) -> None:
    queue = (recorded / "slurm-22.05" / "squeue.txt").read_text()
    found = {job: judge(job, queue, None).outcome.value for job in squeue(queue)}
    assert found == {
        "1": "complete",
        "2": "complete",
        "3": "failed",
        "4": "failed",
        "5": "walltime",
        "6": "node-failure",
        "7": "cancelled",
        "8": "pending",
        "10": "complete",
        "11": "pending",
        "12": "pending",
        "13": "failed",
    }


@pytest.mark.parametrize("module", [states, ranks, chain, sbatch, order])
def test_examples_in_the_documentation_are_true(module: ModuleType) -> None:
    done = doctest.testmod(module)
    assert done.attempted > 0
    assert done.failed == 0
