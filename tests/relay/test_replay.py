"""Order, gaps, coalescing, verdicts and the cursor: pure parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml_suite.relay.cursor import Cursor
from ml_suite.relay.replay import Known, after, coalesce, due, judge
from ml_suite.relay.spool import LONGEST_FILE, Message, Refused, parse, split

KEY = "s.t.1.1795236596-77"


def message(number: int, verb: str, *arguments: str, try_number: int = 1) -> Message:
    return Message(f"{KEY}.{number:09d}", KEY, number, "/s/t", "pw", try_number, "7", verb, arguments)


def known(state: str = "active", try_number: int = 1, password: str = "pw", pid: str = "7") -> Known:
    return Known(state, try_number, password, pid, {"m": 3}, {"l": "a b"}, {"e": True})


COMMANDS = st.one_of(
    st.tuples(st.just("meter"), st.sampled_from("ab"), st.integers(0, 9).map(str)),
    st.tuples(st.just("label"), st.sampled_from("ab"), st.text("xyz", min_size=1, max_size=2)),
    st.tuples(st.just("event"), st.sampled_from("ab"), st.sampled_from(["set", "clear"])),
)


def values(messages: list[Message]) -> list[dict[tuple[str, str], str]]:
    """What a trigger could see whenever an event changes, and at the end."""
    seen: dict[tuple[str, str], str] = {}
    looks = []
    for m in messages:
        if m.verb == "event":
            looks.append(dict(seen))
        seen[m.verb, m.arguments[0]] = m.arguments[1]
    return [*looks, seen]


@given(st.lists(COMMANDS, max_size=40))
def test_coalescing_changes_nothing_that_a_trigger_can_see(commands: list[tuple[str, str, str]]) -> None:
    messages = [message(n, *command) for n, command in enumerate(commands, 1)]
    steps = coalesce(messages)
    assert values([s.message for s in steps]) == values(messages)
    assert sorted(n for s in steps for n in s.numbers) == [m.number for m in messages], "each is covered once"
    kept = [s.message for s in steps if s.message.verb == "event"]
    assert kept == [m for m in messages if m.verb == "event"]


def test_messages_of_two_tries_are_not_coalesced() -> None:
    first, second = message(1, "meter", "m", "1"), message(2, "meter", "m", "2", try_number=2)
    assert [s.message for s in coalesce([first, second])] == [first, second]


def test_commands_behind_a_gap_wait() -> None:
    found = [message(n, "event", "e") for n in (7, 5, 3, 4)]
    assert [m.number for m in due(found, 3)] == [3, 4, 5]
    assert [m.number for m in due(found, 2)] == []
    assert [m.number for m in due([message(2, "complete"), *found], 6)] == [2, 3, 4, 5], (
        "late ones come first"
    )


@pytest.mark.parametrize(
    ("m", "task", "doubtful", "fate"),
    [
        (message(1, "init", "7"), known("submitted", pid=""), True, "say"),
        (message(1, "init", "7"), known("active"), True, "done"),
        (message(1, "init", "7"), known("active", pid="8"), True, "park"),
        (message(1, "meter", "m", "4"), known("active", pid="8"), False, "drop"),
        (message(1, "meter", "m", "3"), known(), True, "done"),
        (message(1, "meter", "m", "3"), known(), False, "say"),
        (message(1, "label", "l", "a", "b"), known(), True, "done"),
        (message(1, "label", "l", "c"), known(), True, "say"),
        (message(1, "event", "e"), known(), True, "done"),
        (message(1, "event", "e", "clear"), known(), True, "say"),
        (message(1, "complete"), known(), True, "say"),
        (message(1, "complete"), known("complete"), True, "done"),
        (message(1, "abort", "x"), known("aborted"), True, "done"),
        (message(1, "complete"), known("aborted"), True, "park"),
        (message(1, "init", "7"), known("complete"), True, "park"),
        (message(1, "label", "l", "c"), known("complete"), False, "drop"),
        (message(1, "complete"), known("active", try_number=2), True, "drop"),
        (message(1, "complete"), known("submitted", password="other"), True, "drop"),
        (message(1, "complete"), None, True, "park"),
    ],
)
def test_verdicts(m: Message, task: Known | None, doubtful: bool, fate: str) -> None:
    assert judge(m, task, doubtful)[0] == fate


def test_the_task_follows_what_was_said() -> None:
    task = after(message(1, "init", "7"), known("submitted", pid=""))
    assert (task.state, task.pid) == ("active", "7")
    assert after(message(2, "complete"), task).state == "complete"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 12)), max_size=40), st.data())
def test_cursor_forgets_no_mark_wherever_it_is_cut_off(
    tmp_path_factory: pytest.TempPathFactory, marks: list[tuple[str, int]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cursor") / "cursor"
    cursor = Cursor(path)
    for key, number in marks:
        cursor.mark(key, [number])
    cursor.close()
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    whole = content[:cut].count(b"\n")
    again = Cursor(path)
    expected = set(marks[:whole])
    assert {(k, n) for k in "ab" for n in range(1, 13) if again.done(k, n)} == expected
    again.close()
    third = Cursor(path)
    assert {(k, n) for k in "ab" for n in range(1, 13) if third.done(k, n)} == expected
    third.close()


def test_cursor_stays_small(tmp_path: Path) -> None:
    cursor = Cursor(tmp_path / "cursor")
    for number in range(1, 25_001):
        cursor.mark("k", [number])
    cursor.sync()
    assert (tmp_path / "cursor").stat().st_size < 100
    assert (tmp_path / "cursor").stat().st_mode & 0o777 == 0o600
    cursor.mark("k", [25_001])
    cursor.close()
    assert Cursor(tmp_path / "cursor").next("k") == 25_002


@given(st.binary(max_size=300) | st.text(max_size=100).map(str.encode))
def test_any_other_content_is_refused_and_nothing_else_happens(content: bytes) -> None:
    with pytest.raises(Refused):
        parse(f"{KEY}.000000001", content)


def encoded(*fields: str) -> bytes:
    return "".join(f"{each}\0" for each in ("ml-suite spool 1", *fields)).encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (encoded("/s/t", "p", "1", "7", "meter", "2", "m", "1e3", "end"), "whole number"),
        (encoded("/s/t", "p", "1", "7", "meter", "2", "m", "9999999999", "end"), "whole number"),
        (encoded("/s/../t", "p", "1", "7", "complete", "0", "end"), "no path"),
        (encoded("/s/t", "p", "x", "7", "complete", "0", "end"), "ECF_TRYNO"),
        (encoded("/s/t", "p", "1", "7", "delete", "0", "end"), "no child command"),
        (encoded("/s/t", "p", "1", "7", "label", "2", "a b", "x", "end"), "no name"),
        (encoded("/s/t", "p", "1", "7", "complete", "1", "end"), "announces"),
        (encoded("/s/t", "p", "1", "7", "complete", "0", "en"), "cut off"),
        (encoded("/s/t", "p", "1", "7", "abort", "1", "x" * LONGEST_FILE, "end"), "bytes"),
    ],
)
def test_hostile_values_are_refused(content: bytes, words: str) -> None:
    with pytest.raises(Refused, match=words):
        parse(f"{KEY}.000000001", content)


@pytest.mark.parametrize(
    "name",
    ["../x.000000001", "-rf.000000001", "a/b.000000001", "x.1", "x.000000001\n", "é.000000001", "." * 9],
)
def test_hostile_names_are_refused(name: str) -> None:
    assert split(name) is None
    with pytest.raises(Refused):
        parse(name, encoded("/s/t", "p", "1", "7", "complete", "0", "end"))


def test_a_password_is_in_no_message() -> None:
    secret = Message("n", KEY, 1, "/s/t", "secret", 1, "7", "complete")
    assert "secret" not in repr(secret) + str(secret) + repr(Known("active", 1, "secret", "7"))
