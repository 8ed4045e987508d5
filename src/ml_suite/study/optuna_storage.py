"""Open a storage of Optuna: a journal file, an SQLite file, or a database."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ml_suite import atomic
from ml_suite.errors import StudyError

FORMS = (
    "Write journal:FILE, sqlite:///FILE, or the URL of another database, such as postgresql://USER@HOST/NAME."
)


@contextmanager
def writing(url: str) -> Iterator[Any]:
    """Storage to write to; a new file is there whole or not at all, one that exists is added to.

    Raises
    ------
    StudyError
        If it cannot be opened or written.
    """
    kind, file = _parsed(url)
    with _explained(url):
        if file is not None and not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            if kind == "journal":
                lines: list[dict[str, Any]] = []
                yield _journal_of(lines)
                text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
                atomic.write(file, text)
            else:
                yield from _new_sqlite(file)
        else:
            yield _opened(url, kind, file)


@contextmanager
def reading(url: str) -> Iterator[Any]:
    """Storage to read from.

    Raises
    ------
    StudyError
        If there is none, or it cannot be read.
    """
    kind, file = _parsed(url)
    if file is not None and not file.is_file():
        raise StudyError(f"there is no file {file}", FORMS)
    storage = _opened(url, kind, file)
    with _explained(url):
        yield storage


def shown(url: str) -> str:
    """The URL without its password.

    >>> shown("postgresql://me:secret@db/optuna")
    'postgresql://me:***@db/optuna'
    """
    return re.sub(r"(//[^/@:]*):[^/@]*@", r"\1:***@", url)


def _parsed(url: str) -> tuple[str, Path | None]:
    """Kind of a storage, and its file if it is one."""
    kind, colon, rest = url.partition(":")
    if kind == "journal" and rest:
        return kind, Path(rest.removeprefix("//")).expanduser().absolute()
    if kind == "sqlite" and rest.startswith("///") and rest != "///":
        return kind, Path(rest[3:]).expanduser().absolute()
    if (
        colon
        and re.match(r"(postgresql|mysql|mariadb|oracle|mssql)(\+\w+)?$", kind)
        and rest.startswith("//")
    ):
        return "database", None
    raise StudyError(f"{shown(url)!r} is no storage of Optuna", FORMS)


def _opened(url: str, kind: str, file: Path | None) -> Any:
    from optuna.storages import JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    try:
        with _explained(url):
            if kind == "journal":
                return JournalStorage(JournalFileBackend(str(file)))
            return RDBStorage(f"sqlite:///{file}" if file else url)
    except (ValueError, KeyError) as error:
        raise StudyError(f"{shown(url)} is no storage that Optuna can read: {error}", FORMS) from error


def _journal_of(lines: list[dict[str, Any]]) -> Any:
    """Journal in memory: one on disk waits for the disk twice a trial."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import BaseJournalBackend

    class Lines(BaseJournalBackend):
        def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
            yield from lines[log_number_from:]

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            lines.extend(logs)

    return JournalStorage(Lines())


def _new_sqlite(file: Path) -> Iterator[Any]:
    from optuna.storages import RDBStorage
    from sqlalchemy import event

    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        storage = RDBStorage(f"sqlite:///{temporary}")

        # nothing of it counts before it has its name
        @event.listens_for(storage.engine, "connect")
        def hasten(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("PRAGMA journal_mode=MEMORY")

        storage.engine.dispose()
        yield storage
        storage.remove_session()
        storage.engine.dispose()
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _explained(url: str) -> Iterator[None]:
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OSError, SQLAlchemyError, StorageInternalError, ImportError) as error:
        told = str(getattr(error, "orig", None) or error.__cause__ or error).splitlines()[0]
        raise StudyError(f"{shown(url)} cannot be used: {told}", FORMS) from error
