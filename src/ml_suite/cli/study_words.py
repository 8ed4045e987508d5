"""A study in words for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ml_suite.report.words import duration, number
from ml_suite.study.contract import Selection, TrialResult, TrialState

if TYPE_CHECKING:
    from rich.table import Table

    from ml_suite.search.claim import Holder
    from ml_suite.search.look import Known
    from ml_suite.search.network import Network

STYLES = {
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "cyan",
    TrialState.DIVERGED: "yellow",
    TrialState.FAILED: "bold red",
    TrialState.PREEMPTED: "dim",
}


def value(found: Any) -> str:
    """Write a hyperparameter.

    >>> value([8, 16]), value(0.00012345678)
    ('[8, 16]', '0.000123457')
    """
    return f"{found:.6g}" if isinstance(found, float) else str(found)


def params(given: Mapping[str, Any]) -> str:
    """Write hyperparameters on one line, by the last word of their keys."""
    return ", ".join(f"{name.rsplit('.', 1)[-1]} {value(found)}" for name, found in given.items())


def called(trial: int) -> str:
    """Name a trial: its number in step 1, or its place in a narrower second search.

    >>> called(7), called(12_340_003)
    ('7', 'new 3')
    """
    from ml_suite.study.narrow import place

    found = place(trial)
    return str(trial) if found is None else f"new {found}"


def several(count: int, one: str, many: str | None = None) -> str:
    """Write a number and what it counts.

    >>> several(1, "training"), several(0, "training")
    ('1 training', '0 trainings')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def states(counted: Mapping[TrialState, int]) -> str:
    """Write how many trainings ended how."""
    return ", ".join(f"{counted[state]:,} {state}" for state in TrialState if counted.get(state))


def facts(known: Known) -> dict[str, str]:
    """Everything worth a line, by its name."""
    from ml_suite.study.two_step import account, rank

    plan = known.plan
    first = known.of_step(1)
    found = {"study": f"{plan.study}  {plan.metric}, {plan.direction}d, trainer {plan.trainer}"}
    found["step 1"] = f"{len(first):,} of {plan.trials:,} trials: {states(account(first)) or 'none yet'}"
    if known.selection is None and (best := rank(first, plan.direction)[:1]):
        found["best"] = (
            f"{number(best[0].value, 6)} (trial {called(best[0].trial)}: {params(best[0].params)})"
        )
    if known.shortlist is not None:
        found["step 2"] = candidates(known)
    if known.selection is not None:
        found |= winner(known.selection, known.network)
    if known.cost is not None:
        found["cost"] = cost(known)
    if known.certificate is not None:
        found["certificate"] = known.certificate.sentence
        found |= {f"warning {i}": text for i, text in enumerate(known.certificate.warnings, start=1)}
    return found


def brief(known: Known) -> str:
    """Write on one line how far a study is."""
    from ml_suite.search import claim

    if known.selection is not None:
        text = (
            f"{known.plan.metric} {number(known.selection.value, 6)} (trial {called(known.selection.trial)})"
        )
    else:
        text = f"{len(known.of_step(1)):,} of {several(known.plan.trials, 'trial')} of step 1"
    holders = claim.holders(known.folder.root)
    running = (
        "running"
        if any(holder.here for holder in holders)
        else f"claimed on {holders[0].host}"
        if holders
        else ""
    )
    return ", ".join(filter(None, [text, running]))


def candidates(known: Known) -> str:
    """Write how many trainings of step 2 have ended, of what and how."""
    from ml_suite.study.two_step import account

    chosen = known.shortlist.candidates if known.shortlist else []
    choice = known.plan.choice
    controls = sum(c.role == "control" for c in chosen)
    drawn = sum(c.role == "narrowed" for c in chosen)
    more = choice.again(len(chosen) - controls)
    parts = [several(len(chosen) - controls - drawn, "candidate")]
    parts += [f"{drawn:,} drawn between the best of step 1"] if drawn else []
    parts += [several(controls, "control")] if controls else []
    parts += [f"{more:,} with other seeds"] if more else []
    second = known.of_step(2)
    wanted = {(c.trial, 0) for c in chosen} | _again(known)
    ended = [r for r in second if (r.trial, r.replicate) in wanted]
    text = f"{len(ended):,} of {several(len(chosen) + more, 'training')} ({', '.join(parts)})"
    earlier = f"; {len(second) - len(ended):,} more of an earlier choice" if len(second) > len(ended) else ""
    return f"{text}: {states(account(ended)) or 'none yet'}{earlier}"


