"""``python -m ml_suite.datasets.progress PATH``: how far a dataset is, as JSON; runs in the training environment."""

from __future__ import annotations

import argparse
from pathlib import Path

from ml_suite.datasets.answer import answering
from ml_suite.datasets.model import Model
from ml_suite.datasets.store import Phase, progress


class BuildProgress(Model):
    """State of a store on this machine."""

    path: Path
    phase: Phase
    uuid: str | None
    percent: int
    """Groups of dates that are loaded."""
    groups: int
    missing_groups: list[int]


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m ml_suite.datasets.progress")
    parser.add_argument("path", type=Path)
    with answering() as answer:
        state = progress(parser.parse_args().path)
        found = BuildProgress(
            path=state.path.absolute(),
            phase=state.phase,
            uuid=state.uuid,
            percent=state.percent,
            groups=len(state.loaded),
            missing_groups=state.missing,
        )
        answer(found.model_dump_json())
    return answer.code


if __name__ == "__main__":
    raise SystemExit(main())
