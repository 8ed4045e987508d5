"""``ml-suite hosts login``: the one thing a person has to do for a host."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

from ml_suite.cli.options import json_option, next_step, print_json

if TYPE_CHECKING:
    from ml_suite.hosts.askpass import Ask
    from ml_suite.hosts.credentials import State
    from ml_suite.hosts.reach import Reach


@click.command(
    epilog="""\b
Examples:
  ml-suite hosts login HOST
  pass otp HOST | ml-suite hosts login HOST --code-stdin"""
)
@click.argument("host")
@click.option("--user", help="Your name there (default: the host file's, then that of ~/.ssh/config).")
@click.option(
    "--code-stdin", is_flag=True, help="Read one-time codes from stdin, one a line for each connection."
)
@json_option
def login(host: str, user: str | None, code_stdin: bool, as_json: bool) -> None:
    """Open the connection to HOST, which all suites share; nothing happens if it is open."""
    from pathlib import Path

    from ml_suite.home import home
    from ml_suite.hosts import credentials, reach
    from ml_suite.hosts.host import load
    from ml_suite.watch import agent
    from ml_suite.watch.login import publish

    ways = reach.of(host, load(host, Path.cwd()), user)
    reach.save(ways)
    agent.remember(home())
    opened, states = [], {}
    for way in dict.fromkeys(ways):
        states[way] = state = credentials.login(way, _ask(way, code_stdin))
        opened.append({"endpoint": way.endpoint, **_fields(state)})
        if not as_json:
            # at once: the next endpoint may refuse, and this one stays open
            click.echo(_line(way, state))
    # tasks that wait for the host need not wait for the next look at it
    publish(host, states, home())
    if as_json:
        print_json(opened)
    else:
        next_step("ml-suite hosts check", host)


def _fields(state: State) -> dict[str, object]:
    return {"state": state.name, "minutes_left": state.minutes, "until": _until(state)}


def _until(state: State) -> str | None:
    if state.minutes is None:
        return None
    return f"{datetime.now().astimezone() + timedelta(minutes=state.minutes):%Y-%m-%d %H:%M %Z}"


def _line(way: Reach, state: State) -> str:
    if way.here:
        return f"{way.host} is this machine: no login is needed"
    end = _until(state)
    text = f"{way.host}: the {way.endpoint} connection is open" + (f" until {end}" if end else "")
    return f"{text} ({state.reason}; {state.hint})" if state.reason else text


def _ask(way: Reach, code_stdin: bool) -> Ask:
    """Who answers ssh: a person at the terminal, or lines of stdin for codes only."""

    def from_stdin(question: str) -> str | None:
        if not way.wants_code(question):
            click.echo(f"{way.host} asks what --code-stdin does not answer: {question.strip()}", err=True)
            return None
        code = sys.stdin.readline().strip()
        if not code:
            click.echo(f"stdin has no code for the {way.endpoint} connection of {way.host}", err=True)
        return code or None

    def from_terminal(question: str) -> str | None:
        if not sys.stdin.isatty():
            click.echo(f"{way.host} asks, and there is no terminal: {question.strip()}", err=True)
            return None
        shown = "yes/no" in question
        answer = click.prompt(
            question.rstrip(": ?"), prompt_suffix="? " if shown else ": ", hide_input=not shown, err=True
        )
        return str(answer).strip() if shown or way.auth == "totp" else str(answer)

    return from_stdin if code_stdin else from_terminal
