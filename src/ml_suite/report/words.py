"""Numbers and states in words, the same in the terminal and on the page; pure."""

from __future__ import annotations

from ml_suite.evaluation.scores import mean_skill
from ml_suite.report.model import Report
from ml_suite.study.verdicts import upward


def number(value: float | None, digits: int = 5) -> str:
    """Write a number for a person; nothing for None.

    >>> number(0.141200900)
    '0.1412'
    >>> number(None)
    ''
    """
    return "" if value is None else f"{value:.{digits}g}"


def tied(text: str) -> str:
    """Keep a number and its per cent sign on one line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


def regret(value: float, relative: bool) -> str:
    """Write a loss against the best.

    >>> regret(0.0412, True), regret(4.94, True), regret(0.0412, False)
    ('4.1 %', '494 %', '0.0412')
    """
    if not relative:
        return number(value, 3)
    percent = 100 * value
    return f"{percent:,.0f} %" if percent >= 10 else f"{number(percent, 2)} %"


def bound(value: float, relative: bool) -> str:
    """Write the end of an interval as the certificate's sentence does: rounded up.

    >>> bound(0.0412, True), bound(0.1002, True), bound(0.0412, False)
    ('4.2 %', '10.1 %', '0.0412')
    """
    return upward(max(0.001, value)) if relative else number(value, 3)


def stated(value: float, relative: bool) -> str:
    """Write what a study file says, as it says it.

    >>> stated(0.125, True), stated(0.1, False)
    ('12.5 %', '0.1')
    """
    return f"{100 * value:.6g} %" if relative else f"{value:.6g}"


def duration(seconds: float | None) -> str:
    """Write a time span for a person.

    >>> duration(5025)
    '1 h 24 min'
    >>> duration(267)
    '4 min 27 s'
    >>> duration(42.31), duration(0.0312)
    ('42 s', '31 ms')
    """
    if seconds is None:
        return ""
    if 0 < seconds < 0.95:
        thousandths = 1000 * seconds
        return f"{thousandths:.0f} ms" if thousandths >= 10 else f"{thousandths:.2g} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"


def headline(report: Report) -> str:
    """What the study says, in one sentence."""
    winner = report.winner
    if winner is None:
        done = sum(account.planned - account.states.get("not run", 0) for account in report.account)
        planned = sum(account.planned for account in report.account)
        return f"No winner yet: {done} of {planned} trainings have a result."
    value = f"{report.metric} {number(winner.value if report.value is None else report.value)}"
    if winner.step == 0:
        return f"The training reached {value}."
    first = (
        f" ({number(report.step1_value)} on the subset in step 1)" if report.step1_value is not None else ""
    )
    seeds = f", {report.judged}" if report.judged else ""
    return f"Trial {winner.trial} won with {value}{seeds}{first}."


def weights_line(report: Report) -> str:
    """How the winner did on the test period and whether it is in use."""
    parts = []
    if report.evaluation:
        scores = report.evaluation.winner
        if scores.loss is not None:
            parts.append(f"On the test period its loss is {number(scores.loss)}.")
        if (skill := mean_skill(scores)) is not None:
            parts.append(f"Its forecasts have a mean skill of {skill:+.1%} against persistence.")
        if report.evaluation.note:
            parts.append(f"{report.evaluation.note[0].upper()}{report.evaluation.note[1:]}.")
    if report.training and report.training.history:
        last = report.training.history[-1]
        parts.append(f"{'Promoted' if last.promoted else 'Not promoted'}: {last.reason}.")
    return " ".join(parts)
