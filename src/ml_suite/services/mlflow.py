"""The embedded MLflow tracking server: SQLite for runs, the embedded S3 for artifacts."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
import uuid
from typing import Any

from ml_suite.errors import MlSuiteError
from ml_suite.services.server import LOOPBACK, NotReadyError, Server, Setting

_EXPERIMENT = "ml-suite/health"
_API = "/api/2.0/mlflow"


class Mlflow(Server):
    """One worker: more of them make every request of one client slower."""

    name = "mlflow"
    seconds = 120.0

    def require(self) -> None:
        if not all(importlib.util.find_spec(name) for name in ("mlflow", "mlflow.server", "flask", "httpx")):
            raise MlSuiteError("the MLflow server is not installed", "pip install 'ml-suite[services]'")

    def prepare(self, setting: Setting) -> None:
        return None

    def command(self, setting: Setting) -> list[str]:
        return [
            *(sys.executable, "-m", "mlflow", "server"),
            *("--host", LOOPBACK, "--port", str(setting.port(self.name)), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{self.data(setting) / 'mlflow.db'}"),
            *("--artifacts-destination", "s3://mlflow"),
        ]

    def environment(self, setting: Setting) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": setting.secrets.s3_access_key_id,
            "AWS_SECRET_ACCESS_KEY": setting.secrets.s3_secret_access_key,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
            "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
            "MLFLOW_S3_ENDPOINT_URL": setting.url("s3"),
            # its job runner takes 1.5 GB for nothing that is used here
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DO_NOT_TRACK": "true",
        }

    def check(self, setting: Setting, fresh: bool) -> str:
        import httpx

        artifact = f"/api/2.0/mlflow-artifacts/artifacts/.check-{uuid.uuid4()}"
        body = uuid.uuid4().bytes
        try:
            # no proxy of the shell may come between
            with httpx.Client(base_url=setting.url(self.name), timeout=30, trust_env=False) as http:
                _write_and_find_experiment(http)
                http.put(artifact, content=body).raise_for_status()
                kept = http.get(artifact).raise_for_status().content
                http.delete(artifact).raise_for_status()
        except (httpx.HTTPError, json.JSONDecodeError, KeyError) as error:
            raise NotReadyError(f"{type(error).__name__}: {error}"[:300]) from error
        if kept != body:
            raise NotReadyError("its artifact store returns other bytes than it was given")
        return ""


def _write_and_find_experiment(http: Any) -> None:
    answer = http.get(f"{_API}/experiments/get-by-name", params={"experiment_name": _EXPERIMENT})
    if answer.status_code == 404 and answer.json()["error_code"] == "RESOURCE_DOES_NOT_EXIST":
        answer = http.post(f"{_API}/experiments/create", json={"name": _EXPERIMENT})
        key = answer.raise_for_status().json()["experiment_id"]
    else:
        key = answer.raise_for_status().json()["experiment"]["experiment_id"]
    tag = {"experiment_id": key, "key": "checked", "value": str(time.time())}
    http.post(f"{_API}/experiments/set-experiment-tag", json=tag).raise_for_status()
    query = {"max_results": 1, "filter": f"name = '{_EXPERIMENT}'"}
    http.post(f"{_API}/experiments/search", json=query).raise_for_status().json()["experiments"]
