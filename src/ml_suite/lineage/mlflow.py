"""Ask MLflow's REST API for runs; the standard library is enough."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request

from ml_suite.errors import DeliveryError
from ml_suite.lineage.records import Run
from ml_suite.stores.connections import Mlflow

_SECONDS = 20


def get_run(run_id: str, connection: Mlflow) -> Run | None:
    """Read one run; None if the server does not know it.

    Raises
    ------
    DeliveryError
        If the server does not answer or refuses.
    """
    query = urllib.parse.urlencode({"run_id": run_id})
    request = urllib.request.Request(f"{connection.url.rstrip('/')}/api/2.0/mlflow/runs/get?{query}")
    if connection.token:
        request.add_header("Authorization", f"Bearer {connection.token.get_secret_value()}")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as response:
            answer = json.load(response)["run"]
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise DeliveryError(f"MLflow at {connection.url} answered {error.code}") from error
    except (OSError, ValueError, KeyError) as error:
        raise DeliveryError(
            f"MLflow at {connection.url} does not answer: {error}", "Look at: ml-suite services status"
        ) from error
    info = answer["info"]
    return Run(
        info["run_id"],
        info.get("run_name") or info["run_id"],
        info["experiment_id"],
        info["status"],
        {tag["key"]: tag["value"] for tag in answer.get("data", {}).get("tags", [])},
    )
