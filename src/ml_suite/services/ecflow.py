"""The embedded ecFlow server.

It listens at every interface and has no option not to. So it is started with a password file and a white
list, which keep everybody else from reading and changing suites. One hole remains in 5.9.2: it stops at a
``--terminate`` that it has refused. Where a C compiler is found, a small preloaded library therefore makes it
listen at loopback only.
"""

from __future__ import annotations

import getpass
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import MlSuiteError, ServerUnreachable
from ml_suite.services import ports
from ml_suite.services.addresses import HOST, client_environment
from ml_suite.services.process import Process, end, wait_ended
from ml_suite.services.server import LOOPBACK, NotReadyError, Server, Setting, base_environment

__all__ = ["Ecflow", "client_environment"]

CHECKPOINT_SECONDS = 20
"""Between checkpoints if somebody has switched those after each change off."""
_INSTALL = (
    "conda install -c conda-forge ecflow    (no root needed; then run this in that environment)\n"
    "  or: apt install ecflow-server ecflow-client python3-ecflow"
)


class Ecflow(Server):
    """The server; its jobs are not its family and go on without it."""

    name = "ecflow"
    seconds = 20.0
    family = False

    def require(self) -> None:
        for program in ("ecflow_server", "ecflow_client"):
            find(program)

    def prepare(self, setting: Setting) -> None:
        folder = setting.places.folder(self.name)
        port, user = setting.port(self.name), getpass.getuser()
        password = setting.secrets.ecflow_password
        # the server looks for its own host's name, clients for the name they call
        hosts = sorted({HOST, LOOPBACK, socket.gethostname()})
        lines = "".join(f"{user} {host} {port} {password}\n" for host in hosts)
        atomic.write(folder / "ecf.passwd", f"4.5.0\n{lines}", mode=0o600)
        atomic.write(folder / "ecf.lists", f"4.4.14\n{user}\n", mode=0o600)
        address = {"host": HOST, "port": port, "passwd": str(folder / "ecf.passwd")}
        atomic.write(setting.places.ecflow_address, json.dumps(address) + "\n", mode=0o600)
        _build_shim(folder)

    def command(self, setting: Setting) -> list[str]:
        return [find("ecflow_server"), f"--port={setting.port(self.name)}"]

    def environment(self, setting: Setting) -> dict[str, str]:
        folder, data = setting.places.folder(self.name), self.data(setting)
        variables = {
            "ECF_PORT": str(setting.port(self.name)),
            "ECF_HOME": str(data),
            # absolute, because the default names hold the port, and the port may change
            "ECF_LOG": str(data / "ecf.log"),
            "ECF_CHECK": str(data / "ecf.check"),
            "ECF_CHECKOLD": str(data / "ecf.check.b"),
            "ECF_CHECKINTERVAL": str(CHECKPOINT_SECONDS),
            "ECF_PASSWD": str(folder / "ecf.passwd"),
            "ECF_LISTS": str(folder / "ecf.lists"),
        }
        if (shim := _shim(folder)).exists():
            variables["LD_PRELOAD"] = str(shim)
        return variables

    def check(self, setting: Setting, fresh: bool) -> str:
        if not ports.answers(setting.port(self.name)):
            raise NotReadyError("nothing listens at its port")
        folder = setting.places.folder(self.name)
        known = client_environment(setting.places.home)
        stranger = {**known, "ECF_PASSWD": str(folder / "nobody.passwd")}
        if _client(["--ping"], stranger).returncode == 0:
            raise MlSuiteError("the ecFlow server answers without a password", "Run: ml-suite services down")
        if fresh:
            # a server that is killed then goes on from its last change; one change costs 1 ms with 5,000 tasks
            _must(["--check_pt=always"], known)
            _must(["--restart"], known)
        _must(["--get_state"], known)
        return "" if _listens_at_loopback(setting.port(self.name)) else EXPOSED

    def stop(self, setting: Setting, process: Process) -> None:
        if ports.answers(setting.port(self.name)):
            known = client_environment(setting.places.home)
            for request in (["--halt=yes"], ["--check_pt"], ["--terminate=yes"]):
                if _client(request, known).returncode != 0:
                    break
            else:
                if wait_ended(process, 10):
                    return
        # TERM makes it write a checkpoint, but does not end it
        end(process, grace=2.0, family=False)


EXPOSED = (
    "listens at every interface of this machine: it asks for the password, so nobody else reads or "
    "changes suites, but anybody who reaches the port can stop it. Install a C compiler "
    "(apt install gcc libc6-dev) and run `ml-suite services down` and `up`, or close the port in the firewall."
)


def find(program: str) -> str:
    """Find a program of ecFlow: beside this Python (conda), else on the PATH.

    Raises
    ------
    ServerUnreachable
        If it is not installed.
    """
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    if found := shutil.which(program, path=path):
        return found
    raise ServerUnreachable(f"{program} is not installed", _INSTALL)


def _client(arguments: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [find("ecflow_client"), *arguments]
    environment = base_environment() | variables
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def _must(arguments: list[str], variables: dict[str, str]) -> None:
    result = _client(arguments, variables)
    if result.returncode != 0:
        raise NotReadyError(f"{arguments[0]}: {(result.stderr or result.stdout).strip()[:300]}")


def _shim(folder: Path) -> Path:
    return folder / "loopback.so"


def _build_shim(folder: Path) -> None:
    source = Path(__file__).with_name("loopback.c")
    compiler = shutil.which("cc") or shutil.which("gcc")
    shim = _shim(folder)
    if compiler is None or (shim.exists() and shim.stat().st_mtime > source.stat().st_mtime):
        return
    temporary = shim.with_suffix(".part")
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(temporary), str(source), "-ldl"]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        temporary.replace(shim)
    temporary.unlink(missing_ok=True)


def _listens_at_loopback(port: int) -> bool:
    """Whether the port is listened at under 127.0.0.1 only, as the kernel says."""
    listening = "0A"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, _, number = local.partition(":")
        if state == listening and int(number, 16) == port:
            return address == "0100007F"
    return False
