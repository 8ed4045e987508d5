"""Start, look at and stop the embedded servers together."""

from __future__ import annotations

import fcntl
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from ml_suite import atomic
from ml_suite.errors import ConfigError, MlSuiteError
from ml_suite.services import ports
from ml_suite.services.addresses import Places
from ml_suite.services.catalogue import Catalogue
from ml_suite.services.credentials import Secrets
from ml_suite.services.ecflow import Ecflow
from ml_suite.services.mlflow import Mlflow
from ml_suite.services.process import Process, end, launch, members
from ml_suite.services.s3 import SeaweedFS, connection
from ml_suite.services.server import NotReadyError, Server, Setting, base_environment, wait_until_ready

SERVERS: tuple[Server, ...] = (Ecflow(), SeaweedFS(), Mlflow(), Catalogue())
_ROUNDS = 3

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Record:
    """What is remembered of a server between commands."""

    ports: Mapping[str, int]
    process: Process | None = None
    fingerprint: str = ""
    """Of command, variables and program: a running server with another one is started anew."""

    def save(self, path: Path) -> None:
        """Write it down."""
        atomic.write(path, json.dumps(asdict(self)) + "\n", mode=0o600)

    @classmethod
    def load(cls, path: Path) -> Record:
        """Read it; a missing or damaged record is an empty one."""
        try:
            x = json.loads(path.read_text())
            process = Process(int(x["process"]["pid"]), str(x["process"]["start"])) if x["process"] else None
            return cls({str(k): int(v) for k, v in x["ports"].items()}, process, str(x["fingerprint"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return cls({})

    @property
    def running(self) -> bool:
        """Whether the recorded process lives."""
        return self.process is not None and self.process.alive


@dataclass(frozen=True)
class Outcome:
    """What is said of one server."""

    name: str
    state: str
    """``running`` (was already), ``started``, ``restarted``, ``stopped``, ``failed``."""
    port: int
    pid: int | None
    seconds: float
    remark: str = ""


def up(home: Path, tell: Tell = lambda text: None) -> list[Outcome]:
    """Make all servers run and prove that they work; those that run already are only checked.

    Parameters
    ----------
    tell
        Called with one line for a person, now and then.

    Raises
    ------
    MlSuiteError
        If a program is missing, the folder cannot be written, or a server does not come up.
    """
    for server in SERVERS:
        server.require()
    places = Places(home)
    with _locked(places, tell):
        for attempt in range(_ROUNDS):
            setting = _settle(places, tell)
            _save_connections(setting)
            results = _together(partial(_bring_up, setting=setting))
            lost = [name for name, result in results.items() if isinstance(result, _PortLostError)]
            if not lost or attempt == _ROUNDS - 1:
                break
    errors = [result for result in results.values() if isinstance(result, MlSuiteError)]
    if errors:
        raise _joined(errors)
    return [result for result in results.values() if isinstance(result, Outcome)]


def status(home: Path) -> list[Outcome]:
    """Check every server by using it; none is started or stopped."""
    places = Places(home)
    records = {server.name: Record.load(_record(places, server)) for server in SERVERS}
    if not places.secrets.exists():
        return [Outcome(server.name, "stopped", 0, None, 0.0) for server in SERVERS]
    setting = Setting(places, Secrets.keep(places.secrets), {name: x.ports for name, x in records.items()})
    results = _together(lambda server: _look(server, setting, records[server.name]))
    return [result for result in results.values() if isinstance(result, Outcome)]


def down(home: Path, tell: Tell = lambda text: None) -> list[Outcome]:
    """Stop all servers; their data stays.

    Raises
    ------
    MlSuiteError
        If the folder cannot be written.
    """
    places = Places(home)
    if not places.services.exists():
        return [Outcome(server.name, "stopped", 0, None, 0.0, "was not running") for server in SERVERS]
    with _locked(places, tell):
        records = {server.name: Record.load(_record(places, server)) for server in SERVERS}
        secrets = Secrets.keep(places.secrets)
        setting = Setting(places, secrets, {name: record.ports for name, record in records.items()})
        results = _together(lambda server: _bring_down(server, setting, records[server.name]))
    errors = [result for result in results.values() if isinstance(result, MlSuiteError)]
    if errors:
        raise _joined(errors)
    return [result for result in results.values() if isinstance(result, Outcome)]


class _PortLostError(MlSuiteError):
    """Another program took the port between the choice and the start."""


def _record(places: Places, server: Server) -> Path:
    return places.folder(server.name) / "state.json"


@contextmanager
def _locked(places: Places, tell: Tell) -> Iterator[None]:
    try:
        places.services.mkdir(parents=True, exist_ok=True, mode=0o700)
        places.services.chmod(0o700)
        lock = places.lock.open("w")
    except OSError as error:
        message = f"{places.services} cannot be written: {error.strerror}"
        raise MlSuiteError(message, "Choose another folder: --home DIR, or ML_SUITE_HOME.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another `ml-suite services` works on this folder; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _settle(places: Places, tell: Tell) -> Setting:
    """Choose the ports of everything before anything is started, because servers name each other."""
    records = {server.name: Record.load(_record(places, server)) for server in SERVERS}
    running = {
        x.name for x in SERVERS if records[x.name].running and set(x.ports) <= set(records[x.name].ports)
    }
    taken = {port for name in running for port in records[name].ports.values()}
    chosen: dict[str, Mapping[str, int]] = {}
    for server in SERVERS:
        record = records[server.name]
        if server.name in running:
            chosen[server.name] = record.ports
            continue
        _clear_remains(server, record)
        chosen[server.name] = ports.choose(server.ports, record.ports, taken)
        before, after = record.ports.get("main"), chosen[server.name]["main"]
        if before and before != after:
            tell(f"{server.name}: port {before} is in use by another program; from now on {after}")
        places.folder(server.name).mkdir(exist_ok=True, mode=0o700)
        Record(chosen[server.name]).save(_record(places, server))
    return Setting(places, Secrets.keep(places.secrets), chosen)


def _clear_remains(server: Server, record: Record) -> None:
    """End what a killed server left of its family, or one of an older release: it would hold ports and files."""
    if record.process and (record.running or (server.family and members(record.process))):
        end(record.process, family=server.family)


def _bring_up(server: Server, setting: Setting) -> Outcome:
    begun = time.monotonic()
    path = _record(setting.places, server)
    record = Record.load(path)
    command, variables = server.command(setting), server.environment(setting)
    fingerprint = hashlib.sha256(json.dumps([command, variables]).encode()).hexdigest()[:16]
    state = "started"
    if record.process and record.running and record.fingerprint == fingerprint:
        remark = wait_until_ready(server, setting, record.process, fresh=False)
        return _outcome(server, setting, "running", record.process, begun, remark)
    if record.process and record.running:
        server.stop(setting, record.process)
        state = "restarted"
    server.data(setting).mkdir(parents=True, exist_ok=True, mode=0o700)
    server.prepare(setting)
    # once more, because preparing may have made a file that changes the variables
    variables = server.environment(setting)
    folder = setting.places.folder(server.name)
    process = launch(command, base_environment() | variables, folder, folder / "log")
    fingerprint = hashlib.sha256(json.dumps([command, variables]).encode()).hexdigest()[:16]
    Record(setting.ports[server.name], process, fingerprint).save(path)
    try:
        remark = wait_until_ready(server, setting, process, fresh=True)
    except MlSuiteError as error:
        if not process.alive and _lost_port(setting.ports[server.name]):
            raise _PortLostError(error.message, error.hint) from error
        raise
    return _outcome(server, setting, state, process, begun, remark)


def _lost_port(chosen: Mapping[str, int]) -> bool:
    return any(not ports.is_free(port) for port in chosen.values())


def _look(server: Server, setting: Setting, record: Record) -> Outcome:
    begun = time.monotonic()
    if not record.process or not record.running:
        return Outcome(server.name, "stopped", record.ports.get("main", 0), None, 0.0)
    try:
        remark = server.check(setting, fresh=False)
    except (NotReadyError, MlSuiteError) as error:
        return _outcome(server, setting, "failed", record.process, begun, str(error))
    return _outcome(server, setting, "running", record.process, begun, remark)


def _bring_down(server: Server, setting: Setting, record: Record) -> Outcome:
    begun = time.monotonic()
    remark = "was not running"
    if record.process and record.running:
        server.stop(setting, record.process)
        remark = ""
        if record.process.alive:
            raise MlSuiteError(f"{server.name} (process {record.process.pid}) does not end")
    _clear_remains(server, record)
    if record.ports:
        Record(record.ports).save(_record(setting.places, server))
    return Outcome(
        server.name, "stopped", record.ports.get("main", 0), None, time.monotonic() - begun, remark
    )


def _outcome(
    server: Server, setting: Setting, state: str, process: Process, begun: float, remark: str
) -> Outcome:
    seconds = time.monotonic() - begun
    return Outcome(server.name, state, setting.port(server.name), process.pid, seconds, remark)


def _together(work: Callable[[Server], Outcome]) -> dict[str, Outcome | MlSuiteError]:
    def guarded(server: Server) -> Outcome | MlSuiteError:
        try:
            return work(server)
        except MlSuiteError as error:
            return error
        except OSError as error:
            return MlSuiteError(f"{server.name}: {error.filename or ''} {error.strerror or error}".strip())

    with ThreadPoolExecutor(len(SERVERS)) as pool:
        return dict(zip((server.name for server in SERVERS), pool.map(guarded, SERVERS), strict=True))


def _joined(errors: list[MlSuiteError]) -> MlSuiteError:
    return (
        errors[0] if len(errors) == 1 else MlSuiteError("\n".join(e.message for e in errors), errors[0].hint)
    )


def _save_connections(setting: Setting) -> None:
    from pydantic import SecretStr

    from ml_suite.stores import connections as c

    path = setting.places.connections
    made = c.Connections(
        s3=connection(setting),
        mlflow=c.Mlflow(url=setting.url("mlflow")),
        catalogue=c.Catalogue(url=setting.url("catalogue"), token=SecretStr(setting.secrets.catalogue_token)),
    )
    if path.exists():
        there = c.Connections.load(path)
        same = there.s3.secret_access_key == made.s3.secret_access_key
        if not same or there.catalogue.token != made.catalogue.token:
            hint = "Move the file away, or choose another folder: --home DIR."
            raise ConfigError(f"{path} names other services and would be overwritten", hint)
        if there == made:
            return
    made.save(path)
