"""``python -m ml_suite.datasets.describe PATH``: describe a dataset as JSON; runs in the training environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from ml_suite.datasets import facts, feed
from ml_suite.datasets.advice import advise, recommended_workers
from ml_suite.datasets.answer import answering
from ml_suite.datasets.model import Description
from ml_suite.datasets.store import open_group, require_finished
from ml_suite.datasets.windows import usable_starts


def describe(
    path: Path,
    *,
    inputs: int = 2,
    outputs: int = 1,
    batch: int = 4,
    workers: Sequence[int] | None = None,
    seconds: float = 2.0,
    need: float | None = None,
) -> Description:
    """Describe a finished dataset.

    Parameters
    ----------
    workers
        Numbers of loader processes to measure; None measures 0, 1 and up to the number of processors, an empty
        sequence measures nothing.

    Raises
    ------
    DatasetError
        If PATH is no finished dataset, or the window does not fit into it.
    """
    uuid = require_finished(path).uuid
    group = open_group(path)
    shape = facts.read_shape(path, group)
    size = facts.read_size(path, group)
    dates = facts.read_dates(group)
    chunks = facts.read_chunks(group, size)
    reading = facts.read_reading(group, shape, inputs, outputs, batch)
    variables, scanned = facts.read_variables(group)
    cpus = len(os.sched_getaffinity(0))
    starts = usable_starts(shape.dates, inputs + outputs, facts.missing_rows(group))
    chosen = default_workers(cpus) if workers is None else workers
    rates = feed.measure(path, starts, inputs + outputs, batch, chosen, seconds) if starts and chosen else []
    return Description(
        path=path.absolute(),
        name=path.stem,
        uuid=str(uuid),
        description=group.attrs.get("description"),
        licence=group.attrs.get("licence"),
        size=size,
        dates=dates,
        shape=shape,
        chunks=chunks,
        variables=variables,
        scanned_dates=scanned,
        reading=reading,
        feed=rates,
        cpus=cpus,
        recommended_workers=recommended_workers(rates),
        advice=advise(size, dates, chunks, variables, reading, rates, need),
    )


def default_workers(cpus: int) -> list[int]:
    """0, then powers of two up to the number of processors.

    >>> default_workers(2), default_workers(12)
    ([0, 1, 2], [0, 1, 2, 4, 8, 12])
    """
    return [0, *sorted({2**i for i in range(cpus.bit_length()) if 2**i <= cpus} | {cpus})]


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m ml_suite.datasets.describe")
    parser.add_argument("path", type=Path)
    parser.add_argument("--inputs", type=int, default=2)
    parser.add_argument("--outputs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--workers", type=int, nargs="*")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--need", type=float)
    with answering() as answer:
        chosen = parser.parse_args()
        answer(
            describe(
                chosen.path,
                inputs=chosen.inputs,
                outputs=chosen.outputs,
                batch=chosen.batch,
                workers=chosen.workers,
                seconds=chosen.seconds,
                need=chosen.need,
            ).model_dump_json()
        )
    return answer.code


if __name__ == "__main__":
    raise SystemExit(main())
