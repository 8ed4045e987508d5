"""Setup of another machine, behind a real sshd: shipped, installed, checked there, recorded here."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ml_suite.config.deployment import Software
from ml_suite.config.resolved import HostPaths
from ml_suite.errors import ConfigError, HostError
from ml_suite.hosts import reach
from ml_suite.hosts.jobhost import JobHost, JobHosts
from ml_suite.jobs import callback, setup, setup_there
from ml_suite.jobs.context import Job
from ml_suite.jobs.setup import HostEnvironment
from ml_suite.library import install_library
from ml_suite.software.patience import Line, Patience
from ml_suite.software.place import environment_path
from tests.hosts.sshd_fixture import NAME, Sshd
from tests.jobs.study_rig import make
from tests.software.conftest import _pip_keeps_its_settings
from tests.software.test_install import BASE, PYTHON

__all__ = ["_pip_keeps_its_settings"]

PACKAGES = ("annotated-types", "pydantic", "pydantic-core", "typing-extensions", "typing-inspection")
LOCK = "".join(f"{name}=={importlib.metadata.version(name)}\n" for name in PACKAGES)


@dataclass
class Far:
    """A deployment with another machine."""

    job: Job
    sshd: Sshd
    work: Path
    labels: list[str]

    def setup(self) -> None:
        setup.run(self.job, ["--host", NAME])

    def using(
        self, software: Software | None, environment: Path | None = None, trainer: str = "command"
    ) -> Far:
        """The same with other software."""
        resolved, beside = self.job.resolved, self.work.parent
        if software:
            environment = environment_path(self.work, software, os.uname().machine, beside)
        deployment = resolved.deployment
        uses = {**deployment.hosts, NAME: deployment.hosts[NAME].model_copy(update={"software": software})}
        training = deployment.training.model_copy(update={"trainer": trainer})
        named = (software.wheelhouse or software.image) if software else None
        paths = HostPaths(
            work=self.work,
            environment=environment or Path("/nowhere"),
            software=beside / named if named else None,
            remote=True,
        )
        resolved = resolved.model_copy(
            update={
                "deployment": deployment.model_copy(update={"hosts": uses, "training": training}),
                "hosts": {**resolved.hosts, NAME: paths},
            }
        )
        resolved.files.mkdir(exist_ok=True)
        (resolved.files / "resolved.json").write_text(resolved.model_dump_json())
        library = install_library(beside / "ml")
        facts = JobHost(
            work=self.work,
            python=paths.environment / "bin" / "python",
            library=self.work / "lib" / library.name,
            library_here=library,
            files=self.work / "suites" / "rig" / "files" / str(abs(hash(resolved.model_dump_json()))),
            files_here=resolved.files,
            files_names=("resolved.json",),
        )
        hosts = JobHosts(beside / "ml", "rig", resolved.hosts["here"].work, {NAME: facts})
        hosts.save(resolved.files / "hosts.json")
        return replace(self, job=replace(self.job, resolved=resolved))

    @property
    def recorded(self) -> HostEnvironment:
        return HostEnvironment.load(self.job.tree.root / f"environment-{NAME}.json")


@pytest.fixture
def far(tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Far:
    rig = make(tmp_path, monkeypatch)
    deployment = rig.job.deployment
    use = deployment.hosts["here"]
    deployment = deployment.model_copy(update={"hosts": {"here": use, NAME: use}})
    (tmp_path / "lock.txt").write_text(LOCK)
    reach.save((sshd.way, sshd.way))
    labels: list[str] = []
    monkeypatch.setattr(callback, "label", lambda name, text: labels.append(f"{name}: {text}"))

    def impatient(way: Any, say: Any) -> Line:
        return Line(way, say, Patience(silence=20.0, login=0.0, pause=0.2))

    monkeypatch.setattr(setup_there, "Line", impatient)
    job = replace(rig.job, resolved=rig.job.resolved.model_copy(update={"deployment": deployment}))
    return Far(job, sshd, tmp_path / "far", labels)


def test_an_environment_that_is_there_is_checked_by_its_own_python(far: Far) -> None:
    far = far.using(None, Path(sys.prefix))
    far.setup()
    assert far.recorded.host == NAME
    assert far.recorded.installed is None
    assert far.recorded.architecture == os.uname().machine
    assert far.recorded.executable == Path(sys.prefix, "bin", "python")
    assert far.labels[-1] == f"software: Python {far.recorded.python}, {os.uname().machine}"
    assert (far.work / "suites" / "rig" / "outbox").is_dir()
    assert not (far.work / "env").exists()


def test_wheels_are_installed_once_and_the_version_is_recorded(far: Far, tmp_path: Path) -> None:
    far = far.using(Software(wheelhouse="lock.txt", python=PYTHON, interpreter=BASE))
    far.setup()
    environment = far.job.resolved.hosts[NAME].environment
    assert far.recorded.installed == environment.name
    assert far.recorded.executable == environment / "bin" / "python"
    assert far.labels[-1].endswith(f"{os.uname().machine}, env {environment.name[:6]}")
    assert any("installs 5 packages" in label for label in far.labels)
    before, record = far.sshd.sessions_opened, far.recorded
    far.setup()
    # two trees are asked for and looked at, then the environment, then the check
    assert far.sshd.sessions_opened - before == 6
    assert far.sshd.connections == 1
    assert far.recorded == record
    (tmp_path / "lock.txt").write_text("six==1.17.0\n")
    with pytest.raises(ConfigError, match=r"lock\.txt has changed since the suite was deployed"):
        far.setup()
    # a copy among the deployed files is what counts
    (far.job.resolved.files / "software").mkdir()
    (far.job.resolved.files / "software" / f"{NAME}.txt").write_text(LOCK)
    far.setup()


def test_a_setup_that_is_killed_goes_on(far: Far) -> None:
    far = far.using(Software(wheelhouse="lock.txt", python=PYTHON, interpreter=BASE))
    words = [sys.executable, "-u", "-m", "ml_suite.jobs", "setup", "--host", NAME]
    environment = {
        **os.environ,
        "ML_SUITE_RESOLVED": str(far.job.resolved.files / "resolved.json"),
        "ML_SUITE_HOST": "here",
    }
    for line in ("downloads", "sends", "installs"):
        process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        seen = any(told.startswith(line) for told in process.stdout)
        process.kill()
        process.wait()
        assert seen or line != "downloads"
    far.setup()
    root = far.job.resolved.hosts[NAME].environment
    log = root.with_name(f".{root.name}.log").read_text()
    assert log.count("Successfully installed") == 1
    assert far.recorded.installed == root.name


def test_what_was_changed_of_the_package_there_is_sent_again(far: Far) -> None:
    far = far.using(None, Path(sys.prefix))
    far.setup()
    (library,) = (far.work / "lib").iterdir()
    module = library / "ml_suite" / "errors.py"
    text = module.read_text()
    module.write_text("raise SystemExit(9)\n")
    far.setup()
    assert module.read_text() == text
    assert any("is sent again: a file of it has changed" in label for label in far.labels)


def test_what_is_missing_there_is_a_message(far: Far, tmp_path: Path) -> None:
    with pytest.raises(
        HostError, match=r"bighost: there is no environment /nowhere\n.*hosts\.NAME\.software"
    ):
        far.using(None, Path("/nowhere")).setup()
    with pytest.raises(HostError, match=rf"bighost: the environment {sys.prefix} has no anemoi-datasets"):
        far.using(None, Path(sys.prefix), trainer="anemoi").setup()
    (tmp_path / "lock.txt").write_text("six==1.17.0\n")
    with pytest.raises(HostError, match=r"has no pydantic, which jobs need\n.*requirements file"):
        far.using(Software(wheelhouse="lock.txt", python=PYTHON, interpreter=BASE)).setup()
    old = tmp_path / "old" / "bin" / "python"
    old.parent.mkdir(parents=True)
    old.write_text("#!/bin/sh\nexit 80\n")
    old.chmod(0o755)
    with pytest.raises(HostError, match=r"the Python of .*old is older than 3\.11"):
        far.using(None, tmp_path / "old").setup()
    with pytest.raises(ConfigError, match="host 'other' is not in the deployment"):
        setup.run(far.job, ["--host", "other"])
    assert not list(far.job.tree.root.glob("environment-*"))


def test_a_lost_host_is_waited_for_and_then_told(far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    far = far.using(None, Path(sys.prefix))
    far.sshd.stop()

    def gives_up(way: Any, say: Any) -> Line:
        return Line(way, say, Patience(silence=1.0, login=0.0, pause=0.2))

    monkeypatch.setattr(setup_there, "Line", gives_up)
    with pytest.raises(HostError):
        far.setup()
    assert any(label.startswith("software: waits: ") for label in far.labels)


def test_an_image_runs_the_jobs_python(far: Far, tmp_path: Path) -> None:
    """With a program in apptainer's place: the real one and its images are not here."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    calls = tmp_path / "calls"
    (bin_ / "apptainer").write_text(
        f"#!/bin/sh\nprintf '%s\\n' \"$*\" >>{calls}\n"
        'while [ "$1" != image-ends ]; do case $1 in *.sif) shift; break ;; esac; shift; done\n'
        f"export APPTAINER_CONTAINER=x PATH={sys.prefix}/bin:$APPTAINERENV_PREPEND_PATH:/usr/bin:/bin\n"
        'exec "$@"\n'
    )
    (bin_ / "apptainer").chmod(0o755)
    (tmp_path / "a.sif").write_bytes(os.urandom(300_000))
    software = Software(image="a.sif", options=["--nv", "--env", "A=b c"], runtime=str(bin_ / "apptainer"))
    far = far.using(software)
    far.setup()
    environment = far.job.resolved.hosts[NAME].environment
    assert far.recorded.installed == environment.name
    (image,) = (far.work / "images").glob("*.sif")
    assert image.read_bytes() == (tmp_path / "a.sif").read_bytes()
    first = calls.read_text().splitlines()[0]
    assert first.startswith(f"exec --bind {far.work} --nv --env A=b c {image} python3 -c")
    before = far.sshd.sessions_opened
    far.setup()
    assert far.sshd.sessions_opened - before == 6
    image.write_bytes(b"short")
    (environment / "bin" / "anemoi-training").unlink()
    far.setup()
    assert image.stat().st_size == 300_000
    code = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['PATH']]))"
    words = [str(environment / "bin" / "python"), "-c", code, "a b", "*"]
    shim = far.work / "lib" / "x" / "shim"
    shim.mkdir(parents=True)
    (shim / "ecflow_client").write_text("#!/bin/sh\n")
    (shim / "ecflow_client").chmod(0o755)
    done = subprocess.run(
        words, capture_output=True, text=True, check=True, env={"PATH": f"{shim}:/usr/bin:/bin"}
    )
    arguments, path = json.loads(done.stdout)
    assert arguments == ["a b", "*"]
    assert path == f"{sys.prefix}/bin:{shim}:/usr/bin:/bin"
    # a program of the image that calls it stays in the image
    count = len(calls.read_text().splitlines())
    inside = {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "APPTAINER_CONTAINER": "x"}
    subprocess.run(words, check=True, env=inside, capture_output=True)
    assert len(calls.read_text().splitlines()) == count


def test_a_host_without_apptainer_is_a_message(far: Far, tmp_path: Path) -> None:
    (tmp_path / "a.sif").write_bytes(b"image")
    with pytest.raises(HostError, match=r"has no no-such-runtime on its PATH"):
        far.using(Software(image="a.sif", runtime="no-such-runtime")).setup()
