"""The twin's facts and texts, without starting anything."""

from __future__ import annotations

from ci.twin import auth, network, sshd
from ci.twin.plan import NODES, SITES, find_node, nodes_of


def test_names_addresses_and_cables_are_unique() -> None:
    for values in ([n.address for n in NODES], [n.name for n in NODES], [n.link for n in NODES]):
        assert len(set(values)) == len(values)
    names = [name for node in NODES for name in node.names]
    assert len(set(names)) == len(names)
    assert all(len(node.link) < 16 for node in NODES)


def test_a_site_and_its_public_name_mean_its_login_node() -> None:
    for site in SITES:
        assert find_node(site.name) == find_node(site.names[0]) == nodes_of(site)[0]


def test_codes_are_those_of_rfc_6238() -> None:
    # appendix B, SHA-1, the last six of eight digits; the secret is 12345678901234567890
    secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
    assert auth.code(secret, 59) == "287082"
    assert auth.code(secret, 1111111109) == "081804"
    assert auth.code(secret, 20000000000) == "353130"


def test_the_border_lets_out_who_the_site_lets_out() -> None:
    for site in SITES:
        rules = network.policy([site])
        compute_out = f"ip saddr 10.77.{site.number}.0/24 ip daddr" in rules
        login_out = f"ip saddr 10.77.{site.number}.10 ip daddr" in rules
        assert (compute_out, login_out) == (site.compute_out, site.login_out)
        assert "policy drop" in rules


def test_no_fault_means_no_rule() -> None:
    assert "addr" not in network.faulty({})
    assert network.faulty({"lumi": ["half"]}).count("drop") == 2
    assert "host-unreachable" in network.faulty({"lumi": ["link"]})


def test_only_the_sites_authority_opens_a_certificate_site() -> None:
    for site in SITES:
        text = sshd.settings_of(nodes_of(site)[0], site)
        assert ("TrustedUserCAKeys" in text) == (site.auth == "certificate")
        assert ("keyboard-interactive" in text) == (site.auth == "totp")
        assert "PasswordAuthentication no" in text
