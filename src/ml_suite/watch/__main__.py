"""``python -m ml_suite.watch``: what the tasks of the watch suite run."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ml_suite.errors import MlSuiteError
from ml_suite.home import home
from ml_suite.hosts.voice import clean
from ml_suite.server.client import connect
from ml_suite.watch import agent, registry
from ml_suite.watch.keep import revive
from ml_suite.watch.login import Seen, look, node_of, show


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 also when a host is down, closed or unknown: that is shown, and no failure of the task."""
    options = _parser().parse_args(arguments)
    agent.adopt(home())
    try:
        if options.what == "login":
            _login(options.host)
        elif options.what == "courier":
            _courier(options.host, home())
        elif options.what == "transfers":
            _transfers(options.host, home())
        else:
            for line in revive(connect(registry.mine(home())), home()):
                print(line)
    except MlSuiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ml_suite.watch", description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    for name, about in {
        "login": "look whether commands run at HOST, and open or close its limit",
        "courier": "bring what jobs left at HOST beside the server",
        "transfers": "carry the datasets that the catalogue's queue wants at HOST",
    }.items():
        what.add_parser(name, help=about).add_argument("host", metavar="HOST")
    what.add_parser("keep", help="start again what died")
    return parser


def _login(host: str) -> None:
    try:
        now = look(host)
    except MlSuiteError as error:
        # nobody saved how to reach it, or OpenSSH is missing
        now = Seen(False, 0, clean(f"unknown: {error.message}"), error.message)
    print(now.text if not now.reason else f"{now.text}\n{now.reason}")
    if line := show(connect(registry.mine(home())), host, now):
        print(line)


def _courier(host: str, folder: Path) -> None:
    from ml_suite.jobs.mirror import courier

    behind = clean(courier(host, folder))
    print(behind)
    server = connect(registry.mine(home()))
    if node := node_of(server, host):
        server.alter(node.path, "label", "behind", behind)


def _transfers(host: str, folder: Path) -> None:
    from ml_suite.jobs.context import Job
    from ml_suite.jobs.dataset.to_host import carry_out
    from ml_suite.jobs.mirror import using

    # suites that keep their data in the same folder there have one queue
    jobs = {one.hosts[host].work: Job(one, one.ops) for one in using(host, folder)}
    lines = [line for job in jobs.values() for line in carry_out(job, host)]
    print("\n".join(lines) or "nothing waits")


if __name__ == "__main__":
    sys.exit(main())
