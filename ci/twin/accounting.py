"""Slurm's accounting of a site, so that `sacct` works: MariaDB and slurmdbd on the login node."""

from __future__ import annotations

import pwd

from ci.twin.hosts import Host, wait_for
from ci.twin.plan import Site, login_of

_DATA = "/var/lib/twindb"
_SOCKET = "/run/mysqld/mysqld.sock"
_CLIENT = f"mariadb -S {_SOCKET} -e"
# as little memory as it starts with; what a crash may lose does not matter here
_DATABASE = (
    f"/usr/sbin/mariadbd --no-defaults --datadir={_DATA} --socket={_SOCKET} --user=mysql --skip-networking "
    "--innodb-buffer-pool-size=24M --innodb-log-file-size=8M --performance-schema=off --key-buffer-size=1M "
    "--aria-pagecache-buffer-size=1M --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900"
)
_INSTALL = (
    f"[ -d {_DATA}/mysql ] || {{ mkdir -p {_DATA} && chown mysql: {_DATA} && mariadb-install-db --no-defaults "
    f"--user=mysql --datadir={_DATA} --skip-test-db --auth-root-authentication-method=socket "
    "--innodb-log-file-size=8M >/dev/null; }"
)
_SCHEMA = (
    "create database if not exists slurm_acct_db; create user if not exists slurm@localhost identified by 'twin'; "
    "grant all on slurm_acct_db.* to slurm@localhost"
)
_SLURMDBD = """\
AuthType=auth/munge
DbdHost={login}
SlurmUser=slurm
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=twin
StorageLoc=slurm_acct_db
PidFile=/run/slurm/slurmdbd.pid
LogFile=/var/log/slurm/slurmdbd.log
"""


def slurm_settings(site: Site) -> list[str]:
    """Lines for slurm.conf. Nothing is enforced: any account and QOS that a job names is taken. Pure."""
    return [
        "AccountingStorageType=accounting_storage/slurmdbd",
        f"AccountingStorageHost={login_of(site).name}",
        "AccountingStorageTRES=gres/gpu",
    ]


def start(login: Host, site: Site) -> bool:
    """Start the database and its daemon on a login node whose munge answers; False if they ran."""
    if login.runs("slurmdbd"):
        return False
    entry = pwd.getpwnam("slurm")
    owner = (entry.pw_uid, entry.pw_gid)
    login.put("/etc/slurm/slurmdbd.conf", _SLURMDBD.format(login=login.node.name), 0o600, owner)
    if not login.runs("mariadbd"):
        login.must(_INSTALL)
        login.start_daemon("mariadbd", _DATABASE)
    wait_for(
        lambda: login.run(f"{_CLIENT} 'select 1'").returncode == 0,
        lambda: f"{login.node.name}: the accounting database does not answer",
    )
    login.must(f'{_CLIENT} "{_SCHEMA}"')
    login.start_daemon("slurmdbd", "/usr/sbin/slurmdbd -D")
    # before it is ready the exit code is 0 and the answer empty
    wait_for(
        lambda: "root" in login.run("timeout 20 sacctmgr -n show account").stdout,
        lambda: f"{login.node.name}: slurmdbd does not answer",
    )
    # each says so and fails where there is nothing to add
    names = [f"cluster {site.name}", f"account {site.account} Cluster={site.name}"]
    names += [f"qos {name}" for name in site.qos]
    names.append(f"user {site.user} Account={site.account} Cluster={site.name}")
    login.must("; ".join(f"sacctmgr -i add {name}" for name in names) + "; true")
    return True
