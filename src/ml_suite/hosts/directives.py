"""The ``#SBATCH`` lines of a job."""

from __future__ import annotations

import re
from datetime import timedelta

from ml_suite.config.deployment import Resources
from ml_suite.errors import ConfigError
from ml_suite.hosts.host import Host
from ml_suite.hosts.request import MINUTE, Request, request

WARNING = timedelta(minutes=2)
"""Time between the warning and the end of a job: enough to write a checkpoint."""

_PLAIN = re.compile(r"[A-Za-z0-9_.,:@%+=/~-]+")


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
    seconds = int(min(WARNING, time / 4).total_seconds())
    found = {
        "job-name": name,
        "account": account,
        "partition": queue.partition,
        "qos": queue.qos,
        "nodes": str(asked.nodes),
        "ntasks-per-node": str(asked.ranks_per_node),
        **_gpus(asked),
        "cpus-per-task": str(asked.cpus_per_rank),
        "time": slurm_time(time),
        "output": output,
        "signal": f"{signal}@{seconds}",
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


def _gpus(asked: Request) -> dict[str, str]:
    if not asked.gpus_per_node:
        return {}
    return (
        {"gres": f"gpu:{asked.gpus_per_node}"}
        if asked.gpu_request == "gres"
        else {"gpus-per-node": str(asked.gpus_per_node)}
    )


def lines(options: dict[str, str]) -> list[str]:
    """Write options as they stand in a script.

    Raises
    ------
    ValueError
        If a value breaks out of its line.

    >>> lines({"time": "02:00:00", "output": "/a b/c", "exclusive": ""})
    ['#SBATCH --time=02:00:00', '#SBATCH --output="/a b/c"', '#SBATCH --exclusive']
    """
    return [
        f"#SBATCH --{key}={_quoted(value)}" if value else f"#SBATCH --{key}" for key, value in options.items()
    ]


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if '"' in value or "\\" in value or not value.isprintable():
        raise ValueError(f"{value!r} cannot stand in a directive")
    return f'"{value}"'


def slurm_time(value: timedelta) -> str:
    """Write a time as Slurm reads it, rounded up to its minutes.

    >>> slurm_time(timedelta(hours=30, minutes=5))
    '1-06:05:00'
    >>> slurm_time(timedelta(seconds=90))
    '00:02:00'
    """
    minutes = -(-value // MINUTE)
    days, rest = divmod(minutes, 24 * 60)
    clock = f"{rest // 60:02}:{rest % 60:02}:00"
    return f"{days}-{clock}" if days else clock
