"""init, load, check and finalise on the real storm data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.datasets.workshop import ANYTHING, Workshop, differences, metadata

pytestmark = pytest.mark.anemoi


def test_two_parts_at_once(workshop: Workshop, finished: Workshop) -> None:
    workshop.succeed("init")
    both = [workshop.start("load", "--part", f"{i}/2") for i in (1, 2)]
    for process in both:
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
    workshop.succeed("check")
    assert "missing dates" in workshop.succeed("finalise")
    assert differences(workshop.python, workshop.store, finished.store) <= ANYTHING


def test_a_finished_dataset_is_clean(finished: Workshop) -> None:
    beside = sorted(p.name.removeprefix(finished.store.name) for p in finished.store.parent.iterdir())
    assert beside == ["", ".build.json", ".manifest.jsonl"]
    files = [p for p in finished.store.rglob("*") if p.is_file()]
    attributes = metadata(finished.store)
    assert attributes["total_number_of_files"] == len(files)
    assert attributes["total_size"] == sum(p.stat().st_size for p in files)
    assert attributes["missing_dates"] == [
        "1996-01-09T06:00:00",
        "1996-01-14T00:00:00",
        "1996-01-14T06:00:00",
    ]
    header, *lines = [json.loads(line) for line in finished.manifest.read_text().splitlines()]
    assert header["objects"] == len(lines) == len(files)
    assert header["bytes"] == attributes["total_size"]


def test_every_step_may_be_repeated(finished: Workshop, tmp_path: Path) -> None:
    shop = finished.copy(tmp_path)
    manifest = shop.manifest.read_bytes()
    for step in (("init",), ("load", "--part", "2/2"), ("check",), ("finalise",)):
        shop.succeed(*step)
    assert differences(shop.python, shop.store, finished.store) == set()
    assert shop.manifest.read_bytes() == manifest


def test_a_missing_manifest_is_written_again(finished: Workshop, tmp_path: Path) -> None:
    shop = finished.copy(tmp_path)
    shop.manifest.unlink()
    shop.succeed("finalise")
    assert shop.manifest.read_bytes() == finished.manifest.read_bytes()


def test_finalise_refuses_a_missing_part(laid_out: Workshop, finished: Workshop, tmp_path: Path) -> None:
    shop = laid_out.copy(tmp_path)
    shop.succeed("load", "--part", "1/2")
    for step in ("check", "finalise"):
        assert "groups not loaded: 4, 5, 6, 7 (of 8)" in shop.fail(step)
    assert "_recipe" in metadata(shop.store)
    assert not shop.manifest.exists()
    shop.succeed("load", "--part", "2/2")
    shop.succeed("finalise")
    assert differences(shop.python, shop.store, finished.store) <= ANYTHING


def test_a_flag_without_data_is_no_proof(loaded: Workshop, finished: Workshop, tmp_path: Path) -> None:
    shop = loaded.copy(tmp_path)
    (shop.store / "data" / "20.0.0.0").unlink()
    assert "groups not loaded: 2 (of 8)" in shop.fail("finalise")
    assert "group 2 is flagged as loaded" in shop.succeed("load", "--part", "1/2")
    shop.succeed("finalise")
    assert differences(shop.python, shop.store, finished.store) <= ANYTHING


def test_more_parts_than_groups(workshop: Workshop, recipe: str) -> None:
    workshop.deploy(recipe, parts=9)
    workshop.succeed("init")
    output = workshop.succeed("load", "--part", "1/9")
    assert "error" not in output.lower()


def test_a_bad_name_is_refused(new_workshop: Callable[..., Workshop], tmp_path: Path) -> None:
    shop = new_workshop(tmp_path, name="Storm_1996")
    assert "does not follow the convention" in shop.fail("init")
    assert not shop.store.exists()


def test_a_name_that_disagrees_with_the_data(
    loaded: Workshop, new_workshop: Callable[..., Workshop], tmp_path: Path
) -> None:
    shop = new_workshop(tmp_path, name="demo-na-an-storm-ncl-1p25-1996-1997-12h-v1")
    shop.succeed("init")
    reason = shop.fail("check")
    assert "1997" in reason
    assert "12h" in reason


def test_another_recipe_under_the_same_name(laid_out: Workshop, recipe: str, tmp_path: Path) -> None:
    shop = laid_out.copy(tmp_path)
    shop.deploy(recipe.replace("t, u, v, u500", "t, u, u500"))
    for step in (("init",), ("load", "--part", "1/2"), ("check",), ("finalise",)):
        code, output = shop.run(*step)
        assert code == 1
        assert "was made from another recipe" in output
        assert "-v2" in output


def test_a_new_comment_in_the_recipe_is_no_other_recipe(
    laid_out: Workshop, recipe: str, tmp_path: Path
) -> None:
    shop = laid_out.copy(tmp_path)
    before = shop.store.with_name(f"{shop.store.name}.build.json").read_text()
    shop.deploy("# explained better\n" + recipe)
    assert "is there already" in shop.succeed("init")
    assert shop.store.with_name(f"{shop.store.name}.build.json").read_text() == before


def test_a_recipe_changed_by_hand(laid_out: Workshop, tmp_path: Path) -> None:
    shop = laid_out.copy(tmp_path)
    with (shop.root / "suite" / "recipe" / f"{shop.name}.yaml").open("a") as f:
        f.write("\n# oops\n")
    assert "was changed by hand" in shop.fail("init")


def test_parts_that_would_overwrite_each_other(
    new_workshop: Callable[..., Workshop], recipe: str, tmp_path: Path
) -> None:
    shop = new_workshop(tmp_path, text=recipe.replace("{dates: 1,", "{dates: 5,"))
    reason = shop.fail("init")
    assert "share a chunk of 5 dates" in reason
    assert not shop.store.exists()


def test_a_missing_source(workshop: Workshop) -> None:
    (workshop.work / "sources" / "storm1996_6h.nc").unlink()
    assert "storm1996_6h.nc" in workshop.fail("init")
    assert not workshop.store.exists()


def test_a_missing_folder_of_sources(workshop: Workshop) -> None:
    (workshop.work / "sources" / "storm1996_6h.nc").unlink()
    (workshop.work / "sources").rmdir()
    assert "folder of sources" in workshop.fail("init")


def test_nothing_to_load(workshop: Workshop) -> None:
    assert "does not exist" in workshop.fail("load", "--part", "1/2")
    assert "is not a part" in workshop.fail("load", "--part", "3/2")
