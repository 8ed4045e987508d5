"""What becomes of a job: every state of Slurm, every word of a job, every answer of the server, and silence."""

from __future__ import annotations

import doctest
import itertools
from dataclasses import replace

import pytest

from ml_suite.hosts import deputy, look, standing, verdict
from ml_suite.hosts.states import FORGOTTEN, STATES, STUCK, Outcome, Seen
from ml_suite.hosts.verdict import (
    RESUBMISSIONS,
    Accounts,
    Act,
    Evidence,
    Memory,
    Standing,
    decide,
    decide_unsubmitted,
)

ONCE = Memory().look("x", 0)
TWICE = ONCE.look("x", 60)
LONG = Memory("x", 20, 1200, 1200)
"""Nothing changed for twenty minutes."""

ENDED = sorted(name for name, s in STATES.items() if s.outcome.ended)
ALIVE = sorted(name for name, s in STATES.items() if s.outcome in (Outcome.RUNNING, Outcome.PENDING))
BLAMELESS = sorted(name for name, s in STATES.items() if s.outcome.blameless)
NOWHERE = Seen("7", "", reason=FORGOTTEN)
"""squeue answered and does not know it, nor do the accounts."""
UNASKED = Seen("7", "", reason="the host could not be asked")
CONTRADICTED = Seen("7", "", reason="squeue does not know it and sacct says RUNNING")


def link(state: str, job: str = "7", **more: object) -> Seen:
    return replace(Seen(job, state, nodes="n1"), **more)  # type: ignore[arg-type]


