"""Every site's own way in, and what the border lets through."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from ci.twin.plan import SITES, Site

from tests.twin.conftest import Done, Twin

pytestmark = pytest.mark.twin


@pytest.mark.parametrize("site", ["lumi", "marenostrum5", "lumi.csc.fi", "alogin1.bsc.es"])
def test_a_key_is_enough(twin: Twin, site: str) -> None:
    done = twin.ssh(site)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("-login")


def test_a_certificate_is_needed_and_expires(twin: Twin) -> None:
    (twin.folder / "homes/ops/ops/.ssh/leonardo_id_ed25519-cert.pub").unlink(missing_ok=True)
    assert "Permission denied (publickey)" in twin.ssh("leonardo").stderr
    assert "Valid: from" in twin.must("cert", "leonardo", "--valid", "12h")
    assert twin.ssh("login.leonardo.cineca.it").stdout.strip() == "leonardo-login"
    twin.must("cut", "leonardo", "cert")
    assert "Permission denied (publickey)" in twin.ssh("leonardo").stderr
    log = twin.must("exec", "root@leonardo-login", "cat /var/log/twin-sshd.log")
    assert "Certificate invalid: expired" in log
    twin.must("heal", "leonardo")
    assert twin.ssh("leonardo").returncode == 0


def test_a_wrong_code_gives_no_certificate(twin: Twin) -> None:
    right = twin.must("totp", "leonardo").strip()
    wrong = f"{(int(right) + 1) % 10**6:06d}"
    assert twin.run("cert", "leonardo", "--code", wrong).returncode == 4
    assert twin.run("cert", "lumi").returncode == 2


def _log_in(twin: Twin, code: str, control: str) -> Done:
    """Ssh to the site with codes; what it asks goes to a file, and the code comes from one."""
    script = (
        f"umask 077; rm -f asked; echo {code} > code; "
        "printf '#!/bin/sh\\necho \"$1\" >> ~/asked\\ncat ~/code\\n' > ask; chmod 700 ask; "
        "SSH_ASKPASS=$HOME/ask SSH_ASKPASS_REQUIRE=force setsid timeout 60 ssh -o NumberOfPasswordPrompts=1 "
        f"-o ControlPath={control} -M -N -f jupiter </dev/null; rc=$?; cat asked; exit $rc"
    )
    return twin.run("exec", "ops", script)


def test_a_code_opens_one_connection_once(twin: Twin) -> None:
    assert "Permission denied (keyboard-interactive)" in twin.ssh("jupiter").stderr
    code = twin.code("jupiter")
    first = _log_in(twin, code, "/tmp/first")
    assert first.returncode == 0, first.stderr
    assert "JSC TOTP Verification code:" in first.stdout
    over = twin.ssh("jupiter", options="-o BatchMode=yes -o ControlPath=/tmp/first")
    assert over.stdout.strip() == "jupiter-login"
    again = _log_in(twin, code, "/tmp/second")
    assert again.returncode == 255
    assert "Permission denied" in again.stderr
    twin.must("exec", "ops", "ssh -o ControlPath=/tmp/first -O exit jupiter")


def test_a_telephone_shows_the_next_code_too(twin: Twin) -> None:
    now, following = twin.must("totp", "jupiter", "--codes", "2").split()
    assert now != following
    assert twin.run("totp", "lumi").returncode == 2


def test_the_data_mover_copies_and_has_no_shell(twin: Twin) -> None:
    twin.must("cert", "leonardo")
    shell = twin.ssh("data.leonardo.cineca.it")
    assert shell.returncode == 1
    assert "only copies files" in shell.stderr
    copy = (
        "echo sent > sent; scp -q sent data.leonardo.cineca.it:/scratch/a08eml00/by-scp && "
        "rsync sent data.leonardo.cineca.it:/scratch/a08eml00/by-rsync"
    )
    twin.must("exec", "ops", copy)
    assert twin.must("exec", "leonardo", "cat $SCRATCH/by-scp $SCRATCH/by-rsync") == "sent\nsent\n"


def test_forwarding_only_where_the_site_has_it(twin: Twin) -> None:
    refused = twin.ssh(
        "marenostrum5", options="-o BatchMode=yes -o ExitOnForwardFailure=yes -R 13141:ops:3141"
    )
    assert "forwarding failed" in refused.stderr
    allowed = twin.ssh("lumi", options="-o BatchMode=yes -o ExitOnForwardFailure=yes -R 13141:ops:3141")
    assert allowed.returncode == 0, allowed.stderr


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_the_border_of(twin: Twin, site: Site) -> None:
    login, compute = f"{site.name}-login", f"{site.name}-c1"
    closed = "silence" if site.refusal == "drop" else "rejected"
    outside, callback = ("packages.example.org", 80), ("ops", 3141)
    expected = {
        "ops": {(login, 22): "open", (compute, 6818): "silence", (login, 6817): "silence"},
        login: dict.fromkeys((callback, outside), "open" if site.login_out else closed),
        compute: {
            **dict.fromkeys((callback, outside), "open" if site.compute_out else closed),
            ("ops", 22): closed,
            (login, 6817): "open",
        },
    }
    with ThreadPoolExecutor() as pool:
        running = {name: pool.submit(twin.reaches, name, wanted) for name, wanted in expected.items()}
        found = {name: one.result() for name, one in running.items()}
    assert found == expected


def test_no_site_reaches_another(twin: Twin) -> None:
    assert twin.reaches("lumi-c1", [("leonardo-login", 22)]) == {("leonardo-login", 22): "rejected"}


def test_new_connections_are_counted_at_the_border(twin: Twin) -> None:
    def count() -> int:
        return int(json.loads(twin.must("status", "--json"))["sites"]["lumi"]["ssh_connections"])

    before = count()
    twin.ssh("lumi")
    master = "-o ControlMaster=auto -o ControlPersist=20 -o ControlPath=/tmp/counted -o BatchMode=yes"
    for _ in range(3):
        assert twin.ssh("lumi", options=master).returncode == 0
    assert count() == before + 2
    twin.must("exec", "ops", "ssh -o ControlPath=/tmp/counted -O exit lumi")


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.name)
def test_the_shipped_host_files_work_unchanged(twin: Twin, site: Site) -> None:
    if site.auth == "certificate":
        twin.must("cert", site.name)
    codes = f"{twin.code(site.name)}\n{twin.code(site.name)}\n" if site.auth == "totp" else ""
    options = " --code-stdin" if codes else ""
    opened = twin.must("exec", "ops", f"ml-suite hosts login {site.name}{options}", stdin=codes)
    assert f"{site.name}: the control connection is open" in opened
    assert (f"{site.name}: the transfer connection is open" in opened) == bool(site.transfer_names)
    line = f"ml-suite hosts check {site.name} --account {site.account} --json"
    findings = json.loads(twin.run("exec", "ops", line).stdout)
    wrong = {finding["name"]: finding["found"] for finding in findings if finding["verdict"] != "ok"}
    # every host has the architecture of this machine
    allowed = {"architecture"} if site.name == "jupiter" else set()
    assert set(wrong) <= allowed, wrong
    assert {"reach", "work", "disk", "slurm", "account"} <= {finding["name"] for finding in findings}


def test_projects_have_their_folders_on_every_node_of_a_site(twin: Twin) -> None:
    for site in SITES:
        for tree in site.trees:
            folder = f"{tree}/{site.account}/ml-suite"
            twin.must("exec", site.name, f"mkdir -p {folder} && echo {tree} > {folder}/tree")
            assert twin.must("exec", f"{site.name}-c1", f"cat {folder}/tree").strip() == tree
