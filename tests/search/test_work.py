"""Which training comes next."""

from __future__ import annotations

from ml_suite.search.work import Job, Part, Work
from ml_suite.study.contract import HistoryPoint, Rungs, TrialResult, TrialState
from ml_suite.study.stage import Task
from tests.study.results import result

RUNGS = Rungs(at=[1], keep=0.5, cohort=2)


def trained(job: Job, epochs: int = 3) -> Part:
    """A training whose value is its trial's number."""
    last = min(job.until or epochs, epochs)
    history = [HistoryPoint(epoch=i, step=i + 1, value=float(job.task.trial)) for i in range(last)]
    value = float(job.task.trial)
    told = result(job.task.trial, value, best=value, history=history, replicate=job.task.replicate)
    return Part(told, paused=last < epochs)


def through(work: Work) -> tuple[list[int], list[TrialResult]]:
    """Train everything; the order of the jobs and the results."""
    order, results = [], []
    while (job := work.next()) is not None:
        order.append(job.task.trial)
        results += work.ended(job, trained(job))
    return order, results


def tasks(count: int) -> list[Task]:
    return [Task(i, {}) for i in range(count)]


def test_the_most_expensive_comes_first() -> None:
    work = Work(tasks(5), [], None, "minimize", lambda task: [3, 1, 5, 1, 4][task.trial])
    assert through(work)[0] == [2, 4, 0, 1, 3]


def test_a_cohort_that_began_goes_before_a_fresh_one() -> None:
    order, results = through(Work(tasks(6), [], RUNGS, "minimize", lambda task: task.trial))
    assert order == [5, 4, 4, 3, 2, 2, 1, 0, 0]
    assert {r.trial: r.state for r in results} == {
        i: TrialState.PRUNED if i % 2 else TrialState.COMPLETE for i in range(6)
    }


def test_what_is_recorded_decides_with_the_others() -> None:
    _, whole = through(Work(tasks(6), [], RUNGS, "minimize", lambda task: 1))
    for lost in range(6):
        known = [r for r in whole if r.trial != lost]
        order, again = through(Work(tasks(6), known, RUNGS, "minimize", lambda task: 1))
        assert set(order) == {lost}
        assert again == [r for r in whole if r.trial == lost]


def test_a_training_that_went_further_than_its_cut_is_recorded_as_cut() -> None:
    """A state that was kept of a killed run may be ahead."""
    work = Work(tasks(2), [], RUNGS, "minimize", lambda task: 1)
    jobs = [work.next(), work.next()]
    ended: list[TrialResult] = []
    for job in jobs:
        assert job is not None
        ahead = trained(Job(job.task, until=2))
        ended += work.ended(job, Part(ahead.result, paused=True))
    (cut,) = ended
    assert (cut.trial, cut.state, cut.epochs, len(cut.history)) == (1, TrialState.PRUNED, 1, 1)


def test_a_job_that_was_not_begun_comes_again() -> None:
    work = Work(tasks(1), [], None, "minimize", lambda task: 1)
    job = work.next()
    assert job is not None
    assert work.next() is None
    work.back(job)
    assert work.next() == job


def test_replicates_compete_among_themselves() -> None:
    both = [Task(i, {}, replicate) for i in range(2) for replicate in (1, 2)]
    _, results = through(Work(both, [], RUNGS, "minimize", lambda task: 1))
    assert sorted((r.replicate, r.trial, r.state) for r in results) == [
        (n, t, TrialState.PRUNED if t else TrialState.COMPLETE) for n in (1, 2) for t in (0, 1)
    ]
