"""The suite that watches other machines for all suites of an ecFlow server; see `ml_suite.watch`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.binding import binding
from ml_suite.config.values import node_name
from ml_suite.errors import ConfigError, MlSuiteError
from ml_suite.suite.build import Built, script_files
from ml_suite.suite.nodes import Places
from ml_suite.watch import OPEN, SUITE
from ml_suite.watch.registry import Watched

if TYPE_CHECKING:
    import ecflow

ADMIN = "admin"
RELAY_TRIES = 3
"""Starts again at once after kill -9. A relay that cannot start at all fails three times a minute and no oftener."""


def build_watch(hosts: Sequence[Watched], places: Places, home: Path, scripts: Path) -> Built:
    """Build and check the suite.

    Parameters
    ----------
    home
        ML_SUITE_HOME of its tasks: the connections of the user who deploys.
    scripts
        Folder of the task scripts that come with the package.

    Raises
    ------
    ConfigError
        If two hosts, or a host and the suite's own family, are the same node.
    MlSuiteError
        If ecFlow finds an error or a warning in the definition.
    """
    defs = binding().Defs()
    suite = defs.add_suite(SUITE)
    for key, value in _variables(places, home).items():
        suite.add_variable(key, str(value))
    names = [ADMIN, *(node_name(host.name) for host in hosts)]
    for host in hosts:
        if names.count(node_name(host.name)) > 1:
            raise ConfigError(
                f"host {host.name} cannot be watched: /{SUITE} has another node {node_name(host.name)}",
                "Give its host file another name.",
            )
        _add_host(suite.add_family(node_name(host.name)), host)
    admin = suite.add_family(ADMIN)
    # two that are never at work at the same time: each finds the other after a crash in the middle of its work
    _add_cron(_add_task(admin, "even", "watch_keep"), "00:00 23:58 00:02")
    _add_cron(_add_task(admin, "odd", "watch_keep"), "00:01 23:59 00:02")
    if problems := defs.check().strip():
        raise MlSuiteError(f"ecFlow does not accept the suite {SUITE}: {problems}")
    files = script_files(scripts)
    chosen = {name: text for name, text in files.items() if name.startswith(("watch_", "include/"))}
    return Built(defs, chosen)


def relay_names(spools: Sequence[str]) -> dict[str, str]:
    """Name of the task of each spool: `relay` for the first one.

    >>> relay_names(["/scratch/a/spool", "/scratch/b/spool"])
    {'/scratch/a/spool': 'relay', '/scratch/b/spool': 'relay_0ec8a6f5'}
    """
    digests = {spool: hashlib.sha256(spool.encode()).hexdigest()[:8] for spool in spools}
    return {spool: f"relay_{digests[spool]}" if n else "relay" for n, spool in enumerate(spools)}


def _variables(places: Places, home: Path) -> dict[str, str | int | Path]:
    command = f"{places.ops_python} -I -S {places.library}/ml_suite/hosts/job.py"
    return {
        "ECF_HOME": places.jobs,
        "ECF_SCRIPT_CMD": f"cat {places.scripts}/%ML_SUITE_SCRIPT%.ecf",
        "ECF_INCLUDE": places.scripts / "include",
        "ECF_JOB_CMD": f"{command} submit local %ECF_JOB% %ECF_JOBOUT%",
        "ECF_KILL_CMD": f"{command} kill local %ECF_JOB% %ECF_JOBOUT%",
        "ECF_STATUS_CMD": f"{command} status local %ECF_JOB% %ECF_JOBOUT%",
        "ECF_TRIES": 1,
        "ML_SUITE_HOME": home,
        "ML_SUITE_SERVER": places.server,
        "ML_SUITE_LIB": places.library,
        "ML_SUITE_PYTHON": places.ops_python,
        "ML_SUITE_OPS_PYTHON": places.ops_python,
        # what the headers of all tasks ask for and these have not
        "ML_SUITE_HOST": "",
        "ML_SUITE_RESOLVED": "",
        "ML_SUITE_CYCLE": "",
    }


def _add_host(family: ecflow.Family, host: Watched) -> None:
    family.add_variable("WATCHED", host.name)
    family.add_limit("open", OPEN)
    # on the family: a task that runs every minute loses its meters, labels and events every minute
    family.add_meter("minutes", 0, 1440, 1440)
    family.add_label("state", "not looked yet")
    family.add_label("behind", "-")
    family.add_event("closed")
    _add_cron(_add_task(family, "login", "watch_login"))
    for spool, name in relay_names(host.spools).items():
        relay = _add_task(family, name, "watch_relay")
        relay.add_variable("SPOOL", spool)
        relay.add_variable("ECF_TRIES", str(RELAY_TRIES))
        relay.add_meter("waiting", 0, 1000, 1000)
        for label in ("counts", "delay", "trouble"):
            relay.add_label(label, "-")
    for name in ("sweep", "courier", "transfers"):
        task = _add_task(family, name, f"watch_{name}")
        task.add_trigger(f"/{SUITE}/{family.name()}:closed == clear")
        _add_cron(task)


def _add_task(family: ecflow.Family, name: str, script: str) -> ecflow.Task:
    task = family.add_task(name)
    task.add_variable("ML_SUITE_SCRIPT", script)
    return task


def _add_cron(task: ecflow.Task, series: str = "00:00 23:59 00:01") -> None:
    cron = binding().Cron()
    cron.set_time_series(series)
    task.add_cron(cron)
