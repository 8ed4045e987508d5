"""The embedded Anemoi catalogue."""

from __future__ import annotations

import importlib.util
import json
import sys

from ml_suite import atomic
from ml_suite.errors import MlSuiteError
from ml_suite.services.server import LOOPBACK, NotReadyError, Server, Setting


class Catalogue(Server):
    """`ml_suite.catalogue` as a process."""

    name = "catalogue"

    def require(self) -> None:
        missing = [x for x in ("fastapi", "uvicorn", "jsonpatch", "httpx") if not importlib.util.find_spec(x)]
        if missing:
            message = f"the catalogue needs {', '.join(missing)}, not installed"
            raise MlSuiteError(message, "pip install 'ml-suite[services]'")

    def prepare(self, setting: Setting) -> None:
        path = setting.places.folder(self.name) / "token"
        atomic.write(path, setting.secrets.catalogue_token + "\n", mode=0o600)

    def command(self, setting: Setting) -> list[str]:
        folder = setting.places.folder(self.name)
        return [
            *(sys.executable, "-m", "ml_suite.catalogue", "--host", LOOPBACK),
            *("--port", str(setting.port(self.name)), "--data", str(self.data(setting))),
            *("--token-file", str(folder / "token")),
        ]

    def environment(self, setting: Setting) -> dict[str, str]:
        return {}

    def check(self, setting: Setting, fresh: bool) -> str:
        import httpx

        try:
            with httpx.Client(timeout=20, trust_env=False) as http:
                settings = http.get(f"{setting.url(self.name)}/settings").raise_for_status().json()
                if fresh:
                    _write(http, settings["registry"]["api_url"], setting.secrets.catalogue_token)
        except (httpx.HTTPError, json.JSONDecodeError, KeyError) as error:
            raise NotReadyError(f"{type(error).__name__}: {error}"[:300]) from error
        return ""


def _write(http: object, api: str, token: str) -> None:
    import httpx

    assert isinstance(http, httpx.Client)
    header = {"Authorization": f"Bearer {token}"}
    task = http.post(f"{api}/tasks", json={"action": "dummy"}, headers=header).raise_for_status().json()
    url = f"{api}/tasks/{task['uuid']}"
    http.get(url).raise_for_status()
    http.delete(url, params={"force": "True"}, headers=header).raise_for_status()
