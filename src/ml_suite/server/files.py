"""Deployed files in a git work tree: each deploy is a commit that can be shown, compared and reverted."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import MlSuiteError

# nothing of a person's git configuration may change what a deploy does: signing, hooks, line endings, templates
_SETTINGS = (
    "commit.gpgsign=false",
    "core.hooksPath=/dev/null",
    "core.autocrlf=false",
    "core.quotePath=false",
    "gc.auto=0",
)
_OPTIONS = [word for setting in _SETTINGS for word in ("-c", setting)]


def person() -> str:
    """Name of who deploys; a container's user may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid{os.getuid()}"


@dataclass(frozen=True)
class FileChanges:
    """Difference between the files of a work tree and the wanted ones; paths relative to the tree, sorted."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    unchanged: int = 0
    by_hand: tuple[str, ...] = ()
    """Edited in the work tree since the last deploy."""

    @property
    def empty(self) -> bool:
        """Nothing would be written or removed."""
        return not (self.added or self.changed or self.removed)

    @property
    def written(self) -> int:
        """Files that a deploy writes."""
        return len(self.added) + len(self.changed)


@dataclass(frozen=True)
class Tree:
    """The work tree of a deployed suite; other files in it are left alone."""

    root: Path

    def compare(self, files: Mapping[str, str]) -> FileChanges:
        """What `write` would do; changes nothing.

        Raises
        ------
        MlSuiteError
            If git is not installed or the tree is damaged.
        """
        added, changed, unchanged = [], [], 0
        for name, content in files.items():
            there = self._read(name)
            if there is None:
                added.append(name)
            elif there != content.encode():
                changed.append(name)
            else:
                unchanged += 1
        removed = sorted(name for name in self.tracked() if name not in files)
        edited = (
            self._git("diff", "--name-only", "--diff-filter=M", "HEAD").splitlines() if self.commit() else []
        )
        # what is as wanted was written by a deploy that died before its commit
        by_hand = tuple(name for name in edited if name in changed or name in removed)
        return FileChanges(tuple(sorted(added)), tuple(sorted(changed)), tuple(removed), unchanged, by_hand)

    def write(self, files: Mapping[str, str]) -> FileChanges:
        """Make the tree hold FILES, each one whole or not at all; what is the same is not written.

        Edits by hand since the last deploy are committed first, so that nothing is lost.

        Raises
        ------
        MlSuiteError
            If git is not installed, or a file's path leads out of the tree.
        OSError
            As the file system says.
        """
        for name in files:
            if Path(name).is_absolute() or ".." in Path(name).parts or Path(name).parts[0] == ".git":
                raise MlSuiteError(f"{name} is not a path below {self.root}")
        self._start()
        changes = self.compare(files)
        if changes.by_hand:
            self._git("add", "--", *changes.by_hand)
            self._commit("Keep edits made by hand\n\n" + "\n".join(changes.by_hand))
        for name in (*changes.added, *changes.changed):
            atomic.write(self.root / name, files[name])
        for name in changes.removed:
            (self.root / name).unlink(missing_ok=True)
        return changes

    def commit_deploy(self, files: Mapping[str, str], message: str) -> str:
        """Commit FILES and what was removed.

        Returns
        -------
        The commit, 40 hexadecimal digits; the last one when nothing changed.
        """
        self._git("add", "--update")
        names = sorted(files)
        for start in range(0, len(names), 500):
            self._git("add", "--force", "--", *names[start : start + 500])
        self._commit(message)
        return self.commit() or ""

    def commit(self) -> str | None:
        """Commit of the last deploy, None before the first."""
        if not (self.root / ".git").exists():
            return None
        done = self._run("rev-parse", "--verify", "--quiet", "HEAD")
        return done.stdout.strip() or None

    def tracked(self) -> list[str]:
        """Files of the last deploy."""
        return self._git("ls-files").splitlines() if (self.root / ".git").exists() else []

    def stat(self, commit: str) -> str:
        """What a commit changed, as ``git diff --stat`` shows it."""
        return self._git("show", "--stat", "--format=", commit).rstrip()

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _start(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        # a deploy that was killed while git wrote leaves its lock; the caller holds the suite's own lock
        (self.root / ".git" / "index.lock").unlink(missing_ok=True)
        if not (self.root / ".git").exists():
            self._git("init", "--quiet", "--initial-branch=main", "--template=")

    def _commit(self, message: str) -> None:
        if self._run("diff", "--cached", "--quiet").returncode == 0 and self.commit():
            return
        self._git("commit", "--quiet", "--allow-empty", "--file=-", text=message)

    def _git(self, *arguments: str, text: str | None = None) -> str:
        done = self._run(*arguments, text=text)
        if done.returncode:
            raise MlSuiteError(
                f"git {arguments[0]} failed in {self.root}: {' '.join(done.stderr.split())}",
                "The scripts of deployed suites are kept in this git work tree; look with: "
                f"git -C {self.root} status",
            )
        return done.stdout

    def _run(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        user = person()
        # GIT_DIR and its like are set when a deploy runs inside a git hook
        environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
        environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
        for role in ("AUTHOR", "COMMITTER"):
            environment |= {f"GIT_{role}_NAME": user, f"GIT_{role}_EMAIL": f"{user}@{socket.gethostname()}"}
        try:
            return subprocess.run(
                ["git", *_OPTIONS, *arguments],
                cwd=self.root,
                env=environment,
                input=text,
                text=True,
                capture_output=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise MlSuiteError(
                "git is not installed", "Debian: apt install git    conda: conda install git"
            ) from error
