"""From a resolved deployment to an ecFlow definition and the scripts beside it.

::

    /SUITE
      setup/HOST                 each host can do the work
      admin/sweep                jobs that vanished are noticed
      main/datasets/NAME/…       recipe -> dataset -> object store -> hosts
      main/hpo/…                 two-step search, or main/training/train
      main/evaluate              the winner against analyses, persistence and the incumbent
      main/register              weights and lineage into the catalogue
      lag/archive, lag/clean     off the critical path
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ml_suite.binding import binding
from ml_suite.config.resolved import Resolved
from ml_suite.config.values import node_name
from ml_suite.errors import MlSuiteError
from ml_suite.hosts.jobhost import JobHosts
from ml_suite.suite.datasets import add_datasets
from ml_suite.suite.hpo import add_hpo, add_training
from ml_suite.suite.nodes import PLACED, TRIES_SAFE, Places, Scope, Task, add_host, add_task
from ml_suite.watch import SUITE as WATCH

if TYPE_CHECKING:
    import ecflow

SCHEDULER = "local"
FACTS = "hosts.json"
"""File beside the deployed ones with what the submit command must know."""


@dataclass(frozen=True)
class Built:
    """A suite ready to deploy."""

    defs: ecflow.Defs
    files: dict[str, str]
    """Scripts by their path below `Places.scripts`."""


def build(resolved: Resolved, places: Places, scripts: Path, hosts: JobHosts) -> Built:
    """Build and check the suite.

    Parameters
    ----------
    hosts
        What the submit command knows of other machines.
    scripts
        Folder of the task scripts that come with the package.

    Raises
    ------
    MlSuiteError
        If ecFlow finds an error or a warning in the definition.
    """
    ecflow = binding()
    defs = ecflow.Defs()
    suite = defs.add_suite(resolved.deployment.node)
    scope = Scope(resolved, hosts)
    for host in resolved.remote:
        for name in ("open", "closed"):
            defs.add_extern(f"/{WATCH}/{node_name(host)}:{name}")
    _add_variables(suite, resolved, places)
    _add_limits(suite, resolved)
    _add_setup(suite, scope)
    _add_admin(suite, scope, places)
    _add_main(suite, scope)
    _add_lag(suite, scope)
    if problems := defs.check().strip():
        raise MlSuiteError(f"ecFlow does not accept the suite: {problems}")
    files = script_files(scripts)
    return Built(defs, {name: text for name, text in files.items() if not name.startswith("watch_")})


def script_files(folder: Path) -> dict[str, str]:
    """Scripts and headers by their relative path, sorted."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".ecf", ".h")
    }


def _add_variables(suite: ecflow.Suite, resolved: Resolved, places: Places) -> None:
    command = f"{places.ops_python} -I -S {places.library}/ml_suite/hosts/job.py"
    values = {
        "ECF_HOME": places.jobs,
        # one script per task type: ecFlow itself would look for one per task name
        "ECF_SCRIPT_CMD": f"cat {places.scripts}/%ML_SUITE_SCRIPT%.ecf",
        "ECF_INCLUDE": places.scripts / "include",
        "ECF_JOB_CMD": f"{command} submit %ML_SUITE_SCHEDULER% %ECF_JOB% %ECF_JOBOUT%",
        "ECF_KILL_CMD": f"{command} kill %ML_SUITE_SCHEDULER% %ECF_JOB% %ECF_JOBOUT%",
        "ECF_STATUS_CMD": f"{command} status %ML_SUITE_SCHEDULER% %ECF_JOB% %ECF_JOBOUT%",
        "ECF_TRIES": 2,
        "ML_SUITE_SCHEDULER": SCHEDULER,
        "ML_SUITE_SERVER": places.server,
        "ML_SUITE_LIB": places.library,
        "ML_SUITE_OPS_PYTHON": places.ops_python,
        "ML_SUITE_RESOLVED": resolved.files / "resolved.json",
        "ML_SUITE_FACTS": resolved.files / FACTS,
        "ML_SUITE_CYCLE": "once",
    }
    for key, value in values.items():
        suite.add_variable(key, str(value))


def _add_limits(suite: ecflow.Suite, resolved: Resolved) -> None:
    for host, use in resolved.deployment.hosts.items():
        suite.add_limit(node_name(host), use.limit)
    suite.add_limit("deliver", 1)
    if resolved.remote:
        # machines are slow each in its own way: none waits for another
        suite.add_limit("collect", len(resolved.remote))
    if len(resolved.remote) > 1:
        suite.add_limit(PLACED, sum(resolved.deployment.hosts[host].limit for host in resolved.remote))


def _add_setup(suite: ecflow.Suite, scope: Scope) -> None:
    family = suite.add_family("setup")
    for host in scope.resolved.hosts:
        task = Task(node_name(host), "setup", host=scope.reaching(host), target=host, labels=("software",))
        add_task(family, task, scope)


def _add_admin(suite: ecflow.Suite, scope: Scope, places: Places) -> None:
    ecflow = binding()
    family = suite.add_family("admin")
    sweep = add_task(family, Task("sweep", "sweep", tries=1), scope)
    sweep.add_variable("ML_SUITE_HOST", scope.resolved.ops)
    sweep.add_variable("ML_SUITE_PYTHON", str(places.ops_python))
    cron = ecflow.Cron()
    cron.set_time_series("00:00 23:59 00:01")
    sweep.add_cron(cron)


def _add_main(suite: ecflow.Suite, scope: Scope) -> None:
    deployment = scope.resolved.deployment
    main = suite.add_family("main")
    # the other machines hold up what needs them, not the rest
    main.add_trigger(f"setup/{node_name(scope.resolved.ops)} == complete")
    add_datasets(main, scope)
    if deployment.hpo is not None:
        add_hpo(main, scope, deployment.hpo)
        chosen, delivered = "hpo/select == complete", "hpo == complete"
    else:
        chosen = add_training(main, scope)
        delivered = "training == complete"
    ops = scope.resolved.ops
    evaluate = Task("evaluate", "evaluate", host=ops, trigger=chosen, labels=("score", "info"))
    add_task(main, evaluate, scope)
    register = Task(
        "register",
        "register",
        host=ops,
        trigger=f"evaluate == complete and {delivered}",
        tries=TRIES_SAFE,
        labels=("weights",),
    )
    add_task(main, register, scope)


def _add_lag(suite: ecflow.Suite, scope: Scope) -> None:
    family = suite.add_family("lag")
    # data that still waits for a machine holds up nothing of this
    family.add_trigger("main/register == complete")
    add_host(family, scope.resolved.ops, scope)
    add_task(family, Task("archive", "archive", tries=TRIES_SAFE, labels=("info",)), scope)
    add_task(family, Task("clean", "clean", trigger="archive == complete", labels=("info",)), scope)
