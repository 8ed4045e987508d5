"""The suite's own services on the ops host."""

from __future__ import annotations

import pytest
from ci.twin.plan import CALLBACK_PORTS

from tests.twin.conftest import Twin

pytestmark = pytest.mark.twin
NAME = "ecflow.ops.twin"


def test_services_are_reached_only_from_where_the_site_allows(twin: Twin) -> None:
    wanted = [(NAME, port) for port in CALLBACK_PORTS]
    assert set(twin.reaches("lumi-c1", wanted).values()) == {"open"}
    assert set(twin.reaches("leonardo-login", wanted).values()) == {"open"}
    assert set(twin.reaches("leonardo-c1", wanted).values()) == {"silence"}
    # the real servers answer: MLflow as itself, ecFlow by refusing a stranger
    ask = "import urllib.request as u; print(u.urlopen('http://ops:5000/health', timeout=60).read().decode())"
    assert twin.must("exec", "lumi-c1", "python3", "-c", ask).strip() == "OK"
    stranger = twin.run("exec", "lumi-c1", f"timeout 60 ecflow_client --host {NAME} --port 3141 --ping")
    assert "authentication failed" in stranger.stderr + stranger.stdout


LOAD = """
import ecflow, os, tempfile, time
defs = ecflow.Defs()
suite = defs.add_suite("heard")
suite.add_task("t")
for name, value in (("ECF_HOME", tempfile.mkdtemp()), ("ECF_JOB_CMD", "true"), ("ECF_SCRIPT_CMD", "echo :")):
    suite.add_variable(name, value)
client = ecflow.Client(os.environ["ECF_HOST"], int(os.environ["ECF_PORT"]))
client.load(defs)
client.begin_suite("heard")
for _ in range(600):
    client.sync_local()
    found = client.get_defs().find_abs_node("/heard/t")
    if str(found.get_state()) == "submitted":
        break
    time.sleep(0.1)
print(found.get_jobs_password())
"""


def test_a_job_on_a_compute_node_speaks_to_the_server(twin: Twin) -> None:
    known = 'eval "$(ml-suite services env)"'
    password = twin.must("exec", "ops", f"{known}; python3.11 -", stdin=LOAD).strip()
    job = f"ECF_HOST={NAME} ECF_PORT=3141 ECF_NAME=/heard/t ECF_TRYNO=1 ECF_RID=1 ECF_PASS={password}"
    try:
        twin.must("exec", "lumi-c1", f"export {job}; ecflow_client --init=1 && ecflow_client --complete")
        assert (
            twin.must("exec", "ops", f"{known}; ecflow_client --query state /heard/t").strip() == "complete"
        )
    finally:
        twin.must("exec", "ops", f"{known}; ecflow_client --delete=force yes /heard")
