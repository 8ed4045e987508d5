"""From sources to evaluation: the graph around one entry.

`trace` reads the store, `assemble` is pure: records and their links in, nodes and edges out. Links proved by uuid are
solid, those by name only are dashed, and a uuid that no entry has is broken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from ml_suite.catalogue import recipe, walk
from ml_suite.catalogue.records import Collection, Record
from ml_suite.catalogue.store import Store
from ml_suite.catalogue.walk import Known, Neighbourhood, Wanted

Kind = Literal[
    "source", "recipe", "dataset", "training", "run", "weights", "experiment", "evaluation", "model", "task"
]
KINDS: dict[str, Kind] = {
    "datasets": "dataset",
    "trainings": "training",
    "weights": "weights",
    "experiments": "experiment",
    "evaluations": "evaluation",
    "models": "model",
    "tasks": "task",
}


_STRENGTH = ("uuid", "run", "part", "name")


class Part(BaseModel):
    """Something that does not change."""

    model_config = ConfigDict(frozen=True)


class Node(Part):
    """One box of the graph."""

    id: str
    kind: Kind
    title: str
    facts: list[str] = []
    href: str | None = None
    """Page of the entry, or the address of what the node stands for."""
    state: Literal["present", "absent", "part"] = "present"
    """In the catalogue, referred to but absent, or described inside another entry."""


class Edge(Part):
    """SOURCE was used to make TARGET."""

    source: str
    target: str
    by: Literal["uuid", "run", "name", "part"]
    """What proves it: a uuid, an MLflow run, only a name, or that one describes the other."""
    broken: bool = False


class Graph(Part):
    """What an entry was made from and what was made from it."""

    start: str
    nodes: list[Node]
    edges: list[Edge]
    truncated: bool = False
    """There is more than is shown."""

    @property
    def broken(self) -> list[Node]:
        """Entries that are referred to but absent."""
        return [node for node in self.nodes if node.state == "absent"]


def trace(store: Store, kind: Collection, key: str) -> Graph:
    """Graph around an entry.

    Raises
    ------
    Refusal
        404 if there is no such entry.
    """
    return assemble(walk.neighbourhood(store, kind, key))


def assemble(found: Neighbourhood) -> Graph:
    """Join entries by their links; each node and edge once."""
    nodes: dict[str, Node] = {}
    edges: dict[tuple[str, str], Edge] = {}
    owners: dict[Wanted, Known] = {
        (link.collection, link.by, link.value): known
        for known in found.entries
        for link in known.links
        if link.role == "self"
    }
    for known in found.entries:
        for node in _described(known):
            nodes.setdefault(node.id, node)
        for edge in [*_own_edges(known), *_links(known, owners, found)]:
            old = edges.get((edge.source, edge.target))
            if old is None or _STRENGTH.index(edge.by) < _STRENGTH.index(old.by):
                edges[edge.source, edge.target] = edge
        for node in _absent(known, found):
            nodes.setdefault(node.id, node)
    return Graph(
        start=found.start,
        nodes=list(nodes.values()),
        edges=[e for e in edges.values() if e.source in nodes and e.target in nodes],
        truncated=found.truncated,
    )


def _links(known: Known, owners: dict[Wanted, Known], found: Neighbourhood) -> Iterator[Edge]:
    for link in known.links:
        if link.role == "self":
            continue
        wanted = (link.collection, link.by, link.value)
        if owner := owners.get(wanted):
            other = owner.id
        elif wanted in found.missing:
            other = f"{link.collection}/{link.value}"
        else:
            continue
        source, target = (other, known.id) if link.role == "input" else (known.id, other)
        if source != target:
            yield Edge(source=source, target=target, by=link.by, broken=wanted in found.missing)


def _absent(known: Known, found: Neighbourhood) -> Iterator[Node]:
    for link in known.links:
        wanted = (link.collection, link.by, link.value)
        if link.role == "self" or wanted not in found.missing:
            continue
        facts = [f"{link.by} {link.value}", found.missing[wanted] or "not in the catalogue"]
        title = link.label or link.value
        name = f"{link.collection}/{link.value}"
        yield Node(id=name, kind=KINDS[link.collection], title=title, facts=facts, state="absent")


def _described(known: Known) -> Iterator[Node]:
    """The entry itself and what it describes without an entry of its own."""
    yield Node(
        id=known.id,
        kind=KINDS[known.collection],
        title=known.key,
        facts=list(_facts(known.collection, known.record)),
        href=f"/{known.id}",
    )
    metadata = known.record.get("metadata", {})
    if known.collection == "datasets" and metadata.get("recipe"):
        inputs = recipe.sources(metadata["recipe"])
        facts = [f"{len(inputs)} source{'s' * (len(inputs) != 1)}", *_commit(metadata.get("ml_suite"))]
        href = f"/{known.id}?tab=recipe"
        yield Node(
            id=f"recipe/{known.key}", kind="recipe", title="recipe", facts=facts, href=href, state="part"
        )
        for source in inputs:
            name = f"source/{source.type}/{source.place}"
            yield Node(id=name, kind="source", title=source.type, facts=[source.place], state="part")
    if run := _run(known):
        mlflow = metadata["mlflow"]
        facts = _texts([mlflow.get("experiment"), mlflow.get("run_id")])
        yield Node(
            id=run, kind="run", title="MLflow run", facts=facts, href=_run_address(mlflow), state="part"
        )
    if score := _score(known):
        facts = _scalars(metadata["evaluation"], ("skill", "loss", "summary")) or _scalars(
            metadata["evaluation"]
        )
        yield Node(id=score, kind="evaluation", title="evaluation", facts=facts[:3], state="part")


def _own_edges(known: Known) -> Iterator[Edge]:
    metadata = known.record.get("metadata", {})
    if known.collection == "datasets" and metadata.get("recipe"):
        yield Edge(source=f"recipe/{known.key}", target=known.id, by="part")
        for source in recipe.sources(metadata["recipe"]):
            name = f"source/{source.type}/{source.place}"
            yield Edge(source=name, target=f"recipe/{known.key}", by="part")
    if run := _run(known):
        yield Edge(source=known.id, target=run, by="run")
    if score := _score(known):
        judged = metadata["evaluation"].get("weights")
        if isinstance(judged, dict):
            judged = judged.get("uuid")
        made = [link.value for link in known.links if link.role == "output" and link.collection == "weights"]
        made = [weights for weights in made if judged in (None, weights)]
        for weights in made:
            yield Edge(source=f"weights/{weights}", target=score, by="part")
        if not made:
            yield Edge(source=known.id, target=score, by="part")


def _run(known: Known) -> str | None:
    mlflow = known.record.get("metadata", {}).get("mlflow")
    if known.collection != "trainings" or not isinstance(mlflow, dict) or not mlflow.get("run_id"):
        return None
    return f"run/{mlflow['run_id']}"


def _run_address(mlflow: Record) -> str | None:
    if isinstance(url := mlflow.get("url"), str):
        return url
    server, experiment = mlflow.get("tracking_uri"), mlflow.get("experiment_id")
    if not isinstance(server, str):
        return None
    if experiment is None:
        return server
    return f"{server.rstrip('/')}/#/experiments/{experiment}/runs/{mlflow['run_id']}"


def _score(known: Known) -> str | None:
    evaluation = known.record.get("metadata", {}).get("evaluation")
    if known.collection != "trainings" or not isinstance(evaluation, dict) or not evaluation:
        return None
    return f"evaluation/{known.key}"


def _facts(collection: str, record: Record) -> Iterator[str]:
    metadata = record.get("metadata", {})
    if collection == "datasets":
        yield from _texts([record.get("status"), " ".join(record.get("locations", {}))])
        yield f"{str(metadata.get('start_date'))[:10]} to {str(metadata.get('end_date'))[:10]}"
    elif collection == "trainings":
        hpo = metadata.get("hpo")
        yield from _scalars(hpo if isinstance(hpo, dict) else {}, ("step", "trial", "value", "metric"))
        yield from _commit(metadata.get("git"))
        yield from _scalars(metadata, ("host",))
    elif collection == "weights":
        yield " ".join(record.get("locations", {})) or "no location"
        yield from _scalars(metadata, ("timestamp", "sha256"))
    else:
        yield from _scalars(metadata)[:3]


def _scalars(members: Record, names: Iterable[str] | None = None) -> list[str]:
    """``name value`` of the scalars; of an object its own first scalars."""
    found = []
    for name in members if names is None else names:
        value: Any = members.get(name)
        if isinstance(value, dict):
            found += _scalars(value)[:2]
        elif isinstance(value, float):
            found.append(f"{name} {value:.5g}")
        elif isinstance(value, str | int):
            found.append(f"{name} {value}")
    return found


def _commit(sources: Any) -> list[str]:
    """Commit of the recipe, else of anything else that is named beside it."""
    if not isinstance(sources, dict):
        return []
    files = [sources.get("recipe"), sources.get("deployment"), sources]
    commits = [file["commit"] for file in files if isinstance(file, dict) and file.get("commit")]
    return [f"git {str(commits[0])[:12]}"] if commits else []


def _texts(values: Iterable[Any]) -> list[str]:
    return [str(value) for value in values if value]
