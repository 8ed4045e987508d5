"""Who is in the twin: sites, hosts, addresses, and what each site allows. Facts only, no side effects.

The sites are modelled on public documentation of the real ones; what is not documented publicly is marked.
Addresses may be the same in any number of twins, because they exist only inside a twin's namespaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ml_suite.errors import ConfigError

Auth = Literal["key", "certificate", "totp"]
Role = Literal["router", "ops", "outside", "login", "transfer", "compute"]

PREFIX = "10.77"
ECFLOW, S3, MLFLOW, CATALOGUE = 3141, 8333, 5000, 8000
"""Ports under which the ops host's services can be reached from outside of it."""
CALLBACK_PORTS = (ECFLOW, S3, MLFLOW, CATALOGUE)


@dataclass(frozen=True)
class Partition:
    """A Slurm partition; LIMIT as Slurm writes it."""

    name: str
    limit: str
    whole_nodes: bool = False


@dataclass(frozen=True)
class Site:
    """One cluster."""

    name: str
    number: int
    user: str
    uid: int
    auth: Auth
    names: tuple[str, ...]
    """Names under which the world knows the login node."""
    transfer_names: tuple[str, ...]
    transfer_host: bool
    """Whether these names belong to a machine of its own, without a shell, rather than to the login node."""
    login_out: bool
    compute_out: bool
    refusal: Literal["drop", "reject"]
    forwarding: bool
    """Whether sshd forwards ports."""
    nodes: int
    cpus: int
    memory: int
    """MB per node, as Slurm is told; the machine has less."""
    gpus: int
    gpu: str
    partitions: tuple[Partition, ...]
    """The first one is the default."""
    trees: tuple[str, ...]
    """Shared file trees: folders in which everybody may make one for a project. SCRATCH is in the first."""
    account: str
    """Project that pays, known to the accounting database."""
    qos: tuple[str, ...] = ()
    """Known to the accounting database."""
    connections_per_minute: int = 0
    """New ssh connections beyond this are dropped; 0: no such rule."""


SITES = (
    Site(
        name="lumi",
        number=1,
        user="lumiml",
        uid=6101,
        auth="key",
        names=("lumi.csc.fi", "lumi-uan01.csc.fi"),
        transfer_names=(),
        transfer_host=False,
        login_out=True,
        compute_out=True,
        refusal="reject",
        forwarding=True,
        nodes=2,
        cpus=56,
        memory=480_000,
        gpus=8,
        gpu="mi250",
        partitions=(
            Partition("dev-g", "03:00:00"),
            Partition("small-g", "3-00:00:00"),
            Partition("standard-g", "2-00:00:00", whole_nodes=True),
        ),
        trees=("/scratch", "/project"),
        account="project_465000000",
    ),
    Site(
        name="leonardo",
        number=2,
        user="a08eml00",
        uid=6201,
        auth="certificate",
        names=("login.leonardo.cineca.it", "login01-ext.leonardo.cineca.it"),
        transfer_names=("data.leonardo.cineca.it", "dmover1.leonardo.cineca.it"),
        transfer_host=True,
        login_out=True,
        compute_out=False,
        refusal="drop",
        forwarding=True,
        nodes=2,
        cpus=32,
        memory=494_000,
        gpus=4,
        gpu="a100",
        partitions=(Partition("boost_usr_prod", "1-00:00:00"), Partition("lrd_all_serial", "04:00:00")),
        trees=("/scratch", "/leonardo_work"),
        account="deste_340_26",
        qos=("boost_qos_dbg", "boost_qos_lprod"),
    ),
    Site(
        name="marenostrum5",
        number=3,
        user="ecm54321",
        uid=6301,
        auth="key",
        names=("alogin1.bsc.es", "alogin2.bsc.es"),
        transfer_names=("transfer1.bsc.es",),
        transfer_host=False,
        login_out=False,
        compute_out=False,
        refusal="reject",
        forwarding=False,
        nodes=1,
        cpus=80,
        memory=500_000,
        gpus=4,
        gpu="h100",
        partitions=(Partition("acc", "3-00:00:00"),),
        trees=("/scratch", "/gpfs/scratch", "/gpfs/projects"),
        account="ehpc01",
        qos=("acc_ehpc", "acc_debug", "acc_interactive"),
    ),
    Site(
        name="jupiter",
        number=4,
        user="mlops1",
        uid=6401,
        auth="totp",
        names=("login.jupiter.fz-juelich.de", "login01.jupiter.fz-juelich.de"),
        transfer_names=("judac.fz-juelich.de",),
        transfer_host=False,
        login_out=True,
        compute_out=False,
        refusal="drop",
        forwarding=True,
        nodes=1,
        cpus=288,
        memory=850_000,
        gpus=4,
        gpu="gh200",
        partitions=(Partition("booster", "12:00:00", whole_nodes=True),),
        trees=("/scratch", "/e/scratch", "/e/project1"),
        account="e-mlops",
        # the site says "too many accesses within a short time"; its number is not public
        connections_per_minute=20,
    ),
)


