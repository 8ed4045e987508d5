"""``ml-suite study show``."""

from __future__ import annotations

from dataclasses import asdict

import click

from ml_suite.cli.options import console, json_option, next_step, print_json, print_table


@click.command(
    epilog="""\b
Examples:
  ml-suite study show
  ml-suite study show aerosol
  ml-suite study show ~/studies/aerosol --json"""
)
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """Show the study NAME as far as it is: states, winner, cost and certificate; without NAME list all studies.

    NAME is a study of this machine, a deployed suite, or a folder with a plan.json.
    """
    if name is None:
        _all(as_json)
        return
    from rich.text import Text

    from ml_suite.cli import study_words as words
    from ml_suite.search import claim, remaining
    from ml_suite.search.look import find, look
    from ml_suite.study.arrays import ArrayPlan
    from ml_suite.study.two_step import account

    known = look(find(name))
    at_work = [(holder, remaining.seconds(known, holder)) for holder in claim.holders(known.folder.root)]
    if as_json:
        print_json(
            {
                "study": known.plan.study,
                "name": known.plan.suite,
                "folder": str(known.folder.root),
                "trials": known.plan.trials,
                "keep": known.plan.keep,
                "states": {step: account(known.of_step(step)) for step in (1, 2)},
                "selection": known.selection.model_dump(mode="json") if known.selection else None,
                "cost": known.cost.model_dump(mode="json") if known.cost else None,
                "certificate": known.certificate.model_dump(mode="json") if known.certificate else None,
                "left_out": known.left_out or None,
                "running": [asdict(holder) | {"left_seconds": left} for holder, left in at_work],
            }
        )
        return
    out = console()
    out.print(Text(known.plan.suite, style="bold"))
    at_rest = known.selection is None and isinstance(known.plan, ArrayPlan)
    running = words.running(at_work) if at_work or at_rest else {}
    print_table(words.facts_table(words.facts(known) | running | words.files(known)))
    if known.left_out:
        out.print(Text(f"left out, as results of another study: {known.left_out}", style="yellow"))
    if known.selection is None:
        click.echo("There is no winner yet.")
    next_step("ml-suite study trials", name, "--top 10")


def _all(as_json: bool) -> None:
    """List the studies of this machine."""
    from ml_suite.cli import say
    from ml_suite.cli import study_words as words
    from ml_suite.errors import StudyError
    from ml_suite.home import home
    from ml_suite.search import claim
    from ml_suite.search.look import look, studies

    known = []
    for folder in studies():
        try:
            known.append(look(folder))
        except StudyError as error:  # the others are as good as before
            say(f"left out: {error.message}")
    if as_json:
        print_json(
            [
                {
                    "name": one.plan.suite,
                    "study": one.plan.study,
                    "folder": str(one.folder.root),
                    "trials": one.plan.trials,
                    "done": len(one.of_step(1)),
                    "value": one.selection.value if one.selection else None,
                    "running": bool(claim.holders(one.folder.root)),
                }
                for one in known
            ]
        )
        return
    if not known:
        click.echo(f"There is no study in {home() / 'studies'}.")
        next_step("ml-suite study run FILE")
        return
    print_table(words.facts_table({one.folder.root.name: words.brief(one) for one in known}))
    next_step("ml-suite study show", known[0].folder.root.name)
