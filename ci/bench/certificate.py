#!/usr/bin/env python3
"""Is the certificate right? Two-step searches on three data sets, their regret predicted, then looked up in the truth.

usage: ci/bench/certificate.py [--quick] [--data NAME ...] [--seeds N]

The truth: every one of 400 small networks trained on everything, the best of them with several seeds. Then for each
seed a pilot, `subset: auto` and `keep: auto` within 10 % of the cost of the one step, rungs in both steps, and
replicates of the finalists, all with trainings of their own. A case is covered when the realised regret lies in the
interval that the pilot predicted. Prints a line for each case, and::

    RATIO certificate coverage: COVERED / CASES = X
    RATIO certificate regret: WINNER / BEST = X        (medians, spread)
    RATIO certificate cost: STUDY / ONE STEP = X

The constants of the certificate were set on another data set (`--data friedman`). Trainings are kept in the cache, so
only the first run takes long.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from nets import DATA, SPACE, Nets, Trained

from ml_suite.study import certificate, chooser, cost, evidence, halving, payable, ranking, speed
from ml_suite.study.certificate import Certificate
from ml_suite.study.chooser import Aim, Decision, Part
from ml_suite.study.contract import (
    Choice,
    Cuts,
    HistoryPoint,
    Rungs,
    SearchPlan,
    Selection,
    TrialResult,
    TrialState,
)
from ml_suite.study.halving import Course

VALIDATED = ("aerosol", "evaporation", "digits")
RUNGS = Rungs(at=[2, 4, 12], keep=0.5, cohort=16)
CUTS = Cuts(at=[12, 18], keep=0.5)
"""Among the candidates of step 2."""
FINALISTS, REPLICATES = 3, 2
WHEN = datetime(2026, 1, 1, tzinfo=UTC)
FULL = 1000
"""Seeds of the truth begin here."""


@dataclass(frozen=True)
class Setting:
    """How large the bench is."""

    trials: int = 400
    configurations: int = 24
    contenders: int = 60
    """Trials of the truth that are trained twice."""
    finalists: int = 16
    """Trials of the truth that are trained seven times."""
    budget: float = 0.1
    accepted: float = 0.1
    confidence: float = 0.9


@dataclass(frozen=True)
class Case:
    """One search."""

    data: str
    seed: int
    share: float
    kept: int
    regret: float
    """1 is the best."""
    candidates: float
    """Regret of the best candidate: what no naming could better."""
    high: float
    """Upper end of the predicted interval."""
    judged: float
    """Upper end of the interval after step 2."""
    cost: float
    sentence: str
    verdict: str
    lucky: float
    """Regret of what the one step would have named."""

    @property
    def covered(self) -> bool:
        """Whether the interval held."""
        return self.regret <= 1 + self.high


class Truth:
    """Mean value of each trial on everything."""

    def __init__(self, nets: Nets, setting: Setting) -> None:
        self.nets, self.setting = nets, setting
        every = range(setting.trials)
        self.values = {i: [self._one(i, 1)] for i in every}
        for limit, seeds in ((setting.contenders, [2]), (setting.finalists, [3, 4, 5, 6, 7])):
            for i in self.ranked()[:limit]:
                self.values[i] += [self._one(i, seed) for seed in seeds]
        self.best = min(statistics.fmean(self.values[i]) for i in self.ranked()[: setting.finalists])
        self.one_step = sum(nets.train(i, 1.0, 0, FULL + 1).seconds for i in every)
        """CPU-seconds of training every trial once."""

    def ranked(self) -> list[int]:
        """Trials by mean value."""
        return sorted(self.values, key=self.mean)

    def mean(self, trial: int) -> float:
        """Mean value of a trial over its trainings so far."""
        return statistics.fmean(self.values[trial])

    def regret(self, trial: int) -> float:
        """Value of a trial relative to the best; it is trained as often as those."""
        for seed in range(len(self.values[trial]) + 1, 8 if self.setting.trials > 100 else 3):
            self.values[trial].append(self._one(trial, seed))
        return self.mean(trial) / self.best

    def lucky(self) -> float:
        """Regret of the best single training, which is what one step would name."""
        named = min(self.values, key=lambda i: self.values[i][0])
        others = self.values[named][1:] or self.values[named]
        return statistics.fmean(others) / self.best

    def _one(self, trial: int, seed: int) -> float:
        return self.nets.train(trial, 1.0, 0, FULL + seed).best


class Searcher:
    """One two-step search with trainings of its own."""

    def __init__(self, nets: Nets, setting: Setting, seed: int) -> None:
        self.nets, self.setting, self.seed = nets, setting, seed
        self.spent = {"pilot": 0.0, "step1": 0.0, "step2": 0.0}
        # another part of the trials in each pilot, so that cases differ in it too
        mixed = np.random.default_rng(seed).permutation(setting.trials)
        self.configurations = sorted(int(i) for i in mixed[: setting.configurations])
        self.aim = Aim(
            trials=setting.trials,
            configurations=setting.configurations,
            budget=setting.budget,
            regret=setting.accepted,
            confidence=setting.confidence,
            first=chooser.first_share(nets.data.samples, nets.data.batch),
            extra=FINALISTS * (REPLICATES - 1),
            finalists=FINALISTS,
            replicates=REPLICATES,
            left=cost.epochs_left(RUNGS, nets.data.epochs),
            cuts=CUTS,
            length=nets.data.epochs,
        )

    def run(self, truth: Truth) -> Case:
        """Pilot, step 1, step 2, and what is said of them."""
        parts, decision = self._pilot()
        option = decision.option
        share, planned = (option.share, option.kept) if option else (self.aim.first, 4)
        first = self._step1(share)
        rate = speed.fitted(parts, "minimize")
        assert rate is not None
        spent = payable.Spent(parts, share, first, speed.wall)
        kept = payable.kept(self.aim, rate, spent, planned, decision.good, "minimize")
        usable = sorted((r for r in first if r.state is TrialState.COMPLETE), key=lambda r: r.value or 0.0)
        second = self._step2([r.trial for r in usable[:kept]])
        means = {
            t: ranking.judged({r.replicate: r.value or 0.0 for r in second if r.trial == t})
            for t in {r.trial for r in second if r.replicate}
        }
        winner = min(means, key=lambda t: means[t])
        told = self._certificate(share, kept, parts, first, second, winner)
        return Case(
            data=self.nets.data.name,
            seed=self.seed,
            share=share,
            kept=kept,
            regret=truth.regret(winner),
            candidates=min(truth.mean(r.trial) for r in second) / truth.best,
            high=told.regret.high if told.regret else float("nan"),
            judged=told.realised.high if told.realised else float("nan"),
            cost=sum(self.spent.values()) / truth.one_step,
            sentence=told.sentence,
            verdict=told.verdict,
            lucky=truth.lucky(),
        )

    def _pilot(self) -> tuple[dict[tuple[float, int], list[TrialResult]], Decision]:
        parts: dict[tuple[float, int], list[TrialResult]] = {}
        while True:
            sizes, scale = evidence.gather(parts, "minimize", (), RUNGS, CUTS)
            rate = speed.fitted(parts, "minimize")
            asked = chooser.after(sizes, self.aim, rate, self.spent["pilot"], scale)
            if isinstance(asked, Decision):
                return parts, asked
            chosen = asked.trials or self.configurations
            parts[asked.share, asked.replicate] = [self._of_pilot(asked, i) for i in chosen]

    def _of_pilot(self, part: Part, trial: int) -> TrialResult:
        draw = 10 * self.seed + part.replicate + 1
        found = self.nets.train(trial, part.share, draw, 100 + draw)
        self.spent["pilot"] += found.seconds
        return result(trial, 1, found, part.replicate)

    def _step1(self, share: float) -> list[TrialResult]:
        """Train everything to the end, and let rungs say how far each would have gone: the same values and cost."""
        results: list[TrialResult] = []
        draw, every = 10 * self.seed, range(self.setting.trials)
        for start in range(0, self.setting.trials, RUNGS.cohort):
            cohort = [i for i in every[start : start + RUNGS.cohort]]
            found = {i: self.nets.train(i, share, draw, 100 + draw) for i in cohort}
            ends = halving.ends({i: Course(points(found[i])) for i in cohort}, RUNGS, "minimize")
            results += [result(i, 1, found[i], until=ends.get(i)) for i in cohort]
        self.spent["step1"] += sum(r.seconds for r in results)
        return results

    def _step2(self, candidates: Sequence[int]) -> list[TrialResult]:
        found = {i: self._full(i, 0) for i in candidates}
        ends = halving.ends({i: Course(points(f)) for i, f in found.items()}, CUTS, "minimize")
        results = [result(i, 2, f, until=ends.get(i)) for i, f in found.items()]
        best = ranking.rank(results, "minimize")[:FINALISTS]
        again = range(1, REPLICATES)
        results += [result(r.trial, 2, self._full(r.trial, n), n) for r in best for n in again]
        self.spent["step2"] += sum(r.seconds for r in results)
        return results

    def _full(self, trial: int, replicate: int) -> Trained:
        return self.nets.train(trial, 1.0, 0, 200 + 10 * self.seed + replicate)

    def _certificate(
        self,
        share: float,
        kept: int,
        parts: dict[tuple[float, int], list[TrialResult]],
        first: list[TrialResult],
        second: list[TrialResult],
        winner: int,
    ) -> Certificate:
        plan = search_plan(self.setting, self.nets, share, kept)
        won = next(r for r in second if r.trial == winner)
        named = Selection(
            study=plan.study,
            trial=winner,
            step=2,
            params={},
            value=won.value or 0.0,
            step1_value=None,
            result=won,
        )
        return certificate.certify(
            plan,
            parts,
            first,
            second,
            named,
            accepted=self.setting.accepted,
            confidence=self.setting.confidence,
        )


def result(
    trial: int, step: int, found: Trained, replicate: int = 0, until: int | None = None
) -> TrialResult:
    """Training as a result of a study, cut after UNTIL epochs."""
    value = min(found.history[:until])
    finite = value < float("inf")
    good = TrialState.COMPLETE if until is None else TrialState.PRUNED
    return TrialResult(
        study="bench",
        trial=trial,
        step=1 if step == 1 else 2,
        replicate=replicate,
        state=good if finite else TrialState.DIVERGED,
        params={},
        metric="val_loss",
        value=value if finite else None,
        history=points(found)[:until],
        epochs=until or len(found.history),
        parameters=found.parameters,
        seconds=found.seconds * (until or len(found.history)) / len(found.history),
        started=WHEN,
        ended=WHEN,
        host="bench",
    )


def points(found: Trained) -> list[HistoryPoint]:
    """History of a training; a NaN is worse than everything."""
    return [
        HistoryPoint(epoch=e, step=e, value=v if v < float("inf") else 1e30)
        for e, v in enumerate(found.history)
    ]


def search_plan(setting: Setting, nets: Nets, share: float, kept: int) -> SearchPlan:
    """Plan of a search, as far as the certificate needs it."""
    return SearchPlan(
        study="bench",
        suite=nets.data.name,
        metric="val_loss",
        direction="minimize",
        seed=0,
        space=SPACE,
        trials=setting.trials,
        keep=kept,
        subset=share,
        shards=1,
        epochs={"step1": nets.data.epochs, "step2": nets.data.epochs},
        rungs=RUNGS,
        choice=Choice(finalists=FINALISTS, replicates=REPLICATES, rungs=CUTS),
        trainer="mlp",
        software={},
    )


def searches(name: str, seeds: int, setting: Setting) -> list[Case]:
    """All cases of one data set."""
    nets = Nets(DATA[name])
    try:
        truth = Truth(nets, setting)
        cases = []
        for seed in range(seeds):
            cases.append(Searcher(nets, setting, seed).run(truth))
            show(cases[-1])
        return cases
    finally:
        nets.close()


def show(case: Case) -> None:
    """Print one case."""
    print(
        f"{case.data:12} seed {case.seed}: {100 * case.share:g} %, keep {case.kept:2}: regret {case.regret:.3f} "
        f"(best kept {case.candidates:.3f}), predicted at most {1 + case.high:.3f}"
        f"{'' if case.covered else ' MISSED'}, judged after step 2 {1 + case.judged:.3f}, "
        f"cost {100 * case.cost:.1f} %, {case.verdict}; one step {case.lucky:.3f}",
        flush=True,
    )


def report(cases: Sequence[Case]) -> bool:
    """Print the ratios; whether all goals are met."""
    covered = sum(c.covered for c in cases)
    judged = sum(c.regret <= 1 + c.judged for c in cases)
    regrets, costs = [c.regret for c in cases], [c.cost for c in cases]
    high = [1 + c.high for c in cases]
    print(f"RATIO certificate coverage: {covered} / {len(cases)} = {covered / len(cases):.2f}")
    print(f"after step 2: {judged} / {len(cases)} = {judged / len(cases):.2f}")
    print(f"predicted at most: median {statistics.median(high):.3f}, from {min(high):.3f} to {max(high):.3f}")
    print(
        f"RATIO certificate regret: winner / true best = {statistics.median(regrets):.3f} (median; from "
        f"{min(regrets):.3f} to {max(regrets):.3f}; above 1.10 in {sum(r > 1.1 for r in regrets)} of {len(cases)})"
    )
    print(f"one training of every trial on everything: {statistics.median([c.lucky for c in cases]):.3f}")
    print(
        f"RATIO certificate cost: study / one step = {statistics.median(costs):.3f} (median; from {min(costs):.3f} to "
        f"{max(costs):.3f})"
    )
    for case in cases:
        if not case.covered or case.regret > 1.1 or case.cost > 0.1:
            found = f"regret {case.regret:.3f}, predicted at most {1 + case.high:.3f}, cost {case.cost:.3f}"
            print(f"MISS {case.data} seed {case.seed}: {found}")
    return covered >= 0.9 * len(cases) and max(regrets) <= 1.1 and max(costs) <= 0.1


def main() -> int:
    """Run the bench; exit code 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description="Predicted regret of two-step searches against the truth.")
    parser.add_argument("--data", nargs="+", choices=sorted(DATA), default=VALIDATED)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--quick", action="store_true", help="a small search of one data set and one seed, to try"
    )
    chosen = parser.parse_args()
    setting = (
        Setting(trials=48, configurations=10, contenders=6, finalists=3, budget=0.9)
        if chosen.quick
        else Setting()
    )
    names, seeds = (["friedman"], 1) if chosen.quick else (chosen.data, chosen.seeds)
    cases = [case for name in names for case in searches(name, seeds, setting)]
    good = report(cases)
    return 0 if good or chosen.quick else 1


if __name__ == "__main__":
    sys.exit(main())
