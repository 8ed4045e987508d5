"""Adaptive sampling in rounds: one task asks a sampler of Optuna for the trials of a round, all hosts read its answer.

What is asked is a function of the plan and of the results of the rounds before, and is written to ``draws/ROUND.json``
of the study's folder before anything of it is trained. What is written there counts, and is never asked again: so
trials stay what they are when a sampler changes between versions, and a round that was killed goes on.

Optuna 5 (Akiba et al. 2019, doi:10.1145/3292500.3330701). The trials of a round do not know each other's results; its
samplers keep them apart (constant liar).
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ml_suite.errors import StudyError
from ml_suite.study import distributions, optuna_export, sampling, space
from ml_suite.study.contract import Document, SearchPlan, TrialResult, TrialState
from ml_suite.study.space import Space
from ml_suite.study.trials import OPTUNA, drawing

ATTEMPTS = 30
"""Suggestions for a trial until one fulfils the constraints and is new; then it is drawn at random."""


class Draws(Document):
    """draws/ROUND.json: hyperparameters of the trials of a round."""

    study: str
    round: int
    sampler: str
    software: str
    """Version of Optuna."""
    seen: int
    """Results that it was told."""
    trials: dict[int, dict[str, Any]]


def file(folder: Path, number: int) -> Path:
    """Where the draws of a round are, below a study's folder."""
    return folder / "draws" / f"{number:03d}.json"


def known(folder: Path, plan: SearchPlan) -> list[Draws]:
    """All rounds that were asked for, in order.

    Raises
    ------
    StudyError
        If they belong to another study.
    """
    found: list[Draws] = []
    while (path := file(folder, len(found))).exists():
        try:
            draws = Draws.load(path)
        except ValueError as error:
            raise StudyError(
                f"{path} cannot be read", "Restore it, or start the study in a new folder."
            ) from error
        if draws.study != plan.study or draws.round != len(found):
            raise StudyError(
                f"{path} belongs to round {draws.round} of study {draws.study}, not of {plan.study}",
                "Move the folder `draws` away, or choose another folder for this study.",
            )
        found.append(draws)
    return found


def parameters(rounds: Sequence[Draws]) -> dict[int, dict[str, Any]]:
    """Hyperparameters of all trials that were drawn, for `ml_suite.study.trials.parameters`."""
    return {trial: params for draws in rounds for trial, params in draws.trials.items()}


