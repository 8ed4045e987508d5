"""Places and origins: folders of hosts, files beside the deployment, commits of real repositories."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from ml_suite.config import git, locate
from ml_suite.config.resolve import resolve
from ml_suite.config.resolved import Resolved
from ml_suite.config.source import load, parse
from ml_suite.errors import ConfigError
from ml_suite.hosts import host

TEXT = """\
suite: s
dataset: {recipe: r.yaml}
training: {config: t.yaml, resources: {walltime: 1h}}
hosts: {local: {}}
outputs: {checkpoints: s3://b}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with a deployment and its files, outside any repository."""
    monkeypatch.setenv("ML_SUITE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "deployment.yaml").write_text(TEXT)
    (folder / "r.yaml").write_text("dates: {}\n")
    (folder / "t.yaml").write_text("defaults: []\n")
    return folder


def resolved(project: Path) -> Resolved:
    path = project / "deployment.yaml"
    return resolve(parse(load(path)), path, project / "files", project / "connections.json")


def run_git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.int"]
    done = subprocess.run(["git", *who, "-C", folder, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_host_file_gives_the_folders(project: Path, tmp_path: Path) -> None:
    paths = resolved(project).hosts["local"]
    assert paths.work == tmp_path / "home" / "work"
    assert paths.environment == tmp_path / "cache" / "ml-suite" / "anemoi"


def test_the_deployment_overrides_the_host_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    text = TEXT.replace("local: {}", "local: {work: ~/here, account: p1, environment: '/envs/{account}'}")
    (project / "deployment.yaml").write_text(text)
    paths = resolved(project).hosts["local"]
    assert paths.work == Path("/home/me/here")
    assert paths.environment == Path("/envs/p1")
    text = TEXT.replace("walltime: 1h}", "walltime: 1h}, environment: env")
    (project / "deployment.yaml").write_text(text)
    assert resolved(project).hosts["local"].environment == project / "env"


def test_a_resolved_deployment_survives_the_file(project: Path) -> None:
    found = resolved(project)
    file = project / "resolved.json"
    file.write_text(found.model_dump_json())
    assert Resolved.load(file) == found


def test_outside_a_repository_only_the_bytes_are_known(project: Path) -> None:
    recipe = resolved(project).recipe
    assert recipe.path == str(project / "r.yaml")
    assert recipe.sha256 == hashlib.sha256(b"dates: {}\n").hexdigest()
    assert (recipe.commit, recipe.blob, recipe.dirty, recipe.remote) == (None, None, False, None)


def test_in_a_repository_the_commit_is_known(project: Path) -> None:
    run_git(project, "init", "-q")
    run_git(project, "remote", "add", "origin", "https://me:t0ken@example.int/x.git")
    run_git(project, "add", ".")
    run_git(project, "commit", "-q", "-m", "All")
    commit = run_git(project, "rev-parse", "HEAD")
    (project / "other").write_text("later\n")
    run_git(project, "add", ".")
    run_git(project, "commit", "-q", "-m", "Other")

    recipe = resolved(project).recipe
    assert (recipe.path, recipe.commit, recipe.dirty) == ("r.yaml", commit, False)
    assert recipe.remote == "https://example.int/x.git"
    assert recipe.blob is not None
    assert run_git(project, "cat-file", "-p", recipe.blob) == "dates: {}"

    (project / "r.yaml").write_text("dates: {start: 1}\n")
    changed = resolved(project).recipe
    assert (changed.commit, changed.dirty) == (commit, True)
    assert changed.blob != recipe.blob


def test_a_file_that_was_never_committed_is_dirty(project: Path) -> None:
    run_git(project, "init", "-q")
    recipe = git.facts(project / "r.yaml")
    assert (recipe.commit, recipe.dirty) == (None, True)


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://me@example.int/x.git", "https://example.int/x.git"),
        ("ssh://git:pw@example.int:22/x.git", "ssh://example.int:22/x.git"),
        ("https://example.int/x.git?private_token=abc", "https://example.int/x.git"),
        ("git@example.int:x.git", "git@example.int:x.git"),
        ("/srv/x.git", "/srv/x.git"),
    ],
)
def test_addresses_lose_their_credentials(url: str, clean: str) -> None:
    assert git.without_credentials(url) == clean


def test_a_missing_file_says_where_it_was_looked_for(project: Path) -> None:
    (project / "r.yaml").unlink()
    with pytest.raises(ConfigError, match=r"dataset\.recipe: there is no file r\.yaml") as caught:
        resolved(project)
    assert str(project / "r.yaml") in str(caught.value)


def test_files_are_found_beside_the_deployment_then_here_then_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, here = tmp_path / "beside", tmp_path / "here"
    for folder in (beside, here):
        (folder / "hosts").mkdir(parents=True)
    monkeypatch.chdir(here)
    packaged = locate.locate("hosts/local.yaml", beside)
    assert packaged == locate.shipped() / "hosts" / "local.yaml"
    for folder in (here, beside):
        (folder / "hosts" / "local.yaml").touch()
        assert locate.locate("hosts/local.yaml", beside) == folder / "hosts" / "local.yaml"
    assert locate.locate(str(here), beside) == here
    assert locate.locate("nowhere.yaml", beside) is None


HOST = """\
title: a machine
auth: {kind: certificate, lifetime: 12h}
callback: spool
scheduler: slurm
architecture: aarch64
gpus_per_node: 4
billing: core_hours
partitions: {booster: {max_walltime: 12h}}
paths: {work: "/scratch/{account}/{user}", environment: "{home}/env"}
"""


def test_a_host_beside_the_deployment_wins(project: Path, tmp_path: Path) -> None:
    for folder, title in ((tmp_path / "config" / "ml-suite" / "hosts", "mine"), (project / "hosts", "near")):
        folder.mkdir(parents=True)
        (folder / "local.yaml").write_text(HOST.replace("a machine", title))
        assert host.load("local", project).title == title


def test_a_path_that_needs_an_account(project: Path) -> None:
    (project / "hosts").mkdir()
    (project / "hosts" / "big.yaml").write_text(HOST)
    (project / "deployment.yaml").write_text(TEXT.replace("local: {}", "big: {}"))
    with pytest.raises(ConfigError, match="needs an account"):
        resolved(project)


def test_an_unknown_host_is_suggested(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"no host file for 'locla'\n.*did you mean 'local'"):
        host.load("locla", project)


def test_a_bad_host_file_is_reported_with_places(project: Path) -> None:
    (project / "hosts").mkdir()
    text = HOST.replace("spool", "pigeon").replace("{home}", "{hom}").replace("title", "titel")
    (project / "hosts" / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        host.load("bad", project)
    told = str(caught.value)
    assert "bad.yaml:1:1: error: unknown key 'titel'" in told
    assert "bad.yaml:3:11: error: write one of: direct, spool" in told
    assert "{hom} has no meaning" in told
    assert "3 errors in" in told


def test_gpus_are_counted_by_their_devices() -> None:
    devices = [Path("/dev/nvidia0"), Path("/dev/nvidia1"), Path("/dev/nvidiactl"), Path("/dev/nvidia-uvm")]
    assert host.gpus_here(devices) == 2
