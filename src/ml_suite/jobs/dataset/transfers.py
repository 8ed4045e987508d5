"""Work off the catalogue's tasks ``transfer-dataset`` for a host, whoever added them."""

from __future__ import annotations

from ml_suite.errors import ConfigError
from ml_suite.jobs.context import Job
from ml_suite.jobs.dataset.to_host import carry_out


def run(job: Job, host: str | None = None) -> None:
    """Carry out what waits, and say what became of each; a task that fails does not hold up the others.

    Raises
    ------
    ConfigError
        If HOST is not another machine of the deployment.
    DeliveryError
        If the catalogue does not answer.
    """
    if host not in job.resolved.remote:
        others = ", ".join(job.resolved.remote) or "none"
        raise ConfigError(f"host {host!r} is no other machine of the deployment", f"It has {others}.")
    for line in carry_out(job, host) or [f"nothing waits for {host}"]:
        print(line, flush=True)
