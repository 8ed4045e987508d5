"""``ml-suite schema``: what an editor needs to complete and check deployment and study files."""

from __future__ import annotations

import click


@click.command(
    epilog="""\b
Examples:
  ml-suite schema > .ml-suite/deployment.schema.json
  ml-suite schema study > study.schema.json"""
)
@click.argument("kind", type=click.Choice(["deployment", "study"]), default="deployment")
def command(kind: str) -> None:
    r"""Print the JSON Schema of deployment files, or of study files.

    An editor with YAML support reads it when the first line of the file is

    \b
        # yaml-language-server: $schema=.ml-suite/deployment.schema.json
    """
    from ml_suite.cli.options import print_json
    from ml_suite.config import schema

    print_json(schema.study_schema() if kind == "study" else schema.json_schema())
