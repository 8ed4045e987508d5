"""What ``GET /settings`` tells the client: one address configures everything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from ml_suite.errors import ConfigError

FILE = "settings.json"
API = "/api/v1"


class Settings(BaseModel):
    """Members of ``registry`` beside the addresses; a ``settings.json`` in the data folder overrides them.

    Other members are passed on: the client merges what it does not know, for example defaults for its workers.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    public_url: str | None = None
    """Address under which clients reach the server, when it is not the one they use (a proxy)."""
    datasets_uri_pattern: str = "s3://ml-datasets/{name}.zarr"
    datasets_platform: str = "ewc"
    weights_uri_pattern: str = "s3://ml-weights/{uuid}.ckpt"
    weights_platform: str = "ewc"
    artefacts_uri_base: str = "s3://ml-artefacts"
    plots_uri_pattern: str = "s3://ml-artefacts/{expver}/{basename}"

    @classmethod
    def load(cls, folder: Path) -> Settings:
        """Read ``settings.json`` of the data folder, if there is one.

        Raises
        ------
        ConfigError
            If it cannot be read as settings.
        """
        path = folder / FILE
        if not path.exists():
            return cls()
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigError(
                f"{path} does not hold settings: {error}", "It is a JSON object of texts."
            ) from error

    def answer(self, url: str) -> dict[str, Any]:
        """Body of the answer to a client that reached the server at URL."""
        web = (self.public_url or url).rstrip("/")
        members = self.model_dump(exclude={"public_url"})
        return {"registry": {"api_url": web + API, "web_url": web, **members}}
