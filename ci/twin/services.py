"""The suite's own services on the ops host, reachable from where the border allows.

The services listen at the ops host's loopback. The kernel of the ops host hands on what comes to its fixed ports,
as a site's proxy would, so a compute node that has a route sees the real servers.
"""

from __future__ import annotations

import json

from ci.twin.hosts import PATIENCE, Host
from ci.twin.plan import CATALOGUE, ECFLOW, MLFLOW, S3

_PORTS = {"ecflow": ECFLOW, "s3": S3, "mlflow": MLFLOW, "catalogue": CATALOGUE}


def up(host: Host) -> None:
    """Start ecFlow, S3, MLflow and the catalogue as the ops user, and open their fixed ports.

    Raises
    ------
    MlSuiteError
        If `ml-suite services up` fails.
    """
    user, _ = host.node.account
    answer = host.must("bash -lc 'ml-suite services up --json'", user, timeout=3 * PATIENCE)
    found = json.loads(answer[answer.index("{") :])["services"]
    host.must("nft -f -", stdin=forwarding({name: int(found[name]["port"]) for name in _PORTS}))
    host.must("echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet")


def forwarding(ports: dict[str, int]) -> str:
    """Rules for nft: from the fixed ports to those that the services chose. Pure."""
    lines = ["table ip services", "delete table ip services", "table ip services {", " chain incoming {"]
    lines.append("  type nat hook prerouting priority -100;")
    lines += [f"  tcp dport {_PORTS[name]} dnat to 127.0.0.1:{port}" for name, port in ports.items()]
    return "\n".join([*lines, " }", "}", ""])
