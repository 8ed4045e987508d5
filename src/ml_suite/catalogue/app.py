"""The application: API and pages over one store, and how every error is answered."""

from __future__ import annotations

import logging
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from ml_suite.catalogue import api, pages, records
from ml_suite.catalogue.refusal import Refusal
from ml_suite.catalogue.settings import API, Settings
from ml_suite.catalogue.store import Store

LOG = logging.getLogger("ml_suite.catalogue")
_BUG = 501
"""The client repeats 500 for an hour; 501 it shows at once."""


class SingleSlashes:
    """``//datasets/x`` means ``/datasets/x``: the client's command `entry` writes it so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "//" in scope["path"]:
            path = re.sub("/+", "/", scope["path"])
            scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


def create(store: Store, token: str, settings: Settings | None = None) -> FastAPI:
    """Make the application.

    Parameters
    ----------
    token
        What writers must send.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    # no interactive documentation: it loads scripts from a public address
    app = FastAPI(
        title="Anemoi catalogue", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan
    )
    app.state.store, app.state.token, app.state.settings = store, token, settings or Settings()
    app.add_middleware(SingleSlashes)
    app.include_router(api.router)
    app.include_router(pages.router)
    for error, handler in (
        (Refusal, _refused),
        (HTTPException, _http),
        (RequestValidationError, _invalid),
        (sqlite3.Error, _database),
        (Exception, _bug),
    ):
        app.add_exception_handler(error, handler)
    return app


def _answer(request: Request, status: int, reason: str) -> Response:
    """The reason as JSON for the client, as a page for a browser."""
    if request.url.path.startswith(API + "/") or request.url.path == "/settings":
        return api.answer(records.dump({"error": reason}), status)
    return pages.refusal(request, status, reason)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return _answer(request, error.status, error.reason)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _answer(request, error.status_code, str(error.detail))


async def _invalid(request: Request, error: Exception) -> Response:
    return _answer(request, 422, f"the request is malformed: {error}")


async def _database(request: Request, error: Exception) -> Response:
    """A full disk is no fault of the caller, but 507 or 503 would make the client wait for an hour."""
    assert isinstance(error, sqlite3.Error)
    name = getattr(error, "sqlite_errorname", "") or ""
    LOG.error("%s %s: %s (%s)", request.method, request.url.path, error, name)
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN")):
        return _answer(
            request, 422, f"the catalogue cannot store anything ({error}): free its disk, then repeat"
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _answer(request, 423, "the catalogue's database is in use by another program; repeat")
    return await _bug(request, error)


async def _bug(request: Request, error: Exception) -> Response:
    LOG.exception("%s %s", request.method, request.url.path, exc_info=error)
    return _answer(request, _BUG, f"the catalogue has a bug, see its log: {type(error).__name__}")
