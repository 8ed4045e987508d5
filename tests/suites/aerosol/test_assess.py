"""Errors of a network beside those of the formula."""

from __future__ import annotations

import assess
import numpy as np


def test_each_mode_is_judged_for_itself():
    truth = np.random.default_rng(0).uniform(size=(1000, 4))
    prediction = truth.copy()
    prediction[:, 1] = truth[:, 1].mean()
    prediction[:, 2] += 0.1
    head, _, errors, skill = assess.table({"network": (truth, prediction)})
    assert head == "| | accumulation | aitken | coarse | primary carbon | all |"
    values = [float(word) for word in errors.split("|")[2:-1]]
    assert values[0] == values[3] == 0.0
    assert abs(values[2] - 0.01) < 1e-4
    assert abs(values[4] - np.mean(values[:4])) < 1e-4
    assert [round(float(word), 3) for word in skill.split("|")[2:4]] == [1.0, 0.0]


def test_a_study_that_is_not_finished_is_said(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["assess.py", str(tmp_path)])
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", object())
    assert assess.main() == 1
    assert "plan.json" in capsys.readouterr().err
