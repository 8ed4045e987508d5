"""What the documentation tells people to type exists: every command, option and file that it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from ml_suite.cli import main as program

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def typed() -> list[tuple[str, str]]:
    """Lines of fenced blocks that start with a program of ours, with the page."""
    lines = []
    for page in PAGES:
        for block in re.findall(r"^```[a-z]*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
            for line in block.splitlines():
                words = line.strip().removeprefix("$ ")
                if re.match(r"(ml-suite|bash ci/|python ci/)", words):
                    lines.append((page.name, words))
    return lines


def check_ours(words: list[str]) -> None:
    """Parse the words as the command line would; values and files need not exist."""
    command: click.Command = program
    context = click.Context(program, info_name="ml-suite")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        command, context = found, click.Context(found, info_name=name, parent=context)
    # not get_params: it would keep a help option made for this context
    known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
    for word in words:
        if word.startswith("-"):
            assert word.partition("=")[0] in known, f"{command.name} has no option {word}"


@pytest.mark.parametrize(("page", "line"), typed())
def test_documented_command_exists(page: str, line: str) -> None:
    line = re.sub(r"[\[\]]", " ", line.partition(" # ")[0])
    for part in re.split(r"\s*(?:&&|\|\||[|;])\s*", line):
        words = shlex.split(part.replace("…", ""), comments=True)
        words = words[: words.index(">")] if ">" in words else words
        if words[:1] == ["ml-suite"]:
            check_ours(words[1:])
        elif words[:1] in (["bash"], ["python"]):
            assert (ROOT / words[1]).is_file(), f"{page}: there is no {words[1]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_between_pages_hold(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_is_found_from_the_readme() -> None:
    found, left = set(), [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in found or page.suffix != ".md":
            continue
        found.add(page)
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http:", "https:")):
                left.append((page.parent / target).resolve())
    assert set(PAGES) <= found
