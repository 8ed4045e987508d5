"""What a host file may say: the parts of `ml_suite.hosts.host.Host`, facts only."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from ml_suite.config.values import Duration, Strict, Template

Count = Annotated[int, Field(gt=0)]


class Auth(Strict):
    """How a person or a job proves who it is."""

    kind: Literal["none", "key", "certificate", "totp"]
    """totp: a key and a one-time code."""
    lifetime: Duration | None = None
    """How long one login lasts; none: it does not end."""
    renew: str | None = None
    """Command by which a person gets a new certificate; words in capitals are theirs to fill in."""
    prompt: str | None = None
    """What the host asks when it wants the code."""
    unattended: bool = True
    """A program may log in without a person, once it has the key."""


class Endpoint(Strict):
    """A machine that takes ssh connections."""

    address: str
    """A name that may stand for several machines."""
    nodes: tuple[str, ...] = ()
    """The machines behind it: one is pinned, because sockets and /tmp are a node's own."""
    shell: bool = True
    """It runs commands; without, files can only be copied."""
    tools: tuple[str, ...] = ("ssh", "rsync", "sftp", "scp")
    """Programs that work there."""
    absolute_paths: bool = False
    """Neither the home folder nor the site's variables are known there."""
    cpu_time: Duration | None = None
    """A process that computes longer is killed."""


class Connections(Strict):
    """What the site bears before it shuts the door."""

    sessions: Count = 6
    """Commands at once over one open connection."""
    wait: Duration = timedelta(seconds=10)
    """Shortest time between two new connections, and the first pause after a refusal."""


class Internet(Strict):
    """Which nodes reach the outside."""

    login: bool
    compute: bool


class Limits(Strict):
    """What a job may ask for; what is left out is not known to be limited."""

    max_nodes: Count | None = None
    max_running: Count | None = None
    """Jobs of one person at once."""
    by_name: bool = False
    """Taken only by deployments that name it: for debugging, or on request."""


class Qos(Limits):
    """A quality of service: other limits in the same partition."""

    max_walltime: Duration | None = None
    """None: the partition's."""


class Partition(Limits):
    """A queue of the scheduler."""

    max_walltime: Duration
    default_walltime: Duration | None = None
    """Of a job that does not say; ours always do."""
    gpus: bool = True
    """Its nodes have GPUs."""
    cores: Count | None = None
    """Most cores of one job, where that is less than a node."""
    whole_nodes: bool | None = None
    """Nodes are not shared and billed whole; None: as the host says."""
    free: bool = False
    """Jobs cost nothing."""
    needs_qos: bool = False
    """A job without a QOS is refused."""
    qos: Annotated[dict[str, Qos], Field(default_factory=dict)]


class Paths(Strict):
    """Folders on the host; placeholders: {account} {user} {home} {ml_suite_home} {cache}."""

    work: Template
    """Where suites keep their files."""
    environment: Template
    """Virtual environment with anemoi-training."""