@dataclass(frozen=True)
class Node:
    """One host of the twin."""

    name: str
    role: Role
    network: int
    address: str
    names: tuple[str, ...] = ()
    site: Site | None = None

    @property
    def link(self) -> str:
        """Name of the router's end of its cable."""
        return f"v{self.network}x{self.address.rpartition('.')[2]}"

    @property
    def group(self) -> str:
        """Whose home folders it has: its site's, or its own."""
        return self.site.name if self.site else self.name

    @property
    def account(self) -> tuple[str, int]:
        """Name and number of the ordinary user there."""
        return (self.site.user, self.site.uid) if self.site else ("ops", 6000)


ROUTER = Node("router", "router", 0, f"{PREFIX}.0.1")
OPS = Node("ops", "ops", 0, f"{PREFIX}.0.10", ("ecflow.ops.twin", "s3.ops.twin", "mlflow.ops.twin"))
INTERNET = Node("internet", "outside", 9, f"{PREFIX}.9.10", ("packages.example.org", "hub.example.org"))
NETWORKS = {0: "ops", 9: "internet", **{site.number: site.name for site in SITES}}


def nodes_of(site: Site) -> tuple[Node, ...]:
    """Hosts of a site: login, transfer if it has one, compute nodes from 1."""
    n, name = site.number, site.name
    login_names = site.names if site.transfer_host else site.names + site.transfer_names
    found = [Node(f"{name}-login", "login", n, f"{PREFIX}.{n}.10", login_names, site)]
    if site.transfer_host:
        found.append(Node(f"{name}-data", "transfer", n, f"{PREFIX}.{n}.9", site.transfer_names, site))
    for i in range(1, site.nodes + 1):
        found.append(Node(f"{name}-c{i}", "compute", n, f"{PREFIX}.{n}.{10 + i}", (), site))
    return tuple(found)


NODES = (ROUTER, OPS, INTERNET, *(node for site in SITES for node in nodes_of(site)))


def login_of(site: Site) -> Node:
    """The login node."""
    return nodes_of(site)[0]


def subnet(number: int) -> str:
    """Addresses of a network."""
    return f"{PREFIX}.{number}.0/24"


def find_node(name: str) -> Node:
    """Find a host by its name; the name of a site stands for its login node.

    Raises
    ------
    ConfigError
        If there is no such host.
    """
    for node in NODES:
        if name == node.name or (node.role == "login" and name in (node.group, *node.names)):
            return node
    raise ConfigError(f"no host {name} in the twin", f"There are: {', '.join(n.name for n in NODES)}")


def find_site(name: str) -> Site:
    """Find a site by its name or by one of its hosts.

    Raises
    ------
    ConfigError
        If there is no such site.
    """
    for site in SITES:
        if name == site.name or name in [node.name for node in nodes_of(site)]:
            return site
    raise ConfigError(f"no site {name} in the twin", f"There are: {', '.join(s.name for s in SITES)}")
