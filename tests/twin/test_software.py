"""Software for a site where no node sees the internet, login nodes included."""

from __future__ import annotations

import base64
import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from ml_suite.software import wheelhouse
from ml_suite.software.lock import parse
from ml_suite.software.target import Target
from tests.twin.conftest import Twin

pytestmark = pytest.mark.twin

LOCK = "packaging==24.2\nsix==1.17.0\n"
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
BASE = Path(sys.base_prefix, "bin", f"python{PYTHON}")

PREPARE = f"""
from pathlib import Path
from ml_suite.config.deployment import Software
from ml_suite.home import home
from ml_suite.hosts import reach
from ml_suite.software import place, prepare
from ml_suite.software.patience import Line
Path("lock.txt").write_text({LOCK!r})
software = Software(wheelhouse="lock.txt", python="{PYTHON}", interpreter="{BASE}")
work = Path("/gpfs/scratch/ehpc01/software")
environment = place.environment_path(work, software, "{os.uname().machine}", Path.cwd())
line = Line(reach.known("marenostrum5"), lambda text: None)
for _ in range(2):
    made = prepare.prepare(line, software, Path("lock.txt"), environment, home())
    print(environment, made.fresh, made.notes)
"""


def test_wheels_are_installed_where_nothing_sees_the_internet(twin: Twin, tmp_path: Path) -> None:
    nodes = ("marenostrum5-login", "marenostrum5-c1")
    for node in nodes:
        assert "open" not in twin.reaches(node, [("internet", 80)]).values()
    # ops of the twin has no internet either: what pip downloads is there before
    kind, version = os.confstr("CS_GNU_LIBC_VERSION").split()  # type: ignore[union-attr]
    assert kind == "glibc"
    major, minor = map(int, version.split(".")[:2])
    target = Target(PYTHON, os.uname().machine, (major, minor))
    wheelhouse.ensure(tmp_path, parse(LOCK, "lock.txt"), target, print)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(tmp_path / "wheelhouse", "wheelhouse")
    unpack = "d=${ML_SUITE_HOME:-$HOME/.local/share/ml-suite}; mkdir -p $d; base64 -d | tar -xzf - -C $d"
    twin.must("exec", "ops", unpack, stdin=base64.b64encode(packed.getvalue()).decode())
    twin.must("exec", "ops", "ml-suite hosts login marenostrum5")
    first, second = twin.must("exec", "ops", f"{sys.executable} -", stdin=PREPARE, timeout=600).splitlines()
    environment, fresh, notes = first.split(" ", 2)
    assert (fresh, notes) == ("True", "()")
    assert second == f"{environment} False ()"
    code = "import packaging, six, sys; print(packaging.__version__, six.__version__, sys.prefix)"
    told = twin.must("exec", nodes[0], f"srun -n1 -t5 {environment}/bin/python -c '{code}'")
    assert told.split() == ["24.2", "1.17.0", environment]
