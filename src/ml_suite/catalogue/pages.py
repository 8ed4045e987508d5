"""Web pages: rendered here, without scripts, without anything from another server."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ml_suite.catalogue import drawing, lineage, records, views
from ml_suite.catalogue.api import store
from ml_suite.catalogue.entries import Entry
from ml_suite.catalogue.settings import API
from ml_suite.catalogue.store import Store

_SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
router = APIRouter(include_in_schema=False)
StoreOf = Annotated[Store, Depends(store)]


@cache
def templates() -> Environment:
    """Templates that escape everything and know no undefined names."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["when"] = lambda time: str(time)[:16].replace("T", " ")
    environment.filters["web"] = web
    environment.filters["short"] = drawing.shortened
    environment.globals["views"] = views
    environment.globals["box"] = {"width": drawing.WIDTH, "height": drawing.HEIGHT}
    return environment


def web(address: str | None) -> str | None:
    """An address that may be a link: records come from anybody with a token."""
    return address if address and address.startswith(("http://", "https://", "/")) else None


def page(name: str, status: int = 200, **values: Any) -> Response:
    """Render a template."""
    content = templates().get_template(name).render(collections=list(records.COLLECTIONS), **values)
    return Response(content, status, headers=_SAFE, media_type="text/html; charset=utf-8")


def refusal(request: Request, status: int, reason: str) -> Response:
    """An error for a browser."""
    return page("refusal.html", status, here="", reason=reason, number=status)


@router.get("/")
def home(entries: StoreOf) -> Response:
    """Collections and latest changes."""
    return page("home.html", here="", counts=entries.counts(), changes=entries.audit(most=15))


@router.get("/favicon.ico")
def icon() -> Response:
    """No icon."""
    return Response(status_code=204)


@router.get("/tasks")
def tasks(entries: StoreOf, q: str = "") -> Response:
    """The queue and its history."""
    queue = entries.search(records.collection("tasks"), q)
    return page("tasks.html", here="tasks", words=q, queue=queue, history=entries.history())


@router.get("/{name}")
def listing(name: str, entries: StoreOf, q: str = "") -> Response:
    """Entries of a collection, or those with some words."""
    kind = records.collection(name)
    found = entries.search(kind, q)
    return page("list.html", here=name, kind=kind, words=q, found=found, total=entries.counts()[name])


@router.get("/{name}/{key}")
def item(name: str, key: str, entries: StoreOf, tab: str = "overview") -> Response:
    """One entry."""
    kind = records.collection(name)
    entry = entries.get(kind, key)
    chosen = tab if tab in views.TABS[name] else "overview"
    title = "dataset.html" if (name, chosen) == ("datasets", "overview") else f"{chosen}.html"
    values = {
        "kind": kind,
        "entry": entry,
        "tabs": views.TABS[name],
        "tab": chosen,
        "api": API,
        "here": name,
        "singular": lineage.KINDS[name],
    }
    return page(title, 200, **{**values, **_extra(chosen, entry, entries)})


def _extra(tab: str, entry: Entry, entries: Store) -> dict[str, Any]:
    """What only this tab needs."""
    kind = records.collection(entry.collection)
    if tab == "lineage":
        graph = lineage.trace(entries, kind, entry.key)
        return {"graph": graph, "drawing": drawing.draw(graph)}
    if tab == "debug":
        original = json.loads(entries.original(kind, entry.key))
        return {"original": original, "changes": entries.audit((entry.collection, entry.key))}
    return {}
