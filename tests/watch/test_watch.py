"""What an operator sees: hosts that open and close, and a relay that is always there."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from ml_suite.hosts import mux
from ml_suite.hosts.jobfile import alive, start_time
from ml_suite.watch import OPEN
from ml_suite.watch.registry import Watched
from tests.hosts.sshd_fixture import NAME, Sshd, descendants
from tests.watch.conftest import NEAR, Rig, wait

HOST = f"/ml_suite/{NAME}"
RELAY = f"{HOST}/relay"


def test_a_valid_certificate_opens_the_host_within_a_minute(rig: Rig, certified: Sshd) -> None:
    rig.deploy("demo", Watched(NAME), **{NAME: certified.way})
    wait(lambda: rig.limit() == OPEN, "open limit", 70)
    assert rig.meter(HOST, "minutes") in (659, 660)
    assert rig.label(HOST, "state").startswith("ready, 1")
    assert rig.red() == []
