from tests.hosts.slurm_fixture import slurm
from tests.hosts.sshd_fixture import home, sshd

__all__ = ["home", "slurm", "sshd"]
