"""Commands of the twin; ci/twin.sh installs what is missing and calls this."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ci.twin import auth, faults, park
from ci.twin.hosts import Host
from ci.twin.plan import find_node, find_site
from ci.twin.state import Folder, Settings, default_folder

from ml_suite.errors import MlSuiteError
from ml_suite.home import cache


def main() -> int:
    """Run one command; the exit code is the one of the error, or of `exec`'s command."""
    arguments = _parser().parse_args()
    folder = Folder(default_folder())
    try:
        if os.geteuid() != 0:
            raise MlSuiteError("the twin needs root: it makes namespaces, cables and firewall rules")
        return int(arguments.work(folder, arguments) or 0)
    except MlSuiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ci/twin.sh", description="Four clusters on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, work: object, text: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=text, description=text)
        one.set_defaults(work=work)
        return one

    one = add("up", _up, "start what does not run")
    one.add_argument("--services", action="store_true", help="ecFlow, S3, MLflow and the catalogue on ops")
    one.add_argument("--accounting", action="store_true", help="slurmdbd on the sites, for sacct")
    one.add_argument("--bind", action="append", default=[], metavar="PATH", help="show PATH in every host")
    one.add_argument("--no-binds", action="store_true", help="show neither this checkout nor environments")
    one = add("down", _down, "end everything; homes and keys stay")
    one.add_argument("--purge", action="store_true", help="delete homes, keys and logs too")
    one = add("status", _status, "hosts, programs, sites")
    one.add_argument("--json", action="store_true", dest="as_json")
    one = add("exec", _exec, "run a command inside; one word is a line of shell")
    one.add_argument("host", metavar="[USER@]HOST")
    one.add_argument("command", nargs=argparse.REMAINDER)
    one = add("cert", _cert, "a certificate for the ops user, as the site's own command would get it")
    one.add_argument("host")
    one.add_argument("--valid", default="12h", help="how long, as ssh-keygen writes it (default: 12h)")
    one.add_argument("--code", help="one-time code to check first (default: taken as given)")
    one = add("totp", _totp, "what the operator's telephone shows now")
    one.add_argument("host")
    one.add_argument(
        "--codes", type=int, default=1, choices=(1, 2), help="2: the next one too, which is taken already"
    )
    one = add("cut", _cut, "break something: " + ", ".join(faults.KINDS))
    one.add_argument("host")
    one.add_argument("kind", nargs="?", default="link", choices=faults.KINDS)
    one = add("heal", _heal, "mend what was cut")
    one.add_argument("host")
    return parser


def default_binds(checkout: Path) -> list[str]:
    """List this checkout, the Python that runs, the training environment and its Python."""
    found = [checkout, Path(sys.prefix), Path(sys.base_prefix)]
    training = Path(os.environ.get("ML_SUITE_ENVIRONMENT") or cache() / "anemoi")
    if training.exists():
        found += [training, training.resolve(), (training / "bin/python").resolve().parents[1]]
    shown = [str(path) for path in found if not path.is_relative_to("/usr")]
    return list(dict.fromkeys(shown))


def _up(folder: Folder, arguments: argparse.Namespace) -> None:
    checkout = Path(__file__).resolve().parents[2]
    binds = [] if arguments.no_binds else default_binds(checkout)
    binds += [str(Path(path).absolute()) for path in arguments.bind]
    settings = Settings(
        binds=tuple(dict.fromkeys(binds)),
        services=arguments.services,
        accounting=arguments.accounting,
        checkout=str(checkout),
        python=sys.executable,
    )
    with folder.locked():
        seconds = park.up(folder, settings)
    print(f"up in {max(seconds.values()):.1f} s  {folder.root}")
    print("next: bash ci/twin.sh exec ops 'ssh lumi sinfo'")


def _down(folder: Folder, arguments: argparse.Namespace) -> None:
    with folder.locked():
        count = park.down(folder, arguments.purge)
    print(f"{count} hosts ended")


def _status(folder: Folder, arguments: argparse.Namespace) -> int:
    found, sites = park.status(folder)
    running = all(host.pid for host in found)
    if arguments.as_json:
        state = "up" if running else "partly" if any(host.pid for host in found) else "down"
        answer: dict[str, Any] = {"folder": str(folder.root), "state": state, "cuts": folder.faults}
        answer |= {"hosts": {h.name: asdict(h) for h in found}, "sites": {s.name: asdict(s) for s in sites}}
        print(json.dumps(answer, indent=1))
        return 0 if running else 1
    for host in found:
        text = f"{host.memory_mb:6.1f} MB  {' '.join(host.programs)}" if host.pid else "off"
        print(f"{host.name:<20} {host.address:<12} {text}{_cuts(host.faults)}")
    for site in sites:
        nodes = " ".join(f"{name}={state}" for name, state in site.nodes.items()) or "Slurm does not answer"
        print(
            f"{site.name:<20} {site.auth:<12} {nodes}  ssh connections: {site.ssh_connections or 0}{_cuts(site.faults)}"
        )
    return 0 if running else 1


def _cuts(kinds: tuple[str, ...]) -> str:
    return f"  CUT: {' '.join(kinds)}" if kinds else ""


def _exec(folder: Folder, arguments: argparse.Namespace) -> None:
    user, _, name = arguments.host.rpartition("@")
    node = find_node(name)
    words = [word for i, word in enumerate(arguments.command) if i or word != "--"]
    shell = ["bash", "-l"]
    if len(words) == 1:
        shell += ["-c", words[0]]
    elif words:
        shell += ["-c", 'exec "$@"', "twin", *words]
    # where a login would begin
    shell = ["bash", "-c", 'cd; exec "$@"', "twin", *shell]
    command = Host(node, folder).command(shell, user or node.account[0])
    os.execvp(command[0], command)


def _cert(folder: Folder, arguments: argparse.Namespace) -> None:
    certificate = auth.certify(folder, find_site(arguments.host), f"-1m:+{arguments.valid}", arguments.code)
    print(auth.show(certificate), end="")


def _totp(folder: Folder, arguments: argparse.Namespace) -> None:
    for ahead in range(arguments.codes):
        print(auth.current_code(folder, find_site(arguments.host), ahead))


def _cut(folder: Folder, arguments: argparse.Namespace) -> None:
    with folder.locked():
        done = faults.cut(folder, arguments.host, arguments.kind)
    print(f"{done}\nnext: bash ci/twin.sh heal {arguments.host}")


def _heal(folder: Folder, arguments: argparse.Namespace) -> None:
    with folder.locked():
        mended = faults.heal(folder, arguments.host)
        if "node" in mended:
            park.start_host(folder, Host(find_node(arguments.host), folder))
    print(f"{arguments.host}: {', '.join(mended) or 'nothing was cut'}")


if __name__ == "__main__":
    sys.exit(main())
