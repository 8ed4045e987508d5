"""The two steps: rank many trials of a small subset, choose the best, and judge those again on all of the data."""

from __future__ import annotations

from ml_suite.study.candidates import shortlist
from ml_suite.study.ranking import account, rank
from ml_suite.study.winner import finalists, select

__all__ = ["account", "finalists", "rank", "select", "shortlist"]
