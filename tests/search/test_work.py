"""Which training comes next."""

from __future__ import annotations

from ml_suite.search.work import Job, Part, Work
from ml_suite.study.contract import Cuts, HistoryPoint, Rungs, TrialResult, TrialState
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


CUTS = Cuts(at=[1, 2], keep=0.5)


def candidates(count: int) -> list[Task]:
    """The better ones have the lower numbers; the last one is a control."""
    return [*tasks(count), Task(count, {}, alone=True)]


def searched(tasks: list[Task], done: list[TrialResult] | None = None) -> tuple[list[int], list[TrialResult]]:
    """Train candidates; the jobs, and all results."""
    work = Work(tasks, done or [], CUTS, "minimize", lambda task: 1)
    order, results = [], list(work.settled)
    while (job := work.next()) is not None:
        order.append(job.task.trial)
        part = trained(job)
        told = part.result.model_copy(update={"step": 2, "epochs": len(part.result.history)})
        results += work.ended(job, Part(told, part.paused))
    return order, sorted(results, key=lambda r: r.trial)


def states(results: list[TrialResult]) -> str:
    return "".join(r.state.value[0] + str(r.epochs) for r in results)


def test_all_candidates_compete_and_a_control_does_not() -> None:
    order, results = searched(candidates(8))
    assert states(results) == "c3c3p2p2p1p1p1p1c3"
    assert order.count(8) == 1
    again = [Task(0, {}, 1, alone=True), Task(1, {}, 1, alone=True)]
    order, more = searched([*candidates(8), *again], results)
    assert order == [0, 1]
    assert {r.state for r in more if r.replicate} == {TrialState.COMPLETE}


def test_a_lost_candidate_is_trained_again_to_the_same_results() -> None:
    _, whole = searched(candidates(8))
    for lost in range(9):
        order, again = searched(candidates(8), [r for r in whole if r.trial != lost])
        assert set(order) == {lost}
        assert again == whole


def test_more_candidates_let_some_go_on_that_were_cut() -> None:
    """As many go on as would have from the start; who was trained to the end stays."""
    _, whole = searched(candidates(12))
    known = [r for r in searched(tasks(5))[1]]
    assert states(known) == "c3c3p2p1p1"
    order, more = searched(candidates(12), known)
    assert states(more) == states(whole) == "c3c3c3p2p2p2p1p1p1p1p1p1c3"
    assert not {0, 1} & set(order)
    assert len(searched(tasks(5), more)[0]) == 0


def test_without_rungs_what_was_cut_is_trained_to_its_end() -> None:
    _, known = searched(tasks(4))
    work = Work(tasks(4), known, None, "minimize", lambda task: 1)
    assert [r.trial for r in work.settled] == [0]
    assert sorted(through(work)[0]) == [1, 2, 3]
