"""The study files of the aerosol case."""

from __future__ import annotations

import pytest

from ml_suite.config.study_file import parse
from tests.suites.aerosol.conftest import SUITE


@pytest.mark.parametrize("name", ["study.yaml", "smoke.yaml", "paper.yaml"])
def test_a_study_file_is_valid_and_makes_its_own_data(name):
    study, _ = parse(SUITE / name)
    assert study.data.make
    assert (SUITE / study.data.make[1]).is_file()
    assert study.hpo.keep_count >= 1


def test_the_documented_study_is_as_large_as_it_says():
    study, _ = parse(SUITE / "study.yaml")
    assert study.hpo.step1.trials >= 1000
    assert study.hpo.step1.subset == 0.05
    assert study.data.make
    assert study.data.make[study.data.make.index("--samples") + 1] == "300000"
