"""The REST API of the real client, version 1."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from ml_suite.catalogue import actions, auth, lineage, records
from ml_suite.catalogue.entries import Caller
from ml_suite.catalogue.records import Collection
from ml_suite.catalogue.refusal import Refusal
from ml_suite.catalogue.settings import API, Settings
from ml_suite.catalogue.store import Store

_BODY_BYTES = 64 * 2**20
_NOT_FILTERS = ("full", "_", "force")

router = APIRouter()


def store(request: Request) -> Store:
    """The application's store."""
    found: Store = request.app.state.store
    return found


def writer(request: Request) -> Caller:
    """Check the token of a write and say who asks."""
    auth.check(request.headers.get("authorization"), request.app.state.token)
    return auth.caller(request.headers)


async def body(request: Request) -> bytes:
    """Body of a write.

    Raises
    ------
    Refusal
        413 if it is too large.
    """
    chunks = bytearray()
    async for chunk in request.stream():
        chunks += chunk
        if len(chunks) > _BODY_BYTES:
            raise Refusal(413, f"a record has at most {_BODY_BYTES // 2**20} MiB")
    return bytes(chunks)


StoreOf = Annotated[Store, Depends(store)]
Writer = Annotated[Caller, Depends(writer)]
Body = Annotated[bytes, Depends(body)]


def parse(content: bytes) -> Any:
    """Strict JSON.

    Raises
    ------
    Refusal
        422 if it is none: NaN and infinities included.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Refusal(422, f"the body is not JSON: {error}") from error


def answer(content: str, status: int = 200) -> Response:
    """JSON text as a response; the client parses the body of every success."""
    return Response(content, status, media_type="application/json")


def joined(texts: list[str]) -> Response:
    """A JSON array of JSON texts."""
    return answer(f"[{','.join(texts)}]")


@router.get("/settings")
def settings(request: Request) -> Response:
    """First request of every client."""
    chosen: Settings = request.app.state.settings
    return answer(records.dump(chosen.answer(str(request.base_url))))


@router.get(API + "/lineage/{name}/{key}")
def read_lineage(name: str, key: str, entries: StoreOf) -> Response:
    """Graph of what an entry was made from and what was made from it (not in ECMWF's catalogue)."""
    graph = lineage.trace(entries, records.collection(name), key)
    return answer(graph.model_dump_json())


@router.get(API + "/replicas")
def replicas(entries: StoreOf, site: str | None = None, name: str | None = None) -> Response:
    """Copies of datasets, one row each."""
    found = [json.loads(text) for text in entries.find(records.collection("datasets"), [])]
    rows = [
        {"name": record["name"], "dataset": record["name"], "site": platform, "path": place.get("path")}
        for record in found
        for platform, place in record["locations"].items()
        if isinstance(place, dict) and site in (None, platform) and name in (None, record["name"])
    ]
    return answer(records.dump(rows))


@router.get(API + "/sites")
def sites(entries: StoreOf) -> Response:
    """Platforms that hold a dataset."""
    found = [json.loads(text) for text in entries.find(records.collection("datasets"), [])]
    names = sorted({platform for record in found for platform in record["locations"]})
    return answer(records.dump([{"name": name, "site": name} for name in names]))


@router.get(API + "/tasks/history")
def history(entries: StoreOf) -> Response:
    """Tasks that are done or were removed, latest first (not in ECMWF's catalogue)."""
    return answer(records.dump([task.as_record() for task in entries.history()]))


@router.get(API + "/{name}")
def read_list(name: str, request: Request, entries: StoreOf) -> Response:
    """Summaries of the entries that match every filter; ``full=1`` gives whole records."""
    parameters = request.query_params
    filters = [(path, value) for path, value in parameters.multi_items() if path not in _NOT_FILTERS]
    whole = parameters.get("full", "0") not in ("", "0", "false", "False")
    return joined(entries.find(records.collection(name), filters, whole))


@router.post(API + "/{name}")
def create(name: str, content: Body, caller: Writer, entries: StoreOf) -> Response:
    """Add an entry."""
    record = actions.create(entries, records.collection(name), parse(content), caller)
    return answer(records.dump(record), 201)


@router.get(API + "/{name}/{key}")
def read(name: str, key: str, request: Request, entries: StoreOf) -> Response:
    """One record; ``_=True`` adds it as first registered."""
    kind = records.collection(name)
    if "_" not in request.query_params:
        return answer(entries.text(kind, key))
    record = {**entries.get(kind, key).record, "_original": json.loads(entries.original(kind, key))}
    return answer(records.dump(record))


@router.put(API + "/{name}/{key}")
def replace(name: str, key: str, content: Body, caller: Writer, entries: StoreOf) -> Response:
    """Write an entry, new or not."""
    return _stored(actions.replace(entries, records.collection(name), key, parse(content), caller))


@router.patch(API + "/{name}/{key}")
def patch(name: str, key: str, content: Body, caller: Writer, entries: StoreOf) -> Response:
    """Change an entry by RFC 6902 operations."""
    return _stored(actions.patch(entries, records.collection(name), key, parse(content), caller))


@router.delete(API + "/{name}/{key}")
def remove(name: str, key: str, caller: Writer, entries: StoreOf) -> Response:
    """Remove an entry, never its data."""
    kind: Collection = records.collection(name)
    actions.remove(entries, kind, key, caller)
    return answer(records.dump({"status": "deleted", kind.key: key}))


def _stored(record: records.Record) -> Response:
    return answer(records.dump(record))
