from tests.hosts.sshd_fixture import home, sshd

__all__ = ["home", "sshd"]
