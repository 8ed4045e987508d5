"""Run the trainings of a stage: what is recorded is not made again, what ends is recorded at once."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event

from ml_suite.errors import StudyError
from ml_suite.search import claim, hands
from ml_suite.search.claim import Shard
from ml_suite.search.crew import Crew, crew
from ml_suite.search.folder import Folder
from ml_suite.search.pool import Bench
from ml_suite.search.work import Part, Work
from ml_suite.study import halving, record
from ml_suite.study.arrays import ArrayPlan
from ml_suite.study.contract import Cuts, TrialResult, TrialState
from ml_suite.study.ranking import rank
from ml_suite.study.stage import Stage, Task
from ml_suite.trainers.mlp import settings
from ml_suite.trainers.outcome import ABSENT, LATE, never_trained

_HOPELESS = 8
"""Trainings that may fail before any trains until the stage gives up."""

_LOOK = 0.2
"""Seconds between two looks whether to stop."""


class Stopped(StudyError):
    """Told to stop; what is recorded stays."""


@dataclass(frozen=True)
class Progress:
    """How far a stage is."""

    stage: str
    done: int
    total: int
    running: int
    """Trainings at hand."""
    share: float
    """Of the expected work."""
    begun: float
    """Share that was done when the stage began, by earlier runs."""
    seconds: float
    """Since the stage began."""
    cpu_seconds: float
    """Of all its trainings so far."""
    best: TrialResult | None = None
    latest: TrialResult | None = None
    states: dict[TrialState, int] = field(default_factory=dict)


Report = Callable[[Progress], None]


def run_stage(
    plan: ArrayPlan,
    folder: Path,
    stage: Stage,
    tasks: Sequence[Task],
    *,
    shard: Shard = (0, 1),
    workers: int,
    stop: Event,
    progress: Report | None = None,
    environment: Path | None = None,
    files: Path | None = None,
    bench: Bench | None = None,
) -> list[TrialResult]:
    """Train what is not recorded yet.

    Parameters
    ----------
    folder
        The study's.
    shard
        Only the cohorts of this shard are trained; it is held as long as that takes.
    workers
        Trainings at once.
    stop
        Set it to stop; trainings at hand are made again next time.
    environment
        Virtual environment of the trainings; default: the usual one.
    files
        Folder of the program of trainer command.
    bench
        Where workers wait from one stage to the next; default: they end with the stage.

    Returns
    -------
    list of TrialResult
        Of all tasks of the shard, by trial and replicate.

    Raises
    ------
    Stopped
        If told to stop.
    StudyError
        If another process holds the shard, nothing can be trained, or a result cannot be recorded.
    """
    mine = of_shard(tasks, stage.rungs, shard)
    where = folder / stage.name
    with claim.claim(where, shard):
        results = _recorded(plan, where, stage, mine)
        run = _Run(plan, stage, folder, mine, results, progress)
        if again := [r for key, r in run.results.items() if results[key] != r]:
            with record.Record(where / f"{claim.name(shard)}.jsonl") as file:
                file.add(again)  # cut by other rungs than before
        if run.left:
            own = Event()  # hands stop at its end, whoever asked for it
            make = hands.maker(plan, folder, stage, shard, own, environment, files, bench)
            states = folder / stage.name / "states" / claim.name(shard)
            with (
                record.Record(where / f"{claim.name(shard)}.jsonl") as file,
                crew(min(workers, run.left), make, own) as team,
            ):
                run.through(file, team, stop)
            shutil.rmtree(states, ignore_errors=True)
        run.tell()
        return [run.results[key] for key in sorted(run.results)]


def of_shard(tasks: Sequence[Task], rungs: Cuts | None, shard: Shard) -> list[Task]:
    return [task for task in tasks if halving.cohort(rungs, task.trial) % shard[1] == shard[0]]


def _recorded(
    plan: ArrayPlan, where: Path, stage: Stage, mine: Sequence[Task]
) -> dict[tuple[int, int], TrialResult]:
    """Return what is recorded and stays; a failed candidate of step 2 is too precious not to be tried again."""
    wanted = {(t.trial, t.replicate) for t in mine}
    found = record.gather(where.glob("*.jsonl"), plan.study).results
    known = {
        (r.trial, r.replicate): r
        for r in found
        if (r.trial, r.replicate) in wanted
        and r.state is not TrialState.PREEMPTED
        and not (stage.step == 2 and r.state is TrialState.FAILED and not r.reason.startswith(LATE))
    }
    # where nothing has trained yet, the failures say nothing about the trials: they run again
    return {} if all(map(never_trained, known.values())) else known


class _Run:
    """One run of a stage."""

    def __init__(
        self,
        plan: ArrayPlan,
        stage: Stage,
        folder: Path,
        tasks: Sequence[Task],
        results: dict[tuple[int, int], TrialResult],
        report: Report | None,
    ) -> None:
        self.plan, self.stage, self.folder, self.report = plan, stage, Folder(folder), report
        self.total = len(tasks)
        self.work = Work(tasks, results.values(), stage.rungs, plan.direction, partial(expected_cost, plan))
        self.results = results = {(r.trial, r.replicate): r for r in self.work.settled}
        self.cost = self.work.cost
        self.whole = sum(self.cost.values()) or 1.0
        self.spent = sum(self.cost[key] for key in results)
        self.begun = self.spent / self.whole
        self.start = time.monotonic()
        self.cpu = sum(r.cpu_seconds or r.seconds for r in results.values())
        self.best = next(iter(rank(results.values(), plan.direction)), None)
        self.running = 0
        self.states: dict[TrialState, int] = {}
        for result in results.values():
            self._count(result)

    @property
    def left(self) -> int:
        """Trainings without a result."""
        return self.total - len(self.results)

    def through(self, file: record.Record, team: Crew, stop: Event) -> None:
        """Give out jobs and record what ends, until nothing is left."""
        self.tell()
        self._give(team)
        while self.left:
            if not team.busy:
                raise StudyError(f"{self.left} trainings of {self.stage.name} are left and none can begin")
            final: list[TrialResult] = []
            error: Exception | None = None
            for done in team.wait(_LOOK):
                error = error or done.error or _full(done.part)
                if done.part is not None and not _full(done.part):
                    final += self.work.ended(done.job, done.part)
                elif done.error is None:
                    self.work.back(done.job)
            if error is None and not stop.is_set():
                self._give(team)  # before what ended is on disk, which takes longer than a small training
            if final:
                file.add(final)
                for result in final:
                    self._account(result)
                self.running = min(team.busy, self.left)
                self.tell(final[-1])
            if isinstance(error, OSError):
                what = f"{error.filename or self.folder.root}: {(error.strerror or str(error)).lower()}"
                raise StudyError(what, "Run it again when that is cured.") from error
            if error is not None:
                raise error
            if final:
                self._require_hope(final)
            if stop.is_set() and self.left:
                raise Stopped(
                    f"stopped: {len(self.results)} of {self.total} trainings of {self.stage.name} are done",
                    "Run it again: it goes on from there.",
                )

    def _give(self, team: Crew) -> None:
        for _ in range(team.room):
            if (job := self.work.next()) is None:
                break
            team.give(job)
        self.running = team.busy

    def _account(self, result: TrialResult) -> None:
        key = result.trial, result.replicate
        self.results[key] = result
        self.spent += self.cost[key]
        self.cpu += result.cpu_seconds or result.seconds
        self._count(result)
        self.best = next(iter(rank([r for r in (self.best, result) if r], self.plan.direction)), None)

    def _count(self, result: TrialResult) -> None:
        self.states[result.state] = self.states.get(result.state, 0) + 1

    def _require_hope(self, final: Sequence[TrialResult]) -> None:
        """Give up where the trainings fail for a reason that has nothing to do with their hyperparameters."""
        absent = next((r for r in final if r.reason.startswith(ABSENT)), None)
        many = len(self.results) >= min(_HOPELESS, self.total)
        if (absent or many) and all(map(never_trained, self.results.values())):
            told = absent or final[-1]
            raise StudyError(
                f"no trial of {self.stage.name} trains; trial {told.trial}: {told.reason}",
                "Set hpo.metric to one of these names." if absent else self._advice(told),
            )

    def _advice(self, told: TrialResult) -> str:
        if self.plan.trainer == "mlp":
            return "Once cured, run it again."
        log = self.folder.trial(self.stage.name, told.trial, told.replicate) / "log.txt"
        return f"Read {log}; once cured, run it again."

    def tell(self, latest: TrialResult | None = None) -> None:
        """Report the progress."""
        if self.report is not None:
            self.report(
                Progress(
                    stage=self.stage.name,
                    done=len(self.results),
                    total=self.total,
                    running=self.running if self.left else 0,
                    share=min(1.0, self.spent / self.whole) if self.left else 1.0,
                    begun=self.begun,
                    seconds=time.monotonic() - self.start,
                    cpu_seconds=self.cpu,
                    best=self.best,
                    latest=latest,
                    states=dict(self.states),
                )
            )


_FULL = ("No space left on device", "Disk quota exceeded", "File too large")


def _full(part: Part | None) -> StudyError | None:
    """Tell a training that failed for want of room on the disk, which says nothing about the trial."""
    if part is None or part.result.state is not TrialState.FAILED:
        return None
    if not any(words in part.result.reason for words in _FULL):
        return None
    told = f"trial {part.result.trial} could not be kept: {part.result.reason}"
    return StudyError(told, "Make room, then run it again: it goes on from what is recorded.")


def expected_cost(plan: ArrayPlan, task: Task) -> float:
    """Expected cost of a training, in any unit; how long a program takes is not known."""
    if plan.trainer != "mlp":
        return 1.0
    try:
        widths = settings.sizes(settings.parse(task.params, plan.settings), *plan.arrays.shape)
    except StudyError:
        return 1.0
    return 1e5 + settings.flops(
        widths, 1, 1
    )  # what a step costs besides its products is that of a small network