def evidence(*links: Seen, **more: object) -> Evidence:
    usual = Evidence(
        links=links,
        queue=True,
        accounts=Accounts.ANSWERED,
        files=True,
        folder=True,
        word="",
        said=False,
        fresh=False,
        began=True,
        last_began=True,
        stopped=False,
        last_words="",
        standing=Standing.BUSY,
    )
    return replace(usual, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("memory", [ONCE, TWICE, LONG])
@pytest.mark.parametrize("state", ALIVE)
@pytest.mark.parametrize("word", ["", "again"])
@pytest.mark.parametrize("where", [Standing.BUSY, Standing.ENDED, Standing.UNKNOWN])
def test_a_job_that_runs_or_waits_is_left_alone(
    memory: Memory, state: str, word: str, where: Standing
) -> None:
    told = decide(evidence(link(state), word=word, standing=where), memory)
    assert (told.act, told.cancel) == (Act.WAIT, ())


@pytest.mark.parametrize("reason", sorted(STUCK))
def test_a_job_that_waits_for_ever_is_told_and_not_aborted(reason: str) -> None:
    told = decide(evidence(link("PENDING", reason=reason)), LONG)
    assert told.act is Act.WAIT
    assert STUCK[reason] in told.why
    chain = evidence(link("RUNNING"), link("PENDING", "8", reason=reason))
    assert decide(chain, LONG).why == "", "the job before it runs: it waits for that"


@pytest.mark.parametrize("state", ENDED)
def test_a_job_that_ended_without_a_word(state: str) -> None:
    e = evidence(link(state))
    assert decide(e, ONCE).act is Act.WAIT, "a login node may see its last files late"
    told = decide(e, TWICE)
    if state in BLAMELESS:
        assert (told.act, told.why) == (Act.RESUBMIT, link(state).sentence)
    else:
        assert told.act is Act.SAY
        assert told.word.startswith(f"abort {link(state).sentence}")
        assert ("without telling ecFlow" in told.word) is (state == "COMPLETED")


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize(
    "more",
    [
        {"standing": Standing.UNKNOWN},
        {"files": False},
        {"behind": True},
        {"folder": False},
    ],
)
def test_nothing_is_said_for_an_ended_job_while_something_is_unknown(
    state: str, more: dict[str, object]
) -> None:
    told = decide(evidence(link(state), **more), TWICE)
    assert told.act is Act.WAIT


def test_reasons_are_those_of_slurm_with_the_last_words() -> None:
    def word(seen: Seen) -> str:
        return decide(evidence(seen, last_words="step 12 of 40"), TWICE).word

    assert (
        word(link("TIMEOUT", elapsed="12:00:10"))
        == "abort Slurm job 7: it reached its walltime on n1 after 12:00:10, last words: step 12 of 40"
    )
    assert "used more memory than it may" in word(link("FAILED", code=1, steps=("OUT_OF_MEMORY",)))
    assert word(link("CANCELLED", by="1042")) == "abort Slurm job 7: it was cancelled by user 1042 on n1"
    assert "failed with exit code 3" in word(link("FAILED", code=3))


def test_a_job_that_was_told_to_end_leaves_it_to_slurm_to_say_why() -> None:
    def told(seen: Seen) -> verdict.Verdict:
        return decide(evidence(seen, word="stopped by TERM", last_words="step 12"), TWICE)

    assert told(link("PREEMPTED")).act is Act.RESUBMIT
    assert told(link("CANCELLED", by="1042")).word.endswith("it was cancelled by user 1042 on n1")
    assert told(link("FAILED", code=143)).word.endswith("exit code 143 on n1, last words: stopped by TERM")


@pytest.mark.parametrize("state", BLAMELESS)
def test_the_machine_may_end_a_job_five_times(state: str) -> None:
    for count in range(RESUBMISSIONS):
        assert decide(evidence(link(state), resubmissions=count), TWICE).act is Act.RESUBMIT
    links = tuple(link(state, str(n)) for n in range(1, 7))
    told = decide(evidence(*links, resubmissions=RESUBMISSIONS), TWICE)
    assert told.act is Act.SAY
    assert told.word.endswith("submitted again 5 times: " + ", ".join(f"{n} {state}" for n in range(1, 7)))


@pytest.mark.parametrize("state", BLAMELESS)
def test_what_a_person_stopped_is_not_submitted_again(state: str) -> None:
    told = decide(evidence(link(state), stopped=True), TWICE)
    assert (told.act, told.word.startswith("abort stopped from ecFlow")) == (Act.SAY, True)


@pytest.mark.parametrize("state", BLAMELESS)
def test_without_its_folder_a_job_is_not_submitted_again(state: str) -> None:
    told = decide(evidence(link(state), folder=False), LONG)
    assert told.act is Act.SAY
    assert "its folder is gone" in told.word


FINAL = ["complete", "abort", "abort out of tune"]


@pytest.mark.parametrize("word", FINAL)
@pytest.mark.parametrize("said", [True, False])
@pytest.mark.parametrize("state", ALIVE)
def test_a_job_that_said_its_word_is_let_end(word: str, said: bool, state: str) -> None:
    told = decide(evidence(link(state), word=word, said=said), LONG)
    if STATES[state].outcome is Outcome.PENDING:
        assert (told.act, told.cancel) == (Act.SAY, ("7",)), "a later job of its chain has nothing to do"
    else:
        assert told.act is (Act.SAY if state == "COMPLETING" else Act.WAIT)


@pytest.mark.parametrize("word", FINAL)
@pytest.mark.parametrize("state", ENDED)
def test_the_word_of_a_job_counts_more_than_how_slurm_saw_it_end(word: str, state: str) -> None:
    e = evidence(link(state), word=word)
    assert decide(e, ONCE) == verdict.Verdict(Act.SAY, "it could not say how it ended", word)
    assert decide(replace(e, behind=True), LONG).act is Act.WAIT
    assert decide(replace(e, standing=Standing.UNKNOWN), LONG).act is Act.WAIT
    done = replace(e, standing=Standing.ENDED)
    assert [decide(done, m).act for m in (ONCE, TWICE, LONG)] == [Act.WAIT, Act.WAIT, Act.CLOSE]


@pytest.mark.parametrize("word", FINAL)
def test_a_server_that_forgot_is_reminded_after_two_minutes(word: str) -> None:
    e = evidence(link("COMPLETED"), word=word, said=True)
    assert [decide(e, m).act for m in (ONCE, TWICE)] == [Act.WAIT, Act.WAIT]
    told = decide(e, TWICE.look("x", 120))
    assert (told.act, told.word, told.why) == (Act.SAY, word, "the server has forgotten what it said")
    assert decide(replace(e, behind=True), LONG).act is Act.WAIT


def test_a_word_of_a_job_that_slurm_cannot_be_asked_about_waits_longer() -> None:
    e = evidence(UNASKED, queue=False, word="complete")
    assert decide(e, Memory("x", 10, 600, 0)).act is Act.WAIT, "it may still be trying itself"
    assert decide(e, LONG).act is Act.SAY


@pytest.mark.parametrize("memory", [ONCE, TWICE, LONG])
@pytest.mark.parametrize(
    ("seen", "more"),
    [
        (UNASKED, {"queue": False}),
        (NOWHERE, {"queue": False}),
        (CONTRADICTED, {}),
        (NOWHERE, {"accounts": Accounts.FAILED}),
        (NOWHERE, {"files": False}),
        (NOWHERE, {"standing": Standing.UNKNOWN}),
        (NOWHERE, {"behind": True}),
        (Seen("7", "ON_FIRE"), {}),
        (Seen("7", "REVOKED"), {}),
    ],
)
def test_unknown_is_not_failed(memory: Memory, seen: Seen, more: dict[str, object]) -> None:
    for word, began in itertools.product(("", "again"), (True, False)):
        e = evidence(seen, word=word, last_began=began, began=began, **more)
        assert decide(e, memory).act is Act.WAIT


@pytest.mark.parametrize("accounts", [Accounts.ANSWERED, Accounts.NONE])
def test_a_job_that_nobody_knows_vanishes_after_ten_minutes_in_three_looks(accounts: Accounts) -> None:
    e = evidence(NOWHERE, accounts=accounts)
    young = [Memory("x", 2, 1200, 0), Memory("x", 30, 599, 0)]
    assert [decide(e, m).act for m in young] == [Act.WAIT, Act.WAIT]
    told = decide(e, Memory("x", 3, 600, 0))
    assert (told.act, told.word) == (
        Act.SAY,
        "abort vanished: Slurm job 7: Slurm does not know it, and it left no word",
    )


def test_a_job_that_vanished_before_it_began_is_submitted_again() -> None:
    e = evidence(NOWHERE, began=False, last_began=False)
    assert decide(e, LONG).act is Act.RESUBMIT
    assert decide(replace(e, resubmissions=RESUBMISSIONS), LONG).act is Act.SAY
    assert decide(replace(e, folder=False), LONG).act is Act.SAY
    assert decide(replace(e, stopped=True), LONG).word == "abort stopped from ecFlow"
    assert decide(replace(e, standing=Standing.ENDED), LONG).act is Act.CLOSE
    # the first of a chain began and left no word: whoever took the second away knows more than we
    assert decide(replace(e, began=True), LONG).act is Act.SAY
    assert decide(replace(e, began=True, resubmissions=1), LONG).act is Act.RESUBMIT


def test_a_chain_goes_on() -> None:
    again = link("FAILED", code=75)
    assert decide(evidence(again, link("PENDING", "8"), word="again"), LONG).act is Act.WAIT
    missing = decide(evidence(again, word="again", fresh=True), TWICE)
    assert (missing.act, missing.why) == (Act.RESUBMIT, "the next job of its chain is missing")
    lost = evidence(again, replace(NOWHERE, job="8"), word="again", last_began=False)
    assert [decide(lost, m).act for m in (TWICE, LONG)] == [Act.WAIT, Act.RESUBMIT]
    # without accounts there is no exit code: the age of the word tells whose it is
    silent = evidence(link("FAILED"), word="again", fresh=True)
    assert decide(silent, TWICE).act is Act.RESUBMIT
    assert decide(replace(silent, fresh=False), TWICE).act is Act.SAY
    forgotten = evidence(NOWHERE, word="again", fresh=True)
    assert decide(forgotten, LONG).act is Act.RESUBMIT


def test_the_last_job_of_a_chain_decides() -> None:
    e = evidence(link("FAILED", code=75), link("TIMEOUT", "8"), word="again")
    assert "Slurm job 8: it reached its walltime" in decide(e, TWICE).word
    node = evidence(link("NODE_FAIL"), link("RUNNING", "8"))
    assert decide(node, LONG).act is Act.WAIT
    # sites without accounts forget the earlier ones first
    early = evidence(NOWHERE, link("NODE_FAIL", "8"))
    assert decide(early, TWICE).act is Act.RESUBMIT
    assert decide(replace(early, queue=False), LONG).act is Act.WAIT


def test_jobs_of_a_chain_that_slurm_took_back_do_not_decide() -> None:
    unused = Seen("8", "CANCELLED", by="0")
    told = decide(evidence(link("COMPLETED"), unused), TWICE)
    assert told.word == "abort Slurm job 7: it ended with exit code 0 on n1 without telling ecFlow"
    cancelled = decide(evidence(link("FAILED", code=75), unused, word="again"), TWICE)
    assert "Slurm job 8: it was cancelled by user 0" in cancelled.word


@pytest.mark.parametrize(
    ("where", "least"),
    [
        (Standing.ANOTHER, ONCE),
        (Standing.QUEUED, TWICE),
        (Standing.GONE, Memory("x", 3, 600, 0)),
    ],
)
@pytest.mark.parametrize("word", ["", "again", "complete", "abort x"])
@pytest.mark.parametrize("state", [*ALIVE, *ENDED])
def test_a_superseded_job_is_cancelled_and_closed_but_never_said(
    where: Standing, least: Memory, word: str, state: str
) -> None:
    e = evidence(link(state), word=word, standing=where)
    told = decide(e, least)
    assert (told.act, told.cancel) == ((Act.WAIT, ("7",)) if state in ALIVE else (Act.CLOSE, ()))
    if where is not Standing.ANOTHER:
        early = decide(e, ONCE)
        assert (early.act, early.cancel) == (Act.WAIT, ()), "a suite may be on its way back"


@pytest.mark.parametrize("where", [Standing.ANOTHER, Standing.QUEUED, Standing.GONE])
def test_a_superseded_job_stays_on_record_until_it_is_known_not_to_run(where: Standing) -> None:
    assert decide(evidence(UNASKED, queue=False, standing=where), LONG).act is Act.WAIT
    assert decide(evidence(Seen("7", "ON_FIRE"), standing=where), LONG).act is Act.WAIT
    assert decide(evidence(NOWHERE, standing=where), LONG).act is Act.CLOSE


@pytest.mark.parametrize("where", [Standing.BUSY, Standing.UNKNOWN, Standing.ENDED])
@pytest.mark.parametrize("state", ALIVE)
def test_nothing_is_cancelled_unless_the_server_says_so(where: Standing, state: str) -> None:
    assert decide(evidence(link(state), standing=where), LONG).cancel == ()


@pytest.mark.parametrize("state", ENDED)
def test_an_operator_who_set_the_task_has_the_last_word(state: str) -> None:
    e = evidence(link(state), standing=Standing.ENDED)
    assert [decide(e, m).act for m in (TWICE, LONG)] == [Act.WAIT, Act.CLOSE]


def test_a_submission_whose_process_died() -> None:
    e = evidence()
    assert decide_unsubmitted(e, ONCE, sent=False).act is Act.RESUME
    assert decide_unsubmitted(e, ONCE, sent=True).act is Act.RESUME
    waits = replace(e, standing=Standing.UNKNOWN)
    assert decide_unsubmitted(waits, LONG, sent=True).act is Act.WAIT
    gone = replace(e, standing=Standing.ANOTHER)
    assert decide_unsubmitted(gone, ONCE, sent=False).act is Act.CLOSE
    assert decide_unsubmitted(gone, ONCE, sent=True).act is Act.WAIT, "sbatch may be at work"
    assert decide_unsubmitted(gone, TWICE, sent=True).act is Act.CLOSE
    there = replace(gone, links=(link("PENDING"),))
    assert decide_unsubmitted(there, TWICE, sent=True).cancel == ("7",)
    given_up = replace(e, standing=Standing.ENDED)
    assert decide_unsubmitted(given_up, LONG, sent=True).act is Act.CLOSE


def test_a_job_without_a_slurm_job_waits() -> None:
    assert decide(evidence(), LONG).act is Act.WAIT


def test_looks_that_failed_and_clocks_that_jump_prove_nothing() -> None:
    memory = Memory().look("x", 1000).look("x", 1000 + 86400).look("x", 500)
    assert (memory.looks, memory.held) == (3, 120)
    assert memory.look("y", 600).held == 0
    kept = replace(memory, told="stuck", brought="f").look("y", 600)
    assert (kept.told, kept.brought) == ("stuck", "f")


def test_silence_is_broken_by_any_change_but_not_by_the_output_of_a_job_that_runs() -> None:
    def seen(*links: Seen, **more: object) -> str:
        return evidence(*links, **more).seen

    over = link("TIMEOUT")
    base = seen(over, print_of_files="1")
    changes = [
        seen(over, print_of_files="2"),
        seen(over, print_of_files="1", word="again"),
        seen(over, print_of_files="1", said=True),
        seen(over, print_of_files="1", standing=Standing.ENDED),
        seen(over, print_of_files="1", queue=False),
        seen(link("FAILED"), print_of_files="1"),
        seen(over, over, print_of_files="1"),
    ]
    assert base not in changes
    running = link("RUNNING")
    assert seen(running, print_of_files="1") == seen(running, print_of_files="2")


@pytest.mark.parametrize("module", [verdict, look, standing, deputy])
def test_examples_in_the_documentation_are_true(module: object) -> None:
    done = doctest.testmod(module)  # type: ignore[arg-type]
    assert done.attempted > 0
    assert done.failed == 0


@pytest.mark.parametrize(
    ("reason", "output", "words"),
    [
        ("out of tune", "a\nb\n", "out of tune"),
        ("", "", ""),
        ("", "a\n\x1b[31mred\x1b[0m\n\n", "[31mred [0m"),
        ("", "curl -H token=abc", "curl -H token=***"),
        ("", "password is pw17", "password is ***"),
        ("", "KeyError: 'temperature'", "KeyError: 'temperature'"),
        ("", "x" * 500, "x" * 117 + "..."),
    ],
)
def test_last_words_fit_on_a_line_and_keep_secrets(reason: str, output: str, words: str) -> None:
    assert deputy.last_words(reason, output, ("pw17",)) == words
