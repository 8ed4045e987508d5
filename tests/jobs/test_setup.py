"""The first task on a host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ml_suite.errors import HostError
from ml_suite.jobs import setup
from ml_suite.jobs.setup import HostEnvironment, check_environment, check_space, check_writable
from tests.jobs.study_rig import make


def test_it_records_what_is_installed(tmp_path: Path, monkeypatch: Any) -> None:
    rig = make(tmp_path, monkeypatch)
    setup.run(rig.job, [])
    setup.run(rig.job, [])
    found = HostEnvironment.load(rig.job.tree.root / "environment-here.json")
    assert found.python.startswith("3.")
    assert found.cpus >= 1
    assert rig.job.tree.outbox.is_dir()
    assert sorted(p.name for p in rig.job.tree.root.iterdir()) == ["environment-here.json"]


def test_a_folder_that_cannot_be_written_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HostError, match=r"cannot be written.*\n.*hosts\.NAME\.work"):
        check_writable(tmp_path / "file" / "below")


def test_a_full_disk_is_a_message(tmp_path: Path) -> None:
    assert check_space(tmp_path, 1) > 0
    with pytest.raises(HostError, match=r"free; at least .* are needed"):
        check_space(tmp_path, 1 << 62)


def test_a_missing_trainer_is_a_message(tmp_path: Path) -> None:
    found = setup.environment("here").model_copy(update={"software": {"anemoi-datasets": "0.5.47"}})
    with pytest.raises(HostError, match="has no anemoi-training, anemoi-inference, anemoi-registry"):
        check_environment(found, tmp_path)
