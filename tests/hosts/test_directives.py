"""From GPUs and a walltime to a queue, nodes, a chain, a price and the lines of a job script."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from ml_suite.config.resources import Resources
from ml_suite.errors import ConfigError
from ml_suite.hosts import host
from ml_suite.hosts.directives import directives, lines, options, slurm_time
from ml_suite.hosts.host import Host
from ml_suite.hosts.queues import named
from ml_suite.hosts.request import chain, request
from ml_suite.quantities import duration, format_duration


@pytest.fixture(autouse=True)
def shipped_files_only(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


def asks(gpus: int = 0, walltime: str = "12h", cpus: int = 1) -> Resources:
    return Resources(gpus=gpus, walltime=duration(walltime), cpus=cpus)


@pytest.mark.parametrize(
    ("name", "gpus", "walltime", "queue", "nodes", "ranks", "cpus", "jobs", "cost", "unit"),
    [
        # a node of LUMI is 8 dies, an hour of a die half a GPU-hour
        ("lumi", 16, "12h", "standard-g", 2, 8, 7, 1, 96, "GPU-hours"),
        ("lumi", 4, "12h", "small-g", 1, 4, 7, 1, 24, "GPU-hours"),
        ("lumi", 16, "60h", "small-g", 2, 8, 7, 1, 480, "GPU-hours"),
        ("lumi", 64, "60h", "standard-g", 8, 8, 7, 2, 8 * 4 * 60.25, "GPU-hours"),
        ("leonardo", 16, "12h", "boost_usr_prod", 4, 4, 8, 1, 1536, "core-hours"),
        ("leonardo", 6, "3h", "boost_usr_prod", 2, 3, 8, 1, 144, "core-hours"),
        ("marenostrum5", 16, "3d", "acc (acc_ehpc)", 4, 4, 20, 1, 23040, "core-hours"),
        ("marenostrum5", 1, "1h", "acc (acc_ehpc)", 1, 1, 20, 1, 20, "core-hours"),
        ("jupiter", 16, "12h", "booster", 4, 4, 72, 1, 13824, "core-hours"),
        ("jupiter", 1, "1h", "booster", 1, 1, 72, 1, 288, "core-hours"),
    ],
)
def test_gpus_on_each_machine(
    name: str,
    gpus: int,
    walltime: str,
    queue: str,
    nodes: int,
    ranks: int,
    cpus: int,
    jobs: int,
    cost: float,
    unit: str,
) -> None:
    found = request(host.load(name), asks(gpus, walltime))
    assert (found.queue.name, found.nodes, found.ranks_per_node) == (queue, nodes, ranks)
    assert (found.gpus_per_node, found.cpus_per_rank, len(found.chain)) == (ranks, cpus, jobs)
    assert found.ranks == gpus
    assert (found.cost, found.unit) == (pytest.approx(cost), unit)


def test_a_job_without_gpus_takes_what_costs_nothing() -> None:
    found = request(host.load("leonardo"), asks(cpus=4, walltime="3h"))
    assert (found.queue.name, found.gpus_per_node, found.cpus_per_rank, found.cost) == (
        "lrd_all_serial",
        0,
        4,
        0,
    )
    larger = request(host.load("leonardo"), asks(cpus=5, walltime="3h"))
    assert (larger.queue.name, larger.cost) == ("boost_usr_prod", 3 * 8), "what is left of a GPU is nobody's"
    gpu = request(host.load("marenostrum5"), asks(cpus=21, walltime="1h"))
    assert (gpu.gpus_per_node, gpu.cpus_per_rank, gpu.cost) == (2, 40, 40), "cores come with their GPU"


@pytest.mark.parametrize(
    ("name", "resources", "told"),
    [
        ("leonardo", asks(7), "7 GPUs cannot be shared evenly by 2 nodes of 4"),
        ("marenostrum5", asks(404), "at most 100 nodes, not 101"),
        ("jupiter", asks(cpus=289), "at most 288 cores, not 289"),
    ],
)
def test_what_no_queue_takes(name: str, resources: Resources, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        request(host.load(name), resources)


def test_queues_that_are_taken_only_by_name() -> None:
    leonardo = host.load("leonardo")
    long = request(leonardo, asks(4, "3d"), qos="boost_qos_lprod")
    assert (long.queue.qos, len(long.chain)) == ("boost_qos_lprod", 1)
    assert len(request(leonardo, asks(4, "3d")).chain) == 4
    assert request(host.load("lumi"), asks(8, "1h"), partition="dev-g").queue.partition == "dev-g"
    with pytest.raises(ConfigError, match="no partition 'dev_g'") as caught:
        request(host.load("lumi"), asks(8, "1h"), partition="dev_g")
    assert caught.value.hint == "did you mean 'dev-g'?"


def test_a_qos_of_a_project_has_the_limits_of_its_partition() -> None:
    (queue,) = named(host.load("marenostrum5"), "acc", "acc_bsccs")
    assert (queue.qos, queue.max_walltime, queue.max_nodes) == ("acc_bsccs", timedelta(days=3), None)
    assert named(host.load("marenostrum5"), None, "acc_bsccs") == [queue]


def test_names_of_the_users_own_file_count() -> None:
    mine = host.load("lumi").model_copy(update={"partition": "dev-g", "account": "project_1"})
    assert "#SBATCH --partition=dev-g" in directives(mine, asks(8, "1h"), name="t", output="/o")
    assert "#SBATCH --account=project_1" in directives(mine, asks(8, "1h"), name="t", output="/o")


def test_lines_of_a_job_with_whole_nodes() -> None:
    found = directives(
        host.load("lumi"), asks(16, "12h"), "project_1", name="demo-train", output="/scratch/p/train.1"
    )
    assert found == [
        "#SBATCH --job-name=demo-train",
        "#SBATCH --account=project_1",
        "#SBATCH --partition=standard-g",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=8",
        "#SBATCH --gpus-per-node=8",
        "#SBATCH --cpus-per-task=7",
        "#SBATCH --time=12:00:00",
        "#SBATCH --output=/scratch/p/train.1",
        "#SBATCH --signal=B:TERM@120",
        "#SBATCH --exclusive",
        "#SBATCH --no-requeue",
    ]


def test_lines_of_a_job_of_a_chain_with_a_qos() -> None:
    mn5 = host.load("marenostrum5")
    asked = request(mn5, asks(8, "4d"))
    first, second = (options(mn5, asked, "ehpc1", name="t", output="/o", job=n) for n in (0, 1))
    assert (first["time"], second["time"]) == ("3-00:00:00", "1-00:15:00")
    assert (first["qos"], first["gres"], first["cpus-per-task"]) == ("acc_ehpc", "gpu:4", "20")
    assert "exclusive" not in first


def test_no_account_where_one_is_needed() -> None:
    with pytest.raises(ConfigError, match="LUMI-G, CSC runs no job without an account"):
        directives(host.load("lumi"), asks(8), name="t", output="/o")


def test_a_short_job_is_warned_in_time() -> None:
    assert "#SBATCH --signal=B:TERM@15" in directives(
        host.load("lumi"), asks(8, "1m"), "p", name="t", output="/o"
    )


@pytest.mark.parametrize("value", ["/a\n#SBATCH --wrap=x", '/a"b', "/a\\b"])
def test_a_value_stays_in_its_line(value: str) -> None:
    with pytest.raises(ValueError, match="cannot stand in a directive"):
        lines({"output": value})


@pytest.mark.parametrize(
    ("walltime", "longest", "jobs"),
    [
        ("24h", "24h", ["1d"]),
        ("24h1m", "24h", ["1d", "16m"]),
        ("47h45m", "24h", ["1d", "1d"]),
        ("47h46m", "24h", ["1d", "1d", "16m"]),
        ("90s", "24h", ["2m"]),
    ],
)
def test_chains(walltime: str, longest: str, jobs: list[str]) -> None:
    assert [format_duration(t) for t in chain(duration(walltime), duration(longest))] == jobs


@pytest.mark.parametrize("hours", range(1, 200, 7))
def test_a_chain_does_all_of_the_work_and_no_job_is_too_long(hours: int) -> None:
    longest, overlap = timedelta(hours=12), timedelta(minutes=20)
    found = chain(timedelta(hours=hours), longest, overlap)
    assert max(found) <= longest
    assert sum(found, timedelta()) - (len(found) - 1) * overlap == timedelta(hours=hours)


def test_a_chain_that_never_ends_is_refused() -> None:
    with pytest.raises(ValueError, match="make no progress"):
        chain(timedelta(hours=2), timedelta(minutes=15), timedelta(minutes=15))


def test_node_hours_and_hosts_that_bill_nothing() -> None:
    leonardo = host.load("leonardo")
    by_node = leonardo.model_copy(update={"billing": "node_hours"})
    assert request(by_node, asks(2, "10h")).cost == pytest.approx(5)
    free = request(leonardo.model_copy(update={"billing": "none"}), asks(2, "10h"))
    assert (free.cost, free.unit) == (0, None)


@pytest.mark.parametrize("name", ["jupiter", "leonardo", "lumi", "marenostrum5"])
@pytest.mark.parametrize("gpus", [0, 1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("walltime", ["10m", "12h", "5d"])
def test_every_request_keeps_the_rules_of_its_machine(name: str, gpus: int, walltime: str) -> None:
    facts: Host = host.load(name)
    found = request(facts, asks(gpus, walltime))
    cores = facts.usable_cores or facts.cores_per_node or 0
    assert found.gpus_per_node <= (facts.gpus_per_node or 0)
    assert found.ranks_per_node * found.cpus_per_rank <= cores
    assert max(found.chain) <= found.queue.max_walltime
    if facts.cpus_per_gpu:
        assert found.ranks_per_node * found.cpus_per_rank == facts.cpus_per_gpu * found.gpus_per_node
    text = "\n".join(directives(facts, asks(gpus, walltime), "p", name="t", output="/o"))
    assert re.fullmatch(r"(#SBATCH --[a-z-]+(=\S+)?\n?)+", text)


def test_times() -> None:
    assert slurm_time(timedelta(days=2)) == "2-00:00:00"
    assert slurm_time(timedelta(minutes=59, seconds=1)) == "01:00:00"
