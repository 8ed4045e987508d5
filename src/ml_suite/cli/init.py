"""``ml-suite init``: a project to start from."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ml_suite.cli.options import next_step


@click.command(
    epilog="""\b
Examples:
  ml-suite init storm
  ml-suite init . && ml-suite validate ."""
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
def command(folder: Path) -> None:
    """Start a project in FOLDER, by default the current one.

    It gets the demo's deployment, training configuration and recipe, and the schema by which an editor completes the
    deployment. A file that is already there is never overwritten.
    """
    from ml_suite import atomic
    from ml_suite.config.locate import near
    from ml_suite.errors import MlSuiteError

    files = project()
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise MlSuiteError(
            f"{near(folder)} already has {', '.join(there)}", "Give another folder, or move the files away."
        )
    for name, text in files.items():
        atomic.write(folder / name, text)
        click.echo(f"wrote {near(folder / name)}")
    next_step("ml-suite validate", near(folder))


def project() -> dict[str, str]:
    """Files of a new project by their path in it."""
    from ml_suite.config.locate import locate, shipped
    from ml_suite.config.schema import HEADER, json_schema
    from ml_suite.config.source import load, parse

    template = shipped() / "suites" / "demo" / "deployment.yaml"
    deployment = parse(load(template))
    recipe = locate(deployment.dataset.recipe, template.parent)
    config = deployment.training.config
    assert recipe is not None
    assert config is not None
    # in a project of its own the recipe lies beside the deployment
    text = template.read_text().replace(deployment.dataset.recipe, f"recipes/{recipe.name}")
    return {
        "deployment.yaml": f"{HEADER}\n{text}",
        config: (template.parent / config).read_text(),
        f"recipes/{recipe.name}": recipe.read_text(),
        ".ml-suite/deployment.schema.json": json.dumps(json_schema(), indent=1) + "\n",
    }
