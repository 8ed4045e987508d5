"""Where a study keeps its files: pure paths, nothing is created here.

::

    FOLDER/
      plan.json                      the frozen study, an `ArrayPlan`
      members/                       sample numbers of each part (.npy), normalisation.npz
      pilot/                         what the certificate was found with
      step1/K-of-N.jsonl             record of one shard; step1.csv: the merged table
      step1/trials/00042/            of trainer command: the trial's folder
      start.jsonl                    results of another study, for an adaptive sampler
      shortlist.json
      step2/, step2.csv
      weights/00042.npz              of candidates
      selection.json                 the winner
      certificate.json, cost.json
      winner.onnx, network.json      the winner's network for use elsewhere, and what is known of it
      predictions.npz                its predictions of the test samples
      report.html
      logs/                          what workers print
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ml_suite.home import home


@dataclass(frozen=True)
class Folder:
    """The files of one study."""

    root: Path

    @classmethod
    def named(cls, name: str) -> Folder:
        """Folder of a study without one of its own."""
        return cls(home() / "studies" / name)

    @property
    def plan(self) -> Path:
        """The frozen study."""
        return self.root / "plan.json"

    @property
    def members(self) -> Path:
        """Folder with the sample numbers of each part."""
        return self.root / "members"

    @property
    def normalisation(self) -> Path:
        """Mean and standard deviation of the inputs."""
        return self.members / "normalisation.npz"

    def records(self, stage: str) -> list[Path]:
        """Records of one stage, such as step1."""
        return sorted((self.root / stage).glob("*.jsonl"))

    def trial(self, stage: str, trial: int, replicate: int = 0) -> Path:
        """Folder of one training of trainer command."""
        return self.root / stage / "trials" / _name(trial, replicate)

    def weights(self, trial: int, replicate: int = 0) -> Path:
        """Weights of a candidate."""
        return self.root / "weights" / f"{_name(trial, replicate)}.npz"

    def table(self, step: int) -> Path:
        """Result table of one step."""
        return self.root / f"step{step}.csv"

    @property
    def start(self) -> Path:
        """Results of another study that an adaptive sampler is told first."""
        return self.root / "start.jsonl"

    @property
    def shortlist(self) -> Path:
        """Candidates of step 2."""
        return self.root / "shortlist.json"

    @property
    def selection(self) -> Path:
        """The winner."""
        return self.root / "selection.json"

    @property
    def certificate(self) -> Path:
        """Whether the two steps can be trusted."""
        return self.root / "certificate.json"

    @property
    def cost(self) -> Path:
        """What the study cost."""
        return self.root / "cost.json"

    @property
    def network(self) -> Path:
        """The winner's network."""
        return self.root / "winner.onnx"

    @property
    def predictions(self) -> Path:
        """Truth and the winner's prediction of the test samples."""
        return self.root / "predictions.npz"

    @property
    def facts(self) -> Path:
        """What is known of the winner's network."""
        return self.root / "network.json"

    @property
    def outcome(self) -> list[Path]:
        """What follows from the choice of candidates and winner: of another choice it says nothing."""
        return [self.shortlist, self.selection, self.certificate, self.cost, *self.winner, self.report]

    @property
    def winner(self) -> list[Path]:
        """What was made of the winner's weights; what is known of them goes first."""
        return [self.facts, self.network, self.predictions]

    @property
    def report(self) -> Path:
        """Everything for a person to read."""
        return self.root / "report.html"

    @property
    def logs(self) -> Path:
        """What workers print."""
        return self.root / "logs"


def _name(trial: int, replicate: int) -> str:
    return f"{trial:05d}-r{replicate}" if replicate else f"{trial:05d}"
