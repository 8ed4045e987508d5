"""JSON Schema of deployment and study files, for editors."""

from __future__ import annotations

from typing import Any

from ml_suite.config.deployment import Deployment
from ml_suite.config.hpo import RANGES
from ml_suite.config.study_file import ONLY_DEPLOYED, StudyFile

HEADER = "# yaml-language-server: $schema=.ml-suite/deployment.schema.json"
"""First line of a deployment, by which an editor finds the schema."""


def json_schema() -> dict[str, Any]:
    """Return the schema of a deployment as a person writes it: no key may be empty, a dimension has one range."""
    return _finished(Deployment.model_json_schema(), "ml-suite deployment")


def study_schema() -> dict[str, Any]:
    """Return the schema of a study file, without what only a deployment uses."""
    schema = StudyFile.model_json_schema()
    for step, keys in ONLY_DEPLOYED.items():
        for key in keys:
            del schema["$defs"][step.capitalize()]["properties"][key]
    del schema["$defs"]["Resources"]
    return _finished(schema, "ml-suite study")


def _finished(schema: dict[str, Any], title: str) -> dict[str, Any]:
    schema["$defs"]["Dimension"]["oneOf"] = [{"required": [kind]} for kind in RANGES]
    cleaned: dict[str, Any] = _without_null(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **cleaned, "title": title}


def _without_null(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_null(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {k: _without_null(v) for k, v in node.items() if not (k == "default" and v is None)}
    members = [member for member in node.get("anyOf", []) if member != {"type": "null"}]
    if len(members) == 1:
        del node["anyOf"]
        node = {**members[0], **node}
    return node
