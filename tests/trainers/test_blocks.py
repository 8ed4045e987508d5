"""The samples of blocks are those that anemoi-training makes of them, date for date."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ml_suite.study import data, periods
from ml_suite.study.contract import Span
from ml_suite.study.periods import Calendar, Window
from tests.trainers.storm import Storm

pytestmark = pytest.mark.anemoi

TRAINING = Span(start=datetime(1996, 1, 5), end=datetime(1996, 1, 16, 18))


CASES = [(1, 0.25, 5), (1, 0.6, 1), (2, 0.4, 0)]
"""Every n-th date, share and seed."""


def test_anemoi_uses_exactly_the_samples_of_the_blocks(storm: Storm, tmp_path: Path) -> None:
    _, whole = data.read(storm.dataset)
    cases: list[dict[str, Any]] = []
    expected: list[list[str]] = []
    for every, share, seed in CASES:
        calendar = Calendar(whole.start, whole.end, whole.frequency, whole.missing, every)
        step = timedelta(hours=6) * every
        window = Window((-step, timedelta(0), step))
        blocks = periods.blocks(calendar, TRAINING, share, window, seed)
        assert len(blocks) > 1
        cases.append(
            {
                "blocks": [{"start": str(block.start), "end": str(block.end)} for block in blocks],
                "gaps": [date.isoformat() for date in periods.gaps(calendar, blocks)],
                "start": str(blocks[0].start),
                "end": str(blocks[-1].end),
                "frequency": f"{6 * every}h",
            }
        )
        dates = [
            block.start + i * step
            for block in blocks
            for i in range(1, (block.end - block.start) // step)
            if not whole.missing & {block.start + (i + j) * step for j in (-1, 0, 1)}
        ]
        assert len(dates) == round(share * periods.anchors(calendar, TRAINING, window))
        expected.append([date.isoformat() for date in dates])
    file = tmp_path / "cases.json"
    file.write_text(json.dumps(cases))
    told = storm.succeed("-m", "tests.trainers.dates_of_blocks", str(file), str(storm.dataset))
    for (joined, declared), wanted in zip(json.loads(told.splitlines()[-1]), expected, strict=True):
        assert joined == wanted
        assert declared == wanted
