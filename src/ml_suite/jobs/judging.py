"""Whether the answer of a search can be trusted, and what follows from its pilot; beside the ecFlow server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from ml_suite.config.hpo import Pilot
from ml_suite.errors import StudyError
from ml_suite.jobs import pilot as pilots
from ml_suite.jobs import planning
from ml_suite.jobs.context import Job
from ml_suite.study import budget, cost, piloting
from ml_suite.study import planning as studies
from ml_suite.study.certificate import Certificate, certify
from ml_suite.study.contract import Selection, StudyPlan, TrialResult
from ml_suite.study.dated import DECIDED, DatedPilot, PilotDecision


@dataclass(frozen=True)
class Evidence:
    """What was trained of a study."""

    pilot: piloting.Parts = field(default_factory=dict)
    step1: Sequence[TrialResult] = ()
    step2: Sequence[TrialResult] = ()


def pilot_plan(job: Job, pilot: DatedPilot) -> StudyPlan | None:
    """Leave what the pilot must know; returns the study if nothing, or nothing any more, is left to it.

    Raises
    ------
    StudyError
        If another study has finished trials here.
    """
    pilot.save(job.tree.pilot_plan)
    hpo = job.deployment.hpo
    assert hpo is not None
    if piloting.decided(hpo):
        return planning.settle(job, pilot.plan)
    if made := pilots.decision(job, pilot):
        return planning.settle(job, pilot.decided(made.subset, made.keep))
    if job.tree.plan.exists():
        _require_same(job, pilot)
    return None


def conclude_pilot(job: Job) -> tuple[StudyPlan, PilotDecision, str]:
    """Make the plan that follows from the pilot, and the certificate before the search; its sentence comes last.

    Raises
    ------
    StudyError
        If the pilot has not ended, some of its results are not here, or another study has finished trials here.
    """
    pilot = pilots.planned(job)
    made = pilots.decision(job, pilot)
    if made is None:
        raise StudyError("the pilot has not ended", "Run the task pilot/train again.")
    parts = pilots.parts(job, pilot, made)
    hpo = job.deployment.hpo
    open_ = hpo is not None and not piloting.decided(hpo)
    plan = pilot.decided(made.subset, made.keep) if open_ else pilot.plan
    planning.settle(job, plan)
    judged = certificate(job, plan, Evidence(parts), costs=made.costs)
    judged.save(job.tree.certificate)
    return plan, made, judged.sentence


def evidence(job: Job, plan: StudyPlan, step2: Sequence[TrialResult]) -> Evidence:
    """Put everything together that was trained of a study."""
    return Evidence(_parts(job), planning.results(job, 1, plan.study), step2)


def certificate(
    job: Job,
    plan: StudyPlan,
    found: Evidence,
    selection: Selection | None = None,
    spent: cost.Cost | None = None,
    costs: Sequence[str] = (),
) -> Certificate:
    """Judge from all that was trained.

    Parameters
    ----------
    costs
        What is known of its cost before it is spent.

    Raises
    ------
    StudyError
        If a package is missing.
    """
    aim = (job.deployment.hpo.pilot if job.deployment.hpo else None) or Pilot()
    try:
        return certify(
            plan,
            found.pilot,
            found.step1,
            found.step2,
            selection,
            accepted=aim.regret,
            confidence=aim.confidence,
            share=spent.share if spent else None,
            costs=[*costs, *(budget.overspent(aim.budget, spent) if found.pilot else [])],
        )
    except ModuleNotFoundError as error:
        raise StudyError(
            f"there is no certificate: {error.name} is not installed in {sys.prefix}",
            "Install it there: pip install 'ml-suite[study]'",
        ) from error


def account(job: Job, plan: StudyPlan, found: Evidence) -> cost.Cost:
    """Add up what the study has cost."""
    hpo, usual = job.deployment.hpo, job.deployment.training.resources
    asked = {"step1": hpo.step1.resources, "step2": hpo.step2.resources} if hpo else {}
    gpus = {name: (resources or usual).gpus for name, resources in asked.items()}
    gpus["pilot"] = gpus.get("step1", 0)
    return cost.account(plan, found.step1, found.step2, found.pilot, gpus)


def _parts(job: Job) -> piloting.Parts:
    """Results of the pilot that the study was judged by; none without one: a winner is not lost for want of it."""
    hpo = job.deployment.hpo
    if hpo is None or not piloting.wanted(hpo):
        return {}
    try:
        pilot = pilots.planned(job)
        made = pilots.decision(job, pilot)
        return pilots.parts(job, pilot, made) if made else {}
    except StudyError as error:
        print(f"judged without the pilot: {error.message}", flush=True)
        return {}


def _require_same(job: Job, pilot: DatedPilot) -> None:
    """Refuse another study before the pilot trains anything; what it will decide is left open."""
    old = planning.current(job)
    draft = studies.identified(old.model_copy(update={name: getattr(pilot.plan, name) for name in DECIDED}))
    studies.require_same(draft, pilot.plan, planning.finished(job, old), job.tree.study)
