"""Slurm on every site."""

from __future__ import annotations

import time

import pytest
from ci.twin.plan import SITES, Site

from tests.twin.conftest import Twin

pytestmark = pytest.mark.twin


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_a_job_runs_on_a_compute_node_with_its_gpus(twin: Twin, site: Site) -> None:
    script = (
        "cd $SCRATCH; rm -f out; "
        "sbatch --wait -o out --gpus=2 --wrap 'hostname; echo gpus $CUDA_VISIBLE_DEVICES' >/dev/null; "
        "echo rc=$?; cat out"
    )
    text = twin.must("exec", site.name, script)
    # where nodes are given whole, the job sees all of the node
    gpus = "0,1,2,3" if site.partitions[0].whole_nodes else "0,1"
    assert text.split("\n")[:3] == ["rc=0", f"{site.name}-c1", f"gpus {gpus}"]


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_more_than_the_partition_allows_is_refused(twin: Twin, site: Site) -> None:
    done = twin.run("exec", site.name, "sbatch -t 5-00:00:00 --wrap true")
    assert done.returncode == 1
    assert "time limit" in done.stderr
    assert twin.run("exec", site.name, f"sbatch --gpus-per-node={site.gpus + 1} --wrap true").returncode == 1


def test_ranks_on_two_nodes(twin: Twin) -> None:
    text = twin.must("exec", "lumi", "srun -N2 -n2 -t1 bash -c 'echo $(hostname) $SLURM_PROCID'")
    assert sorted(text.splitlines()) == ["lumi-c1 0", "lumi-c2 1"]


def test_a_job_is_cancelled(twin: Twin) -> None:
    job = twin.submit("marenostrum5", "sleep 300")
    twin.must("exec", "marenostrum5", f"scancel {job}")
    twin.until("marenostrum5", f"scontrol show job {job}", "JobState=CANCELLED")


def test_nodes_of_a_site_share_home_and_scratch(twin: Twin) -> None:
    stamp = str(time.time())
    twin.must("exec", "lumi-c2", f"echo {stamp} | tee ~/stamp > $SCRATCH/stamp")
    assert twin.must("exec", "lumi-login", "cat ~/stamp $SCRATCH/stamp").split() == [stamp, stamp]
    assert twin.run("exec", "leonardo", "cat ~/stamp").returncode == 1


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_accounting_knows_a_job_with_its_account_and_qos(twin: Twin, site: Site) -> None:
    qos = f"--qos={site.qos[0]}" if site.qos else ""
    line = f"sbatch --parsable --account={site.account} {qos} -o /dev/null --wrap 'exit 3'"
    job = twin.must("exec", site.name, line).strip()
    # a while after the job, as at real sites
    asked = f"sacct -nPX -j {job} -o state,account,qos,exitcode"
    twin.until(site.name, asked, f"FAILED|{site.account}|{site.qos[0] if site.qos else ''}")


def test_any_account_and_qos_are_taken(twin: Twin) -> None:
    line = "sbatch --parsable --account=somebody --qos=something -o /dev/null --wrap true"
    assert twin.must("exec", "marenostrum5", line).strip().isdigit()