def _again(known: Known) -> set[tuple[int, int]]:
    """Trainings of finalists with other seeds; none before it is known who they are."""
    from ml_suite.errors import StudyError
    from ml_suite.study.two_step import finalists

    if known.shortlist is None:
        return set()
    try:
        trials = finalists(known.plan, known.shortlist, known.of_step(2))
    except StudyError:
        return set()
    return {(trial, seed) for trial in trials for seed in range(1, known.plan.choice.replicates)}


def winner(selection: Selection, network: Network | None) -> dict[str, str]:
    """Write what won."""
    result = selection.result
    seconds = network.seconds.get("1") if network else result.inference_seconds
    seeds = f", {selection.judged}" if selection.judged else ""
    first = f" (step 1: {number(selection.step1_value, 6)})" if selection.step1_value is not None else ""
    told = {
        "winner": f"trial {called(selection.trial)}: {result.metric} {number(selection.value, 6)}{seeds}{first}",
        "": params(selection.params),
    }
    if selection.reason:
        told["chosen"] = selection.reason
    if selection.warnings:
        told["doubt"] = "; ".join(selection.warnings)
    size = [f"{result.parameters:,} parameters"] if result.parameters else []
    if seconds:
        size.append(f"{seconds * 1e6:.3g} µs for one sample on one core")
    if size:
        told["size"] = ", ".join(size)
    if (test := result.metrics.get("test_loss")) is not None:
        told["test"] = f"test_loss {number(test, 6)}, on samples that decided nothing"
    return told


def cost(known: Known) -> str:
    """Write what the study cost, and against one step."""
    spent = known.cost
    if spent is None:
        return ""
    text = f"{duration(spent.seconds)} of training"
    if spent.share is not None and spent.one_step_seconds is not None:
        text += (
            f": {spent.share:.1%} of the {duration(spent.one_step_seconds)} that training every trial on everything "
            "would take"
        )
    return text


def running(at_work: Sequence[tuple[Holder, float | None]]) -> dict[str, str]:
    """Write who works on a study, by a name for each line."""
    told = {}
    for i, (holder, left) in enumerate(at_work):
        stage = holder.stage.replace("step", "step ").replace("/", " ")
        shard = f", shard {holder.shard[0] + 1}/{holder.shard[1]}" if holder.shard[1] > 1 else ""
        since = f"since {holder.since:%Y-%m-%d %H:%M:%S} UTC"
        if holder.here:
            rest = f", about {duration(left)} left of it" if left is not None else ""
            text = f"{stage}{shard}, by process {holder.process} {since}{rest}"
        else:
            text = f"unknown: {stage}{shard} is claimed by process {holder.process} on {holder.host} {since}"
        told[f"running{f' {i + 1}' if len(at_work) > 1 else ''}"] = text
    return told or {"running": "no"}


def files(known: Known) -> dict[str, str]:
    """Paths that a person may want, by what they are."""
    from ml_suite.cli.options import shown

    folder = known.folder
    named = {
        "report": folder.report,
        "network": folder.network,
        "tables": folder.table(1),
        "folder": folder.root,
    }
    return {what: shown(path) for what, path in named.items() if path.exists()}


def facts_table(found: Mapping[str, str]) -> Table:
    """Facts as two columns."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in found.items():
        # what a study says is text, not markup
        table.add_row(name, Text(text, style="green" if name == "winner" else ""))
    return table


def trials_table(results: list[TrialResult]) -> Table:
    """Trainings as rows."""
    from rich.table import Table
    from rich.text import Text

    names = list(dict.fromkeys(name for r in results for name in r.params))
    sized = any(r.parameters for r in results)
    again = any(r.replicate for r in results)
    table = Table(box=None, pad_edge=False, header_style="bold")
    head = ["step", "trial", *(["seed"] if again else []), "state", results[0].metric if results else "value"]
    for name in [*head, *(["parameters"] if sized else []), "epochs", "time"]:
        table.add_column(name, justify="left" if name == "state" else "right")
    for name in names:
        table.add_column(Text(name.rsplit(".", 1)[-1]), overflow="fold")
    for r in results:
        cells: list[Any] = [r.step, called(r.trial), *([r.replicate] if again else [])]
        row = [Text(str(cell)) for cell in cells]
        row += [Text(r.state.value, STYLES[r.state]), Text(number(r.value, 6))]
        row += [Text(f"{r.parameters or '':,}" if r.parameters else "")] if sized else []
        row += [Text(str(r.epochs or "")), Text(duration(r.seconds))]
        row += [Text(value(r.params[name]) if name in r.params else "") for name in names]
        table.add_row(*row)
    return table
