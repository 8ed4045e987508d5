"""The chain of a real suite, followed and verified against real services."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ml_suite.evaluation.scores import Evaluation
from ml_suite.lineage.training import Registered
from ml_suite.stores.s3 import Location, open_bucket
from tests.lineage.whole import NAME, SUITE, Suite

# the first test also builds the dataset and trains
pytestmark = [pytest.mark.anemoi, pytest.mark.timeout(900)]


def registered(suite: Suite) -> Registered:
    return Registered.model_validate_json(suite.tree.registered.read_bytes())


def lineage(suite: Suite, key: str, *options: str) -> dict[str, Any]:
    done = suite.command("lineage", key, "--json", *options)
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def flipped(suite: Suite, url: str) -> Iterator[None]:
    """Change one byte of an object, whose size and metadata stay as they are."""
    where = Location.parse(url)
    store = open_bucket(where.bucket, suite.connections.s3)
    answer = store.get(where.key)
    attributes, content = answer.attributes, bytes(answer.bytes())
    middle = len(content) // 2
    wrong = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    store.put(where.key, wrong, attributes=attributes)
    try:
        yield
    finally:
        store.put(where.key, content, attributes=attributes)


def test_every_link_is_proved_and_every_check_is_ok(finished: Suite) -> None:
    found = lineage(finished, SUITE, "--verify")
    kinds = {node["kind"] for node in found["nodes"]}
    assert kinds >= {"recipe", "config", "deployment", "dataset", "location", "study", "trial", "run"}
    assert kinds >= {"weights", "object", "evaluation", "training"}
    assert [edge for edge in found["edges"] if edge["broken"]] == []
    assert {check["verdict"] for check in found["checks"]} == {"ok"}
    assert len(found["checks"]) >= 20
    assert finished.command("lineage", SUITE, "--verify").returncode == 0


def test_every_node_leads_to_the_same_chain(finished: Suite) -> None:
    whole = lineage(finished, SUITE)
    metadata = registered(finished).metadata
    assert metadata.checkpoint is not None
    assert metadata.evaluation is not None
    keys = [
        NAME,
        metadata.datasets[0].uuid,
        metadata.datasets[0].manifest,
        metadata.checkpoint.uuid,
        metadata.checkpoint.sha256,
        metadata.checkpoint.s3,
        metadata.evaluation.scores.sha256,
        metadata.git.recipe.sha256,
        f"s3://ml-datasets/{NAME}.zarr",
        f"s3://ml-datasets/{NAME}.zarr/.zattrs",
    ]
    for key in keys:
        assert {n["id"] for n in lineage(finished, key)["nodes"]} == {n["id"] for n in whole["nodes"]}, key


def test_an_unknown_key_is_a_message(finished: Suite) -> None:
    done = finished.command("lineage", "nobody")
    assert done.returncode == 1
    assert "nothing in the catalogue" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_flipped_byte_is_found_wherever_it_is(finished: Suite) -> None:
    metadata = registered(finished).metadata
    assert metadata.checkpoint is not None
    assert metadata.evaluation is not None
    store = f"s3://ml-datasets/{NAME}.zarr"
    for url in (f"{store}/data/5.0.0.0", metadata.checkpoint.s3, metadata.evaluation.scores.s3):
        with flipped(finished, url):
            found = lineage(finished, SUITE, "--verify")
            wrong = [check for check in found["checks"] if check["verdict"] == "mismatch"]
            assert wrong, url
            assert any(url in check["what"] or store in check["what"] for check in wrong), wrong
            assert finished.command("lineage", SUITE, "--verify").returncode == 1
    assert finished.command("lineage", SUITE, "--verify").returncode == 0


def test_a_missing_object_is_a_mismatch(finished: Suite) -> None:
    metadata = registered(finished).metadata
    assert metadata.checkpoint is not None
    where = Location.parse(metadata.checkpoint.s3)
    store = open_bucket(where.bucket, finished.connections.s3)
    answer = store.get(where.key)
    attributes, content = answer.attributes, bytes(answer.bytes())
    store.delete(where.key)
    try:
        found = lineage(finished, SUITE, "--verify")
        assert any("no such bucket or object" in check["found"] for check in found["checks"])
    finally:
        store.put(where.key, content, attributes=attributes)


def test_other_sources_are_unknown_without_the_repository(finished: Suite, tmp_path: Any) -> None:
    found = lineage(finished, SUITE, "--verify", "--repository", str(tmp_path))
    unknown = [check for check in found["checks"] if check["verdict"] == "unknown"]
    assert len(unknown) == 3
    assert all("not in this clone" in check["found"] for check in unknown)


def test_registering_and_archiving_again_changes_nothing(finished: Suite) -> None:
    archive = finished.tree.root / "archive.json"
    before = finished.tree.registered.read_bytes(), archive.read_bytes(), lineage(finished, SUITE)
    finished.succeed("evaluate")
    finished.succeed("register")
    finished.succeed("archive")
    assert (finished.tree.registered.read_bytes(), archive.read_bytes(), lineage(finished, SUITE)) == before


def test_the_catalogue_tells_what_was_measured(finished: Suite) -> None:
    metadata = registered(finished).metadata
    scores = Evaluation.load(finished.tree.evaluation / "scores.json")
    assert metadata.evaluation is not None
    assert metadata.evaluation.loss == scores.winner.loss
    assert metadata.promoted == metadata.weights[0] == scores.winner.uuid
    assert metadata.mlflow.run_id
    assert metadata.software["anemoi-training"]


def test_the_report_has_the_addresses(finished: Suite) -> None:
    report = json.loads(finished.command("report", SUITE, "--json").stdout)
    assert report["state"] == "registered"
    assert report["missing"] == []
    assert report["links"]["objects"]["archive"].startswith("s3://ml-artefacts/storm/once/")
    assert report["winner"]["step"] == 0


def test_a_second_cycle_is_judged_against_the_weights_in_use(finished: Suite) -> None:
    """A second cycle: the catalogue's weights come from S3 and are scored exactly as they were a cycle ago."""
    first = Evaluation.load(finished.tree.evaluation / "scores.json")
    cycle = {"ML_SUITE_CYCLE": "19960201"}
    for words in ("train", "deliver", "evaluate", "register"):
        code, output = finished.job(words, ANEMOI_BASE_SEED="7", **cycle)
        assert code == 0, output
    root = finished.tree.root.parent / "19960201"
    second = Evaluation.load(root / "evaluation" / "scores.json")
    assert second.incumbent is not None
    assert second.incumbent.sha256 == first.winner.sha256
    assert second.incumbent.loss == first.winner.loss
    assert second.incumbent.rmse == first.winner.rmse
    entry = json.loads((root / "registered.json").read_text())["metadata"]
    assert [version["cycle"] for version in entry["history"]] == ["once", "19960201"]
    assert entry["promoted"] in entry["weights"]
    # the first cycle's task once more: its own record as before, the entry stays the second cycle's
    before = finished.tree.registered.read_bytes(), lineage(finished, SUITE)
    finished.succeed("register")
    assert (finished.tree.registered.read_bytes(), lineage(finished, SUITE)) == before
    checks = lineage(finished, SUITE, "--verify")["checks"]
    objects = [c for c in checks if c["what"].endswith(".ckpt: sha256")]
    assert [c["verdict"] for c in objects] == ["ok", "ok"]
