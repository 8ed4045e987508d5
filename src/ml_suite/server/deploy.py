"""From a built suite to the server: compare, write scripts, replace, commit.

::

    HOME/suites/SUITE/             git work tree of deployed files, and SUITE.def as deployed last
    HOME/suites/.SUITE.lock        held during a deploy
    HOME/suites/.SUITE.suspended   the suite is suspended because of a deploy
    HOME/backups/                  states before each replace, mode 0600
"""

from __future__ import annotations

import fcntl
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite import atomic
from ml_suite.errors import MlSuiteError
from ml_suite.server import show
from ml_suite.server.apply import Applied, Keep, Wanted, apply
from ml_suite.server.client import Server, definition
from ml_suite.server.definition import Definition, parse
from ml_suite.server.files import FileChanges, Tree, person
from ml_suite.server.plan import Plan, plan

if TYPE_CHECKING:
    import ecflow


@dataclass(frozen=True)
class Places:
    """Paths of one deployed suite."""

    home: Path
    suite: str
    """As the deployment names it; the node on the server has underscores for hyphens."""

    @property
    def tree(self) -> Path:
        """Git work tree of the deployed files."""
        return self.home / "suites" / self.suite

    @property
    def definition(self) -> str:
        """The definition as deployed last, relative to the tree."""
        return f"{self.suite}.def"

    @property
    def lock(self) -> Path:
        """Held during a deploy."""
        return self.tree.with_name(f".{self.suite}.lock")

    @property
    def keep(self) -> Keep:
        """Backups and the mark of an unfinished deploy."""
        return Keep(self.home / "backups", self.tree.with_name(f".{self.suite}.suspended"))


@dataclass(frozen=True)
class Prepared:
    """A deploy that has been compared with what runs and can be carried out."""

    server: Server
    places: Places
    wanted: Wanted
    files: Mapping[str, str]
    plan: Plan
    file_changes: FileChanges

    @property
    def empty(self) -> bool:
        """Nothing to do."""
        return self.plan.empty and self.file_changes.empty and not self.places.keep.mark.exists()


@dataclass(frozen=True)
class Deployed:
    """What was done."""

    applied: Applied
    file_changes: FileChanges
    commit: str
    stat: str
    """What the commit changed, for a person."""


def prepare(
    server: Server,
    home: Path,
    defs: ecflow.Defs,
    suite: str,
    files: Mapping[str, str],
    overrule: bool = False,
) -> Prepared:
    """Compare a suite and its files with what is deployed; changes nothing.

    Parameters
    ----------
    home
        Folder below which files are deployed.
    suite
        As the deployment names it.
    files
        Contents by path relative to the suite's work tree.
    overrule
        The deployment wins over what an operator changed.
    """
    places = Places(home, suite)
    wanted = Wanted(defs, definition(defs), _base(places, server), overrule)
    running = server.fetch(wanted.definition.suite.name)
    made = plan(wanted.definition, running, wanted.base, overrule)
    tree = Tree(places.tree)
    complete = {**files, places.definition: _definition_text(wanted, server)}
    changes = tree.compare(complete)
    return Prepared(server, places, wanted, files, made, _without(changes, places.definition))


def carry_out(prepared: Prepared, facts: Mapping[str, str], suspended: bool = False) -> Deployed:
    """Apply a prepared deploy and commit its files.

    Parameters
    ----------
    facts
        Lines for the end of the commit message, ``Deployment: suites/demo/deployment.yaml``.

    Raises
    ------
    MlSuiteError
        As `ml_suite.server.apply.apply` says, or if another deploy of this suite runs.
    """
    places, tree = prepared.places, Tree(prepared.places.tree)
    name = places.definition
    with _alone(places):
        kept: dict[str, str] = {}
        if (places.tree / name).exists():
            # the base of the next comparison is what was applied, so it is written when that is so
            kept[name] = (places.tree / name).read_text()
        before = {**prepared.files, **kept}

        def write() -> FileChanges:
            return tree.write(before)

        if prepared.plan.empty:
            applied = Applied(prepared.plan)
            write()
            _settle(prepared, suspended)
        else:
            applied = apply(prepared.server, prepared.wanted, prepared.plan, places.keep, write, suspended)
        text = _definition_text(prepared.wanted, prepared.server)
        atomic.write(places.tree / name, text)
        commit = tree.commit_deploy({**prepared.files, name: text}, _message(prepared, facts))
    return Deployed(applied, prepared.file_changes, commit, tree.stat(commit))


def _settle(prepared: Prepared, suspended: bool) -> None:
    """Suspend as asked, or resume what an earlier deploy that was killed left suspended."""
    path, mark = prepared.wanted.definition.suite.path, prepared.places.keep.mark
    if suspended:
        prepared.server.suspend(path)
    elif mark.exists():
        prepared.server.resume(path)
    mark.unlink(missing_ok=True)


def _base(places: Places, server: Server) -> Definition | None:
    """Read the definition as deployed last to this server."""
    try:
        text = (places.tree / places.definition).read_text()
        return parse(text) if text.startswith(_first_line(server)) else None
    except (OSError, ValueError):
        return None


def _definition_text(wanted: Wanted, server: Server) -> str:
    lines = [_first_line(server), *wanted.definition.externs]
    for node in wanted.definition.nodes.values():
        lines += [f"{'  ' * node.depth}{node.kind} {node.name}", node.structure.rstrip("\n")]
    return "\n".join(line for line in lines if line) + "\n"


def _first_line(server: Server) -> str:
    return f"# deployed to {server.address.identity}"


def _without(changes: FileChanges, name: str) -> FileChanges:
    """Leave out the definition, which the plan shows better."""

    def others(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(n for n in names if n != name)

    same = changes.unchanged - (name not in changes.added + changes.changed)
    return replace(
        changes,
        added=others(changes.added),
        changed=others(changes.changed),
        unchanged=same,
        by_hand=others(changes.by_hand),
    )


def _message(prepared: Prepared, facts: Mapping[str, str]) -> str:
    made = prepared.plan
    title = f"Deploy {made.suite}: {show.summary(made, prepared.file_changes)}"
    who = {"Deployed-By": f"{person()}@{socket.gethostname()}", "Server": str(prepared.server.address)}
    trailers = "\n".join(f"{key}: {value}" for key, value in {**who, **facts}.items())
    body = "\n".join(map(str, show.lines(made, prepared.file_changes)[:200]))
    return f"{title}\n\n{body}\n\n{trailers}\n" if body else f"{title}\n\n{trailers}\n"


@contextmanager
def _alone(places: Places) -> Iterator[None]:
    places.lock.parent.mkdir(parents=True, exist_ok=True)
    with places.lock.open("a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MlSuiteError(
                f"another deploy of {places.suite} is running on this machine",
                "Wait for it, then deploy again.",
            ) from error
        yield
