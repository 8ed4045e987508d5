"""Where an environment will lie is known when a suite is deployed; what cannot be is told then."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_suite.config.deployment import Software
from ml_suite.config.findings import FileError
from ml_suite.config.resolve import resolve
from ml_suite.config.resolved import HostPaths
from ml_suite.config.source import load, parse
from ml_suite.errors import ConfigError
from ml_suite.software.place import environment_path, image_digest

WORK = Path("/scratch/p/ml-suite")

HOST = """\
title: big host
auth: {kind: key}
control: {address: login.example.org}
callback: spool
scheduler: slurm
architecture: aarch64
gpus_per_node: 4
cores_per_node: 64
billing: none
partitions: {gpu: {max_walltime: 1d}}
paths: {work: "/scratch/p/ml-suite", environment: "/home/me/anemoi"}
"""

TEXT = """\
suite: s
dataset: {recipe: r.yaml}
training: {config: t.yaml, resources: {walltime: 1h}}
hosts:
  local: {}
  big: {USE}
outputs: {checkpoints: s3://b}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A deployment's folder with a host, a lock file and an image."""
    for name in ("ML_SUITE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    folder = tmp_path / "project"
    (folder / "hosts").mkdir(parents=True)
    (folder / "hosts" / "big.yaml").write_text(HOST)
    (folder / "r.yaml").write_text("dates: {}\n")
    (folder / "t.yaml").write_text("defaults: []\n")
    (folder / "lock.txt").write_text("six==1.17.0\n")
    (folder / "a.sif").write_bytes(b"image")
    return folder


def paths(project: Path, use: str, host: str = "big") -> HostPaths:
    file = project / "deployment.yaml"
    file.write_text(TEXT.replace("{USE}", use))
    return resolve(parse(load(file)), file, project / "files", project / "c.json").hosts[host]


def test_without_software_the_environment_is_there(project: Path) -> None:
    found = paths(project, "{}")
    assert found.environment == Path("/home/me/anemoi")
    assert found.software is None


def test_wheels_make_an_environment_named_after_what_it_is_made_of(project: Path) -> None:
    found = paths(project, "{software: {wheelhouse: lock.txt}}")
    assert found.environment.parent == WORK / "env"
    assert len(found.environment.name) == 16
    assert found.software == project / "lock.txt"
    assert paths(project, "{software: {wheelhouse: lock.txt}}") == found
    (project / "lock.txt").write_text("# a comment\nsix==1.17.0\n")
    assert paths(project, "{software: {wheelhouse: lock.txt}}") == found
    others = {
        paths(project, '{software: {wheelhouse: lock.txt, python: "3.12"}}').environment,
        paths(project, "{software: {wheelhouse: lock.txt, interpreter: /opt/python}}").environment,
        environment_path(WORK, Software(wheelhouse="lock.txt"), "x86_64", project),
    }
    (project / "lock.txt").write_text("six==1.16.0\n")
    others.add(paths(project, "{software: {wheelhouse: lock.txt}}").environment)
    assert len(others | {found.environment}) == 5


def test_an_image_is_named_by_its_content(project: Path, tmp_path: Path) -> None:
    found = paths(project, "{software: {image: a.sif}}").environment
    assert environment_path(WORK, Software(image="a.sif"), "x86_64", project) == found
    assert paths(project, "{software: {image: a.sif, options: [--nv]}}").environment != found
    known = list((tmp_path / "XDG_CACHE_HOME" / "ml-suite" / "images").iterdir())
    assert [path.read_text().strip() for path in known] == [image_digest(project / "a.sif")]
    (project / "a.sif").write_bytes(b"another")
    assert paths(project, "{software: {image: a.sif}}").environment != found


@pytest.mark.parametrize(
    ("use", "told"),
    [
        ("{software: {}}", "this needs 'wheelhouse' or 'image'"),
        ("{software: {wheelhouse: lock.txt, image: a.sif}}", "only one of the two can be"),
        ('{software: {image: a.sif, python: "3.11"}}', "image does not use 'python'"),
        ("{software: {wheelhouse: lock.txt, options: [--nv]}}", "wheelhouse does not use 'options'"),
        ("{software: {wheelhouse: lock.txt}, environment: /x}", "the environment is made from wheelhouse"),
        ('{software: {wheelhouse: lock.txt, python: "3.9"}}', "jobs need Python 3.11 or newer"),
        ("{software: {weelhouse: lock.txt}}", "did you mean 'wheelhouse'"),
        ("{software: {wheelhouse: lock.txt, interpreter: python3.11}}", "software.interpreter"),
    ],
)
def test_what_cannot_be_is_told_with_its_place(project: Path, use: str, told: str) -> None:
    with pytest.raises(FileError) as error:
        paths(project, use)
    assert told in str(error.value)
    assert "deployment.yaml:6:" in str(error.value)


def test_a_missing_or_wrong_file_is_a_message(project: Path) -> None:
    with pytest.raises(ConfigError, match=r"software\.wheelhouse: there is no file no\.txt"):
        paths(project, "{software: {wheelhouse: no.txt}}")
    (project / "lock.txt").write_text("six\n")
    with pytest.raises(ConfigError, match=r"lock\.txt, line 1: six is not a package with its version"):
        paths(project, "{software: {wheelhouse: lock.txt}}")
    (project / "lock.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"lock\.txt cannot be read"):
        paths(project, "{software: {wheelhouse: lock.txt}}")


def test_nothing_is_installed_on_this_machine(project: Path) -> None:
    (project / "hosts" / "big.yaml").write_text(
        "title: t\nauth: {kind: none}\ncallback: direct\nscheduler: local\npaths: {work: /w, environment: /e}\n"
    )
    with pytest.raises(ConfigError, match="nothing is installed on this machine"):
        paths(project, "{software: {wheelhouse: lock.txt}}")


def test_the_requirements_go_with_the_deployed_files(project: Path) -> None:
    from ml_suite.cli.plan import deployed_files

    file = project / "deployment.yaml"
    file.write_text(TEXT.replace("{USE}", "{software: {wheelhouse: lock.txt}}"))
    resolved = resolve(parse(load(file)), file, project / "files", project / "c.json")
    files = deployed_files(file, resolved)
    assert files["software/big.txt"] == "six==1.17.0\n"
    file.write_text(TEXT.replace("{USE}", "{software: {image: a.sif}}"))
    resolved = resolve(parse(load(file)), file, project / "files", project / "c.json")
    assert not [name for name in deployed_files(file, resolved) if name.startswith("software/")]
