"""Thin client of an MLflow tracking server: every call may be repeated and changes nothing the second time."""

from __future__ import annotations

import ipaddress
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from ml_suite.errors import DeliveryError
from ml_suite.stores.connections import Mlflow

ID_TAG = "ml_suite.id"
"""Tag that a run is found again by."""

_PARENT = "mlflow.parentRunId"
_ATTEMPTS = 5
_METRICS, _PARAMS, _TAGS = 1000, 100, 100  # what one request may hold


@dataclass(frozen=True)
class Measurement:
    """One value of a metric."""

    key: str
    value: float
    time: int
    """Milliseconds since 1970."""
    step: int


@dataclass(frozen=True)
class RunContent:
    """What a run shows."""

    id: str
    """Ours; see `ID_TAG`."""
    name: str
    status: str
    started: datetime
    ended: datetime | None
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Sequence[Measurement]


class Tracking:
    """One tracking server."""

    def __init__(self, connection: Mlflow) -> None:
        from mlflow import MlflowClient

        self.url = connection.url.rstrip("/")
        _prepare(connection)
        self._client = MlflowClient(self.url)

    def experiment(self, name: str) -> str:
        """Return the id of an experiment, made if it is missing.

        Raises
        ------
        DeliveryError
            If the server does not take it, or somebody has deleted it there.
        """
        from mlflow.exceptions import MlflowException

        with self._told(f"find experiment {name!r}"):
            found = self._client.get_experiment_by_name(name)
            if found is None:
                try:
                    return str(self._client.create_experiment(name))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    found = self._client.get_experiment_by_name(name)  # another courier was faster
        if found is None or found.lifecycle_stage == "deleted":
            raise DeliveryError(
                f"experiment {name!r} is deleted on {self.url}",
                "Restore it there: mlflow experiments restore.",
            )
        return str(found.experiment_id)

    def find(self, experiment: str, run: str) -> str | None:
        """Server's id of the run with our id RUN."""
        return next(iter(self._all(experiment, run)), None)

    def put(self, experiment: str, content: RunContent, parent: str | None = None) -> str:
        """Make the run or bring it up to date, and return the server's id.

        Raises
        ------
        DeliveryError
            If the server does not take it; what it has taken stays and is not sent twice.
        """
        run = self.find(experiment, content.id) or self._create(experiment, content)
        with self._told(f"log run {content.id}"):
            known = self._client.get_run(run)
            self._log_params(run, content, known.data.params)
            self._log_metrics(run, content)
            tags = {**content.tags, ID_TAG: content.id, **({_PARENT: parent} if parent else {})}
            self._log_tags(run, {k: v for k, v in tags.items() if known.data.tags.get(k) != v})
            if content.status == "RUNNING":
                self._client.update_run(run, status="RUNNING", name=content.name)
            else:
                self._client.set_terminated(run, content.status, _milliseconds(content.ended))
        return run

    def page(self, experiment: str, run: str) -> str:
        """Address of a run for a browser."""
        return f"{self.url}/#/experiments/{experiment}/runs/{run}"

    def _all(self, experiment: str, run: str) -> list[str]:
        with self._told(f"find run {run}"):
            found = self._client.search_runs([experiment], f"tags.`{ID_TAG}` = '{run}'", max_results=100)
        return sorted(r.info.run_id for r in found)

    def _create(self, experiment: str, content: RunContent) -> str:
        """Make the run with its tag in one request, so that it is found again whatever happens next.

        The server cannot make a run only if it is missing. Couriers of two hosts may both make the study's: who sees
        another one takes its own away, so one that was ever returned stays; who took its own away looks again.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            with self._told(f"make run {content.id}"):
                made = self._client.create_run(
                    experiment,
                    start_time=_milliseconds(content.started),
                    tags={ID_TAG: content.id},
                    run_name=content.name,
                )
            if self._all(experiment, content.id) == [made.info.run_id]:
                return str(made.info.run_id)
            with self._told(f"remove run {made.info.run_id}"):
                self._client.delete_run(made.info.run_id)
            time.sleep(random.uniform(0.2, 1.0) * attempt)
            if found := self.find(experiment, content.id):
                return found
        raise DeliveryError(f"too many couriers make run {content.id} on {self.url}", "Run the task again.")

    def _log_params(self, run: str, content: RunContent, known: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        new = [Param(key, value) for key, value in content.params.items() if key not in known]
        for part in _parts(new, _PARAMS):
            self._client.log_batch(run, params=part)

    def _log_metrics(self, run: str, content: RunContent) -> None:
        from mlflow.entities import Metric

        points = [Metric(m.key, m.value, m.time, m.step) for m in content.metrics]
        for part in _parts(points, _METRICS):
            self._client.log_batch(run, metrics=part)

    def _log_tags(self, run: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        for part in _parts([RunTag(key, value) for key, value in tags.items()], _TAGS):
            self._client.log_batch(run, tags=part)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn what MLflow and the network raise into a `DeliveryError`."""
        from mlflow.exceptions import MlflowException
        from requests.exceptions import RequestException

        try:
            yield
        except (MlflowException, RequestException) as error:
            raise _explain(error, what, self.url) from error


def _explain(error: Exception, what: str, url: str) -> DeliveryError:
    text = " ".join(str(error).split())
    if "401" in text or "403" in text:
        return DeliveryError(
            f"{what}: MLflow at {url} refused the token", "Look at mlflow in connections.json."
        )
    if any(word in text for word in ("Connection", "Max retries", "timed out", "API request", "503", "502")):
        hint = "Is it running? ml-suite services status; then run the task again, nothing is lost."
        return DeliveryError(f"{what}: MLflow at {url} does not answer", hint)
    return DeliveryError(f"{what}: MLflow at {url} says: {text[:200]}")


def _prepare(connection: Mlflow) -> None:
    """Set what MLflow's client reads from the environment: the token, few retries, no proxy for this machine."""
    if connection.token:
        os.environ["MLFLOW_TRACKING_TOKEN"] = connection.token.get_secret_value()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    host = urlsplit(connection.url).hostname or ""
    if _is_loopback(host):
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, [os.environ.get(name), host]))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _milliseconds(when: datetime | None) -> int | None:
    return int(when.timestamp() * 1000) if when else None


def _parts(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for i in range(0, len(items), size):
        yield items[i : i + size]
