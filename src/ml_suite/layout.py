"""Where a suite keeps its files on a host: pure paths, nothing is created here.

::

    WORK/
      sources/                         what recipes read
      build/NAME.zarr                  the dataset in the making (and NAME.zarr.manifest.jsonl when finished)
      datasets/NAME.zarr               the dataset as transferred to this host, verified
      suites/SUITE/outbox/             parcels that the courier delivers
      suites/SUITE/CYCLE/study/        plan.json, pilot/, step1/, shortlist.json, step2/, selection.json
      suites/SUITE/CYCLE/evaluation/
      suites/SUITE/CYCLE/registered.json
      mirror/HOST/                     beside the ecFlow server: what trials on another host left, as in its WORK
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_suite.config.resolved import Resolved

ONCE = "once"
"""Name of the only cycle of a deployment without cycles."""


@dataclass(frozen=True)
class WorkTree:
    """The folders of one suite and cycle on one host."""

    work: Path
    suite: str
    cycle: str = ONCE

    @classmethod
    def of(cls, resolved: Resolved, host: str, cycle: str = ONCE) -> WorkTree:
        """Tree of a deployed suite on one of its hosts."""
        return cls(resolved.hosts[host].work, resolved.deployment.suite, cycle)

    @classmethod
    def mirror(cls, resolved: Resolved, host: str, cycle: str = ONCE) -> WorkTree:
        """Tree beside the ecFlow server that holds what was fetched of another host's tree."""
        ops = resolved.hosts[resolved.ops].work
        return cls(ops / "mirror" / host, resolved.deployment.suite, cycle)

    @property
    def sources(self) -> Path:
        """Files that recipes name with relative paths."""
        return self.work / "sources"

    def build(self, name: str) -> Path:
        """Dataset in the making on the host that builds it."""
        return self.work / "build" / f"{name}.zarr"

    def dataset(self, name: str) -> Path:
        """Dataset that trainings on this host read."""
        return self.work / "datasets" / f"{name}.zarr"

    @property
    def root(self) -> Path:
        """Everything of the suite's current cycle."""
        return self.work / "suites" / self.suite / self.cycle

    @property
    def outbox(self) -> Path:
        """Parcels to deliver."""
        return self.work / "suites" / self.suite / "outbox"

    @property
    def study(self) -> Path:
        """The study's plan, record and selection."""
        return self.root / "study"

    @property
    def plan(self) -> Path:
        """The frozen study, a `ml_suite.study.contract.StudyPlan`."""
        return self.study / "plan.json"

    def shard(self, step: int, name: str) -> Path:
        """Append-only record of one job's trials; NAME is a shard number in step 1, a rank in step 2."""
        return self.study / f"step{step}" / f"{name}.jsonl"

    def trial(self, step: int, trial: int, replicate: int = 0) -> Path:
        """Folder of one trial: trial.json, result.json, metrics.jsonl, log.txt and the trainer's files."""
        again = f"-r{replicate}" if replicate else ""
        return self.study / f"step{step}" / "trials" / f"{trial:05d}{again}"

    @property
    def pilot(self) -> Path:
        """What the certificate is found with: plan, decision and a folder for each part."""
        return self.study / "pilot"

    @property
    def pilot_plan(self) -> Path:
        """What the pilot's job must know, a `ml_suite.study.dated.DatedPilot`."""
        return self.pilot / "plan.json"

    @property
    def pilot_decision(self) -> Path:
        """How the pilot ended, a `ml_suite.study.dated.PilotDecision`."""
        return self.pilot / "decision.json"

    def pilot_record(self, part: str) -> Path:
        """Append-only record of a part of the pilot, such as 5%-0."""
        return self.pilot / part / "record.jsonl"

    def pilot_trial(self, part: str, trial: int) -> Path:
        """Folder of one training of the pilot."""
        return self.pilot / part / "trials" / f"{trial:05d}"

    def draws(self, number: int) -> Path:
        """Trials of one round of an adaptive sampler."""
        return self.study / "draws" / f"{number:03d}.json"

    @property
    def shortlist(self) -> Path:
        """Candidates for step 2, best first."""
        return self.study / "shortlist.json"

    @property
    def finalists(self) -> Path:
        """Candidates that are trained again with other seeds, best first."""
        return self.study / "finalists.json"

    @property
    def cost(self) -> Path:
        """What the study cost."""
        return self.study / "cost.json"

    @property
    def certificate(self) -> Path:
        """Whether the search can be trusted."""
        return self.study / "certificate.json"

    @property
    def selection(self) -> Path:
        """The winner."""
        return self.study / "selection.json"

    @property
    def evaluation(self) -> Path:
        """Scores, forecasts and the figure of the winner."""
        return self.root / "evaluation"

    @property
    def registered(self) -> Path:
        """What the catalogue was told at the end, and the keys it is found by."""
        return self.root / "registered.json"
