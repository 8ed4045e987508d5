"""``python -m ml_suite.catalogue --port P --data DIR --token-file F``: serve the catalogue until SIGTERM."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sqlite3
import sys
from pathlib import Path
from types import FrameType

from ml_suite.errors import MlSuiteError, ServerUnreachable

DATABASE = "catalogue.sqlite"


def main(arguments: list[str]) -> int:
    """Serve; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m ml_suite.catalogue", description="Serve an Anemoi catalogue."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: %(default)s)")
    parser.add_argument("--port", type=int, required=True, help="port to listen at; 0 takes a free one")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of the database and of settings.json"
    )
    parser.add_argument(
        "--token-file", type=Path, required=True, help="file (mode 0600) with the writers' token"
    )
    chosen = parser.parse_args(arguments)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    try:
        serve(chosen.host, chosen.port, chosen.data, chosen.token_file)
    except MlSuiteError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def serve(host: str, port: int, data: Path, token_file: Path) -> None:
    """Listen until a signal comes.

    Raises
    ------
    CredentialNeeded
        If the token file is missing or open to others.
    ConfigError
        If ``settings.json`` is wrong.
    ServerUnreachable
        If the port is in use or the data folder cannot be written.
    """
    import uvicorn

    from ml_suite.catalogue import app, auth
    from ml_suite.catalogue.settings import Settings
    from ml_suite.catalogue.store import Store

    token = auth.load(token_file)
    listening = bind(host, port)
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        store = Store(data / DATABASE)
        settings = Settings.load(data)
    except (OSError, sqlite3.Error) as error:
        hint = "Choose a folder on a local disk with free space that you may write to."
        raise ServerUnreachable(f"the data folder {data} cannot be used: {error}", hint) from error
    print(f"catalogue http://{host}:{listening.getsockname()[1]} data {data} pid {os.getpid()}", flush=True)
    configuration = uvicorn.Config(
        app.create(store, token, settings), log_level="warning", access_log=False, timeout_graceful_shutdown=5
    )
    uvicorn.Server(configuration).run(sockets=[listening])


def bind(host: str, port: int) -> socket.socket:
    """Take the port before anything else is done.

    Raises
    ------
    ServerUnreachable
        If somebody else has it.
    """
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = error.strerror if isinstance(error, OSError) else "a port is a number up to 65535"
        raise ServerUnreachable(
            f"cannot listen at {host}:{port}: {reason}", "Choose another --port."
        ) from error
    return listening


def _leave(number: int, frame: FrameType | None) -> None:
    """A signal is the normal way to stop: leave with exit code 0."""
    sys.exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
