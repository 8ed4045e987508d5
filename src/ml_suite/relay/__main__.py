"""``python -m ml_suite.relay``: relay the child commands of one spool until it is told to stop."""

from __future__ import annotations

import argparse
import hashlib
import signal
import sys
import threading
import time
from pathlib import Path

from ml_suite.errors import HostError, MlSuiteError
from ml_suite.home import home
from ml_suite.hosts import reach
from ml_suite.hosts.reach import Reach
from ml_suite.relay.pull import Run, Spool, here, over
from ml_suite.relay.relay import Relay, Report, news_of
from ml_suite.server.address import Address, find

_PATIENCE = 60.0
"""Longest pause, in seconds, while the spool or the server cannot be used."""


def main(arguments: list[str] | None = None) -> int:
    """Run the relay; 0 when it was stopped, or after --once when all was said."""
    options = _parser().parse_args(arguments)
    if options.task:
        from ml_suite.watch.resident import run

        stop = _stopping()
        return run(lambda: _relay(options), _state(options), options.spool, options.interval, stop)
    try:
        relay = _relay(options)
    except MlSuiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    try:
        if options.once or options.again:
            report = relay.again() if options.again else relay.once()
            _tell(report)
            return 1 if report.waiting or report.trouble else 0
        _forever(relay, options.interval)
    except OSError as error:
        # its own disk is full: the next relay starts from what is on it
        print(f"error: the relay cannot keep its state: {error}", file=sys.stderr)
        return 1
    finally:
        relay.close()
    return 0


def _relay(options: argparse.Namespace) -> Relay:
    return Relay(_spool(options.spool, options.host), _state(options), _server(options))


def _server(options: argparse.Namespace) -> Address:
    if options.task and options.server is None:
        from ml_suite.watch.registry import mine

        return mine(home())
    return find(home(), options.server)


def _state(options: argparse.Namespace) -> Path:
    """The relay's own folder."""
    folder = options.spool.absolute() if options.host is None else options.spool
    digest = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    state: Path = options.state or home() / "relay" / f"{options.host or 'here'}-{digest}"
    return state


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ml_suite.relay",
        description="Replay child commands that jobs without a route to the ecFlow server left in a spool.",
    )
    parser.add_argument(
        "--spool", type=Path, required=True, metavar="DIR", help="folder: ML_SUITE_SPOOL of the jobs"
    )
    parser.add_argument(
        "--host", metavar="NAME", help="host that has the spool; else this machine sees the folder"
    )
    parser.add_argument(
        "--server", metavar="HOST:PORT", help="ecFlow server; else ECF_HOST or the embedded one"
    )
    parser.add_argument(
        "--state", type=Path, metavar="DIR", help="folder of this relay; default: below ML_SUITE_HOME/relay"
    )
    parser.add_argument(
        "--interval", type=float, default=1.0, metavar="SECONDS", help="between two looks (1)"
    )
    parser.add_argument(
        "--task", action="store_true", help="run as a task of the watch suite: its counts are shown there"
    )
    once = parser.add_mutually_exclusive_group()
    once.add_argument("--once", action="store_true", help="one pass; exit code 1 if something waits")
    once.add_argument("--again", action="store_true", help="try parked commands once more")
    return parser


def _spool(folder: Path, host: str | None) -> Spool:
    run: Run
    if host is None:
        folder, run = folder.absolute(), here
    elif not folder.is_absolute():
        raise HostError(
            f"--spool {folder} is relative", "Write the whole path as the jobs of the host see it."
        )
    else:
        run = over(_way(host))
    return Spool(folder, run)


def _way(host: str) -> Reach:
    """How to reach a host: as deploy or a login noted it, else by its host file, which jobs do not have."""
    try:
        return reach.known(host)
    except HostError:
        from ml_suite.hosts.host import load

        return reach.of(host, load(host, Path.cwd()))[0]


def _stopping() -> threading.Event:
    """Set by TERM and INT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


def _forever(relay: Relay, interval: float) -> None:
    stop = _stopping()
    before, pause = "", interval
    while not stop.is_set():
        begun = time.monotonic()
        report = relay.once()
        before = _tell(report, before)
        # a host that counts failing connections must not be asked every second
        pause = min(2 * pause, _PATIENCE) if report.trouble else interval
        stop.wait(max(0.0, begun + pause - time.monotonic()))


def _tell(report: Report, before: str = "") -> str:
    """Print what is new; a line that says the same as the last one is left out."""
    line = str(report)
    news = report.said or report.again or report.dropped or report.parked
    if news or line != before:
        for each in (line, *news_of(report)):
            print(time.strftime("%Y-%m-%d %H:%M:%S"), each, flush=True)
    return line


if __name__ == "__main__":
    sys.exit(main())
