"""Which samples anemoi-training makes of blocks: ``python -m tests.trainers.dates_of_blocks CASES.json DATASET``.

Prints one line of JSON: for each case the reference dates of the samples, once for blocks joined and once for gaps that
are declared missing. Runs in the training environment.
"""

import json
import logging
import sys
from pathlib import Path
from typing import Any

from anemoi.training.data.data_reader import BaseAnemoiReader

dataset = sys.argv[2]
logging.disable(logging.WARNING)


def dates(case: dict[str, Any], config: dict[str, Any]) -> list[str]:
    """Return the reference dates of all samples of two dates in and one out."""
    reader = BaseAnemoiReader(
        dataset_config={**config, "frequency": case["frequency"]}, start=case["start"], end=case["end"]
    )
    anchors = reader.compute_anchors([-1, 0, 1]).tolist()
    return [str(reader.dates[i].astype("datetime64[s]")) for _, i in anchors]


found = []
for case in json.loads(Path(sys.argv[1]).read_text()):
    joined = {
        "concat": [{"dataset": dataset, **block} for block in case["blocks"]],
        "fill_missing_gaps": True,
    }
    declared = {"dataset": dataset, "set_missing_dates": case["gaps"]}
    found.append([dates(case, {"dataset": joined}), dates(case, declared)])
print(json.dumps(found))
