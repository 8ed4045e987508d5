"""The git work tree of deployed files."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ml_suite.errors import MlSuiteError
from ml_suite.server.files import FileChanges, Tree

FILES = {"scripts/a.ecf": "echo a\n", "scripts/include/head.h": "set -e\n", "resolved.json": "{}\n"}


def git(tree: Tree, *arguments: str) -> str:
    """Ask git as a person would."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-C", str(tree.root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def deploy(tree: Tree, files: dict[str, str], message: str = "Deploy") -> tuple[FileChanges, str]:
    changes = tree.write(files)
    return changes, tree.commit_deploy(files, message)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    """A tree of a user without any git configuration, inside a git hook of another repository."""
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "")
    return Tree(tmp_path / "suites" / "demo")


def test_one_commit_per_deploy_and_only_what_changed_is_written(tree: Tree) -> None:
    changes, first = deploy(tree, FILES)
    assert changes == FileChanges(added=tuple(sorted(FILES)))
    assert tree.commit() == first
    before = {name: (tree.root / name).stat().st_mtime_ns for name in FILES}

    second = {**FILES, "scripts/a.ecf": "echo b\n", "scripts/b.ecf": "echo b\n"}
    del second["resolved.json"]
    expected = FileChanges(("scripts/b.ecf",), ("scripts/a.ecf",), ("resolved.json",), 1)
    assert tree.compare(second) == expected
    changes, commit = deploy(tree, second, "Deploy demo: 1 changed")
    assert changes == expected
    assert len(git(tree, "log", "--format=%s").splitlines()) == 2
    assert (tree.root / "scripts/include/head.h").stat().st_mtime_ns == before["scripts/include/head.h"]
    assert not (tree.root / "resolved.json").exists()
    assert tree.stat(commit).splitlines()[-1].strip() == "3 files changed, 2 insertions(+), 2 deletions(-)"
    assert git(tree, "show", f"{first}:scripts/a.ecf") == "echo a\n"
    assert git(tree, "status", "--porcelain") == ""


def test_the_same_files_make_no_commit(tree: Tree) -> None:
    _, first = deploy(tree, FILES)
    changes, second = deploy(tree, FILES)
    assert changes.empty
    assert first == second


def test_edits_by_hand_are_kept_in_the_history(tree: Tree) -> None:
    deploy(tree, FILES)
    (tree.root / "scripts/a.ecf").write_text("echo emergency\n")
    assert tree.compare(FILES).by_hand == ("scripts/a.ecf",)
    deploy(tree, FILES)
    assert (tree.root / "scripts/a.ecf").read_text() == "echo a\n"
    assert git(tree, "log", "--format=%s").splitlines()[1] == "Keep edits made by hand"
    assert git(tree, "show", "HEAD~1:scripts/a.ecf") == "echo emergency\n"


def test_other_files_in_the_tree_are_left_alone(tree: Tree) -> None:
    deploy(tree, FILES)
    (tree.root / "notes.txt").write_text("mine")
    deploy(tree, {"scripts/a.ecf": "x\n"})
    assert (tree.root / "notes.txt").read_text() == "mine"
    assert tree.tracked() == ["scripts/a.ecf"]


def test_compare_needs_no_tree_and_makes_none(tree: Tree) -> None:
    assert tree.compare(FILES).added == tuple(sorted(FILES))
    assert not tree.root.exists()


def test_a_deploy_killed_before_its_commit_is_finished_by_the_next(tree: Tree) -> None:
    deploy(tree, FILES)
    tree.write({**FILES, "scripts/b.ecf": "b\n"})
    (tree.root / ".git" / "index.lock").touch()
    assert tree.compare({**FILES, "scripts/b.ecf": "b\n"}).by_hand == ()
    _, commit = deploy(tree, {**FILES, "scripts/b.ecf": "b\n"})
    assert git(tree, "show", f"{commit}:scripts/b.ecf") == "b\n"
    assert git(tree, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["../out.ecf", "/etc/x", ".git/config"])
def test_paths_out_of_the_tree_are_refused(tree: Tree, name: str) -> None:
    with pytest.raises(MlSuiteError, match="is not a path below"):
        tree.write({name: ""})


def test_git_missing_is_said(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MlSuiteError, match="git is not installed"):
        tree.write(FILES)


def test_thousands_of_files_are_one_commit(tree: Tree) -> None:
    files = {f"scripts/{n:04d}.ecf": f"{n}\n" for n in range(1200)}
    deploy(tree, files)
    assert len(tree.tracked()) == 1200
