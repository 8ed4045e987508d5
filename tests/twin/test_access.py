"""Every site's own way in, and what the border lets through."""

from __future__ import annotations

import json
import time

import pytest
from ci.twin import auth
from ci.twin.plan import SITES, find_site
from ci.twin.state import Folder

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
        "SSH_ASKPASS=$HOME/ask SSH_ASKPASS_REQUIRE=force setsid timeout 15 ssh -o NumberOfPasswordPrompts=1 "
        f"-o ControlPath={control} -M -N -f jupiter </dev/null; rc=$?; cat asked; exit $rc"
    )
    return twin.run("exec", "ops", script)


def test_a_code_opens_one_connection_once(twin: Twin) -> None:
    assert "Permission denied (keyboard-interactive)" in twin.ssh("jupiter").stderr
    code = twin.must("totp", "jupiter").strip()
    first = _log_in(twin, code, "/tmp/first")
    assert first.returncode == 0, first.stderr
    assert "JSC TOTP Verification code:" in first.stdout
    over = twin.ssh("jupiter", options="-o BatchMode=yes -o ControlPath=/tmp/first")
    assert over.stdout.strip() == "jupiter-login"
    again = _log_in(twin, code, "/tmp/second")
    assert again.returncode == 255
    assert "Permission denied" in again.stderr
    twin.must("exec", "ops", "ssh -o ControlPath=/tmp/first -O exit jupiter")


def test_a_next_code_is_good_again(twin: Twin) -> None:
    site = find_site("jupiter")
    seed = auth.seed(Folder(twin.folder), site)
    # the site allows for clocks that differ by a step, so nobody has to wait here
    done = _log_in(twin, auth.code(seed, time.time() + 30), "/tmp/third")
    assert done.returncode == 0, done.stderr
    twin.must("exec", "ops", "ssh -o ControlPath=/tmp/third -O exit jupiter")


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
def test_the_border_of(twin: Twin, site: object) -> None:
    place = find_site(site.name)  # type: ignore[attr-defined]
    login, compute = f"{place.name}-login", f"{place.name}-c1"
    closed = "silence" if place.refusal == "drop" else "rejected"
    # nobody listens at the callback port, so a connection that arrives is refused by ops itself
    expected = {
        ("ops", login, 22): "open",
        ("ops", compute, 6818): "silence",
        ("ops", login, 6817): "silence",
        (login, "ops", 3141): "refused" if place.login_out else closed,
        (login, "packages.example.org", 80): "open" if place.login_out else closed,
        (compute, "ops", 3141): "refused" if place.compute_out else closed,
        (compute, "packages.example.org", 80): "open" if place.compute_out else closed,
        (compute, "ops", 22): closed,
        (compute, login, 6817): "open",
    }
    found = {key: twin.reaches(*key) for key in expected}
    assert found == expected


def test_no_site_reaches_another(twin: Twin) -> None:
    assert twin.reaches("lumi-c1", "leonardo-login", 22) == "rejected"


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