def batch(plan: SearchPlan, number: int, drawn: int) -> list[int]:
    """Trials of a round; none when all are drawn.

    Rounds are equally large. When more trials are asked for later, the rounds that are left share them, or they are one
    more. Trials that compete in a cohort are drawn together.
    """
    left = plan.trials - drawn
    size = -(-left // max(1, plan.rounds - number))
    if plan.rungs is not None:
        cohort = plan.rungs.cohort
        size = -(-size // cohort) * cohort
    return list(range(drawn, min(drawn + size, plan.trials)))


def settle(
    plan: SearchPlan,
    folder: Path,
    number: int,
    results: Sequence[TrialResult],
    start: Sequence[TrialResult] = (),
) -> Draws | None:
    """Trials of a round: as written, or asked for and written now.

    Parameters
    ----------
    folder
        The study's.
    results
        Of step 1; those of later rounds are passed over.
    start
        Of another study, which the sampler is told first as far as they lie in the space.

    Returns
    -------
    Draws or None
        None when earlier rounds have all trials.

    Raises
    ------
    StudyError
        If an earlier round is not asked for or not trained, or the sampler cannot be used.
    """
    rounds = known(folder, plan)
    if number < len(rounds):
        return rounds[number]
    if number > len(rounds):
        raise StudyError(f"round {number} comes after round {len(rounds)}, which is not drawn yet")
    drawn = parameters(rounds)
    trials = batch(plan, number, len(drawn))
    if not trials:
        return None
    ended = {r.trial: r for r in results if r.step == 1 and r.state is not TrialState.PREEMPTED}
    if missing := sorted(set(drawn) - set(ended)):
        few = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
        raise StudyError(
            f"round {number} is drawn from the results of the rounds before, and {len(missing)} trials of them have "
            f"none: {few}",
            "Run step 1 again: it goes on with them.",
        )
    told = [*fitting(plan, start), *(ended[trial] for trial in sorted(drawn))]
    draws = Draws(
        study=plan.study,
        round=number,
        sampler=sampler(plan),
        software=_version(),
        seen=len(told),
        trials=ask(plan, number, trials, told),
    )
    return _published(file(folder, number), draws)


def _version() -> str:
    try:
        return version("optuna")
    except PackageNotFoundError:
        return "not installed"


def fitting(plan: SearchPlan, results: Sequence[TrialResult]) -> list[TrialResult]:
    """Results of another study whose hyperparameters lie in the plan's space."""
    if not results:
        return []
    ready = space.build(space.parse(plan.space), plan.constraints)
    return [result for result in results if distributions.inside(ready, result.params)]


def ask(
    plan: SearchPlan, number: int, trials: Sequence[int], before: Sequence[TrialResult]
) -> dict[int, dict[str, Any]]:
    """Ask for the hyperparameters of trials; the same question has the same answer.

    A round of which nothing is known before is a Sobol sequence.

    Raises
    ------
    StudyError
        If the sampler needs a package that is missing, or no draw fulfils the constraints.
    """
    ready = space.build(space.parse(plan.space), plan.constraints)
    if not before:
        draw = drawing(plan.space, plan.constraints, "sobol", plan.seed)
        return {trial: draw(trial) for trial in trials}
    taken = [result.params for result in before]
    found: dict[int, dict[str, Any]] = {}
    with _asking(plan, number, ready, before) as study:
        for trial in trials:
            found[trial] = _new(study, ready, plan.seed, trial, taken)
            taken.append(found[trial])
    return found


def _new(study: Any, ready: Space, seed: int, trial: int, taken: list[dict[str, Any]]) -> dict[str, Any]:
    from optuna.trial import TrialState as Theirs

    for _ in range(ATTEMPTS):
        suggested = study.ask()
        values = distributions.ask(ready, suggested)
        if ready.allows(values) and values not in taken:
            return values  # it stays running in their eyes
        study.tell(suggested, state=Theirs.FAIL)
    return sampling.draw(ready, f"{seed}/again", trial)


@contextmanager
def _asking(plan: SearchPlan, number: int, ready: Space, before: Sequence[TrialResult]) -> Iterator[Any]:
    name = sampler(plan)
    digest = hashlib.sha256(f"{plan.seed}/round/{number}".encode()).digest()
    with optuna_export.quiet():
        import optuna

        try:
            told = optuna_export.trials(ready, _bounded(before, plan.direction))
            study = optuna.create_study(
                direction=plan.direction, sampler=_made(name, int.from_bytes(digest[:4], "big"), told)
            )
            study.add_trials(told)
            yield study
        except ImportError as error:
            package = error.name or "one of its own"
            raise StudyError(
                f"sampling with optuna: {name} needs a package that is not installed: {package}",
                f"Install it beside ml-suite: {sys.executable} -m pip install {package}    Or write optuna: tpe",
            ) from error


def sampler(plan: SearchPlan) -> str:
    """Name of the plan's adaptive sampler.

    Raises
    ------
    StudyError
        If it has none.
    """
    if not plan.sampling.startswith(OPTUNA):
        raise StudyError(f"sampling {plan.sampling} asks nobody", "Write sampling: {optuna: tpe, rounds: 4}.")
    return plan.sampling.removeprefix(OPTUNA)


def _made(name: str, seed: int, told: Sequence[Any]) -> Any:
    from optuna import samplers

    if name == "tpe":
        return samplers.TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
    if name == "gp":
        return samplers.GPSampler(seed=seed, warn_independent_sampling=False)
    if name == "cmaes":
        # it does not go on from trials that are given to it, but it can start where they were good
        start = _numeric(told) or None
        return samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False, source_trials=start)
    if name == "random":
        return samplers.RandomSampler(seed=seed)
    raise StudyError(f"there is no adaptive sampler {name}", "Write one of tpe, gp, cmaes, random.")


def _numeric(told: Sequence[Any]) -> list[Any]:
    """Complete trials with nothing but the numbers that all of them have; none where there are no such numbers."""
    from optuna.distributions import CategoricalDistribution
    from optuna.trial import TrialState as Theirs
    from optuna.trial import create_trial

    complete = [trial for trial in told if trial.state is Theirs.COMPLETE]
    names = [
        name
        for name, distribution in (complete[0].distributions if complete else {}).items()
        if all(name in trial.params for trial in told)
        and not isinstance(distribution, CategoricalDistribution)
        and not distribution.single()
    ]
    return [
        create_trial(
            value=trial.value,
            params={name: trial.params[name] for name in names},
            distributions={name: trial.distributions[name] for name in names},
        )
        for trial in complete
        if names
    ]


def _bounded(results: Sequence[TrialResult], direction: str) -> list[TrialResult]:
    """Let what diverged count as bad as the worst that did not, so that it is not tried again."""
    values = [r.value for r in results if r.state is TrialState.COMPLETE and r.value is not None]
    if not values:
        return list(results)
    worst = max(values) if direction == "minimize" else min(values)
    bad = {"state": TrialState.COMPLETE, "value": worst, "history": []}
    return [r.model_copy(update=bad) if r.state is TrialState.DIVERGED else r for r in results]


def _published(path: Path, draws: Draws) -> Draws:
    """Write once; of two tasks that ask at the same time the first one counts."""
    mine = path.with_name(f".{path.name}.{os.getpid()}.new")
    draws.save(mine)
    try:
        os.link(mine, path)
    except FileExistsError:
        return Draws.load(path)
    except OSError:  # a file system without links
        if path.exists():
            return Draws.load(path)
        mine.replace(path)
    finally:
        mine.unlink(missing_ok=True)
    return draws
