"""``ml-suite schema``: what an editor needs to complete and check deployment files."""

from __future__ import annotations

import click


@click.command(
    epilog="""\b
Examples:
  ml-suite schema > .ml-suite/deployment.schema.json
  ml-suite schema | jq '.properties | keys'"""
)
def command() -> None:
    r"""Print the JSON Schema of deployment files.

    An editor with YAML support reads it when the first line of the deployment is

    \b
        # yaml-language-server: $schema=.ml-suite/deployment.schema.json
    """
    from ml_suite.cli.options import print_json
    from ml_suite.config.schema import json_schema

    print_json(json_schema())
