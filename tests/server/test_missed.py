"""What the server's log tells of the moment of a replace."""

from __future__ import annotations

from ml_suite.server.definition import Definition, parse
from ml_suite.server.missed import Message, between, unsaid

LOG = """MSG:[03:17:06 21.11.2026] chd:meter m 1 /s/f/t
MSG:[03:17:07 21.11.2026] --msg=ml-suite deploy s 4711 :me@here
MSG:[03:17:07 21.11.2026] --sync=0 61 5 :me@here
MSG:[03:17:07 21.11.2026] chd:init /s/f/t
LOG:[03:17:07 21.11.2026]  active: /s/f/t
LOG:[03:17:07 21.11.2026]  active: /s/f
MSG:[03:17:07 21.11.2026] chd:meter m 42 /s/f/t
MSG:[03:17:07 21.11.2026] chd:label info 'it's 3 GB' /s/f/t
MSG:[03:17:07 21.11.2026] chd:label info 'two
MSG:[03:17:07 21.11.2026]  lines' /s/f/t
MSG:[03:17:07 21.11.2026] chd:event e 1 /s/f/t
MSG:[03:17:07 21.11.2026] chd:complete /s/f/zombie
LOG:[03:17:07 21.11.2026]  aborted: /s/f/u try-no: 1 reason: out of memory: 3 GB
LOG:[03:17:07 21.11.2026]  complete: /other/t
LOG:[03:17:07 21.11.2026]  complete: /s2/t
MSG:[03:17:08 21.11.2026] --replace=/s /tmp/a.def parent force :me@here
LOG:[03:17:08 21.11.2026]  complete: /s/f/t
"""


def read(**states: str) -> Definition:
    """A suite with these tasks and states."""
    tasks = "".join(f"    task {name} # state:{state}\n" for name, state in states.items())
    text = f"suite s # begun:1\n  family f # state:active\n{tasks}  endfamily\nendsuite\n"
    return parse("\n".join(line.partition(" # ")[0] for line in text.splitlines()), text)


def test_only_messages_of_the_suite_between_the_marks_are_taken() -> None:
    found = between(LOG.splitlines(), "ml-suite deploy s 4711", "s")
    assert found is not None
    assert [m for m in found if m.path != "/s/f"] == [
        Message("/s/f/t", "active"),
        Message("/s/f/t", "meter", "m", "42"),
        Message("/s/f/t", "label", "info", "it's 3 GB"),
        Message("/s/f/t", "event", "e", "1"),
        Message("/s/f/u", "aborted", value="out of memory: 3 GB"),
    ]


def test_a_log_that_does_not_reach_back_is_told_apart_from_silence() -> None:
    assert between(LOG.splitlines(), "ml-suite deploy s 4712", "s") is None
    assert between([LOG.splitlines()[1], LOG.splitlines()[-2]], "4711", "s") == []


def test_messages_that_were_read_already_are_not_repeated() -> None:
    active, complete = Message("/s/f/t", "active"), Message("/s/f/t", "complete")
    queued = Message("/s/f/t", "queued")
    assert unsaid([active, complete], read(t="submitted")) == [active, complete]
    assert unsaid([active, complete], read(t="active")) == [complete]
    assert unsaid([active, complete], read(t="complete")) == []
    # the family repeats: its tasks are queued again by the server itself
    assert unsaid([active, complete, queued], read(t="queued")) == []
    assert unsaid([complete, queued], read(t="active")) == [complete]


def test_messages_of_tasks_that_are_gone_are_left_out() -> None:
    meter = Message("/s/f/t", "meter", "m", "3")
    assert unsaid([meter, Message("/s/f/gone", "complete"), Message("/s/f", "active")], read(t="active")) == [
        meter
    ]
