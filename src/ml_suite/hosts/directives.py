"""The ``#SBATCH`` lines of a job."""

from __future__ import annotations

from ml_suite.config.resources import Resources
from ml_suite.errors import ConfigError
from ml_suite.hosts.host import Host
from ml_suite.hosts.request import Request, request
from ml_suite.hosts.sbatch import gpus, lines, slurm_time, warning

__all__ = ["directives", "lines", "options", "payer", "slurm_time"]


def directives(
    host: Host,
    resources: Resources,
    account: str | None = None,
    *,
    name: str,
    output: str,
    partition: str | None = None,
    qos: str | None = None,
    signal: str = "B:TERM",
) -> list[str]:
    """Lines for the head of a job's script; for a chain those of its first job.

    Parameters
    ----------
    account, partition, qos
        The deployment's; without them those of the user's own host file.
    output
        File on the host for both streams; % has the scheduler's meaning there.
    signal
        What the job gets before its end, and who: ``B:`` means the script alone.

    Raises
    ------
    ConfigError
        If the host needs an account and there is none, or no queue takes the job.
    """
    asked = request(host, resources, partition, qos)
    return lines(options(host, asked, account, name=name, output=output, signal=signal))


def options(
    host: Host,
    asked: Request,
    account: str | None = None,
    *,
    name: str,
    output: str,
    job: int = 0,
    signal: str = "B:TERM",
) -> dict[str, str]:
    """Options of sbatch and their values, in the order of their lines; an empty value is a flag.

    Parameters
    ----------
    job
        Which one of the chain.

    Raises
    ------
    ConfigError
        If the host needs an account and there is none.
    """
    account = payer(host, account)
    time, queue = asked.chain[job], asked.queue
    found = {
        "job-name": name,
        "account": account,
        "partition": queue.partition,
        "qos": queue.qos,
        "nodes": str(asked.nodes),
        "ntasks-per-node": str(asked.ranks_per_node),
        **gpus(asked.gpus_per_node, asked.gpu_request),
        "cpus-per-task": str(asked.cpus_per_rank),
        "time": slurm_time(time),
        "output": output,
        "signal": warning(time, signal),
    }
    # the scheduler must not start a job again by itself: ecFlow would not know which try is running
    flags = {"exclusive": ""} if queue.whole_nodes else {}
    return {**{key: value for key, value in found.items() if value}, **flags, "no-requeue": ""}


def payer(host: Host, account: str | None) -> str | None:
    """Account of a job: the deployment's, or the one in the user's own host file.

    Raises
    ------
    ConfigError
        If there is none and the host needs one.
    """
    account = account or host.account
    if host.needs_account and not account:
        raise ConfigError(
            f"{host.title} runs no job without an account",
            "Write `account:` under the host in the deployment.",
        )
    return account
