"""Cables and the border: a bridge per site and the policy between them, in the router's namespace.

Nobody inside a site, not even its root, can change what the border does.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.twin.hosts import PATIENCE, Host
from ci.twin.plan import (
    CALLBACK_PORTS,
    INTERNET,
    NETWORKS,
    OPS,
    PREFIX,
    ROUTER,
    SITES,
    Node,
    Site,
    login_of,
    nodes_of,
    subnet,
)

from ml_suite.errors import MlSuiteError


def start_router(router: Host) -> None:
    """Make the bridges, forward between them, and load the policy; done once per start of the router."""
    if f"br{max(NETWORKS)}:" in _interfaces(router):
        return
    commands = ["link set lo up"]
    for number in NETWORKS:
        name = f"br{number}"
        commands += [
            f"link add {name} type bridge",
            f"addr add {PREFIX}.{number}.1/24 dev {name}",
            f"link set {name} up",
        ]
    _ip(router, commands)
    # frames inside a site are not the border's business
    keys = (
        "net/ipv4/ip_forward",
        "net/bridge/bridge-nf-call-iptables",
        "net/bridge/bridge-nf-call-ip6tables",
    )
    script = "; ".join(
        f"[ ! -e /proc/sys/{key} ] || echo {int(key.endswith('forward'))} > /proc/sys/{key}" for key in keys
    )
    _inside(router, ["sh", "-c", script])
    _inside(router, ["nft", "-f", "-"], policy())


def connect(hosts: Sequence[Host], router: Host) -> None:
    """Give every host its cable, address and route, unless it has them."""
    bare = [host for host in hosts if host.node != ROUTER and "eth0:" not in _interfaces(host)]
    commands = []
    for host in bare:
        link = host.node.link
        commands += [
            f"link add {link} type veth peer name eth0 netns {host.pid}",
            f"link set {link} master br{host.node.network} up",
        ]
    if commands:
        _ip(router, commands)
    for host in bare:
        commands = [
            "link set lo up",
            f"addr add {host.node.address}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {PREFIX}.{host.node.network}.1",
        ]
        _ip(host, commands)


def set_cable(node: Node, router: Host, plugged: bool) -> None:
    """Pull or plug a host's cable."""
    # what the router remembers of the way would have new connections wait rather than fail
    forget = f"neigh flush to {node.address} dev br{node.network}"
    _ip(router, [f"link set {node.link} {'up' if plugged else 'down'}", forget])


def load_faults(faults: Mapping[str, list[str]], router: Host) -> None:
    """Make the border do what is in the list of faults, and nothing else."""
    _inside(router, ["nft", "-f", "-"], faulty(faults))


def policy(sites: Sequence[Site] = SITES) -> str:
    """Rules of the border for nft: who may open a connection to whom. Pure."""
    lines = ["table inet border {"]
    lines += [f" counter ssh_{site.name} {{ }}" for site in sites]
    lines += [
        " chain forward {",
        "  type filter hook forward priority 0; policy drop;",
        "  ct state established,related accept",
        f"  ip saddr {OPS.address} ip daddr {INTERNET.address} accept",
    ]
    for site in sites:
        lines += [f"  {rule}" for rule in _rules(site)]
    return "\n".join([*lines, " }", "}", ""])


def _rules(site: Site) -> list[str]:
    doors = ", ".join(node.address for node in nodes_of(site) if node.role in ("login", "transfer"))
    ssh = f"ip saddr {OPS.address} ip daddr {{ {doors} }} tcp dport 22"
    rules = [f"{ssh} ct state new counter name ssh_{site.name}"]
    if site.connections_per_minute:
        n = site.connections_per_minute
        rules.append(f"{ssh} ct state new limit rate over {n}/minute burst {n} packets drop")
    rules.append(f"{ssh} accept")
    out = f"ip daddr {INTERNET.address} accept"
    back = f"ip daddr {OPS.address} tcp dport {{ {', '.join(map(str, CALLBACK_PORTS))} }} accept"
    if site.login_out:
        rules += [f"ip saddr {login_of(site).address} {rule}" for rule in (out, back)]
    if site.compute_out:
        rules += [f"ip saddr {subnet(site.number)} {rule}" for rule in (out, back)]
    refusal = "drop" if site.refusal == "drop" else "reject with icmpx type admin-prohibited"
    return [*rules, f"ip saddr {subnet(site.number)} counter {refusal}"]


def faulty(faults: Mapping[str, list[str]]) -> str:
    """Rules for nft that break lines: FAULTS has kinds ``half`` and ``link`` by site or host. Pure."""
    lines = ["table inet faults", "delete table inet faults", "table inet faults {", " chain forward {"]
    lines.append("  type filter hook forward priority -10; policy accept;")
    for name, kinds in sorted(faults.items()):
        networks = [subnet(site.number) for site in SITES if site.name == name]
        addresses = networks or [node.address for node in (*_all_nodes(),) if node.name == name]
        for address in addresses:
            if "half" in kinds:
                lines += [f"  ip {way} {address} drop" for way in ("saddr", "daddr")]
            elif "link" in kinds and networks:
                refused = "reject with icmpx type host-unreachable"
                lines += [f"  ip {way} {address} {refused}" for way in ("saddr", "daddr")]
    return "\n".join([*lines, " }", "}", ""])


def _all_nodes() -> tuple[Node, ...]:
    return (OPS, INTERNET, *(node for site in SITES for node in nodes_of(site)))


def connections(router: Host) -> dict[str, int]:
    """New ssh connections that came to each site's border since the start."""
    found = json.loads(_inside(router, ["nft", "-j", "list", "counters"]))["nftables"]
    counters = [item["counter"] for item in found if "counter" in item]
    return {str(c["name"]).removeprefix("ssh_"): int(c["packets"]) for c in counters}


def _interfaces(host: Host) -> str:
    return Path(f"/proc/{host.pid}/net/dev").read_text()


def _ip(host: Host, commands: Sequence[str]) -> None:
    _inside(host, ["ip", "-batch", "-"], "\n".join(commands) + "\n")


def _inside(host: Host, command: list[str], stdin: str = "") -> str:
    """Run a program of the machine in a host's network; it sees the machine's files."""
    words = ["nsenter", f"--net=/proc/{host.pid}/ns/net", "--", *command]
    done = subprocess.run(words, input=stdin, capture_output=True, text=True, timeout=PATIENCE, check=False)
    if done.returncode:
        raise MlSuiteError(f"{host.node.name}: {command[0]} failed: {done.stderr.strip()[-400:]}")
    return done.stdout
