"""kill -9 and full disks at every step of a build: run again, and the dataset is the same."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.datasets.workshop import ANYTHING, Workshop, differences, metadata

pytestmark = pytest.mark.anemoi

FLAGS = "import sys, zarr; print(int(zarr.open_group(sys.argv[1], mode='r')['_build/flags'][:].sum()))"


def kill_when(process: subprocess.Popen[str], happened: Callable[[], bool]) -> None:
    """Kill the job with SIGKILL at the moment something is seen on disk; its children die with it."""
    children: list[int] = []
    task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, "the job ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    children = [int(pid) for pid in task.read_text().split()]
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()
    while any(is_running(pid) for pid in children):
        assert time.monotonic() < deadline, "a child outlived the job"
        time.sleep(0.01)
    # its pool of workers waits for ever; under ecFlow the keeper ends them
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def groups_loaded(shop: Workshop) -> int:
    done = subprocess.run([shop.python, "-c", FLAGS, shop.store], capture_output=True, text=True, check=True)
    return int(done.stdout)


def finish(shop: Workshop, finished: Workshop) -> None:
    """Run what is left and compare with the uninterrupted build."""
    shop.succeed("check")
    shop.succeed("finalise")
    assert differences(shop.python, shop.store, finished.store) <= ANYTHING
    assert not [p for p in shop.store.rglob("*") if p.name.endswith(".partial") or p.name == "_build"]
    header = json.loads(shop.manifest.read_text().splitlines()[0])
    assert header["objects"] == metadata(shop.store)["total_number_of_files"]


def test_kill_in_init(workshop: Workshop, laid_out: Workshop, finished: Workshop) -> None:
    draft = workshop.store.with_name(f"{workshop.store.name}.init") / workshop.store.name
    kill_when(workshop.start("init"), (draft / "data" / ".zarray").exists)
    assert draft.exists()
    assert not workshop.store.exists()
    assert "does not exist" in workshop.fail("load", "--part", "1/2")
    workshop.succeed("init")
    assert not draft.exists()
    workshop.succeed("load", "--part", "1/1")
    finish(workshop, finished)


def test_kill_in_load(laid_out: Workshop, finished: Workshop, tmp_path: Path) -> None:
    shop = laid_out.copy(tmp_path)
    kill_when(shop.start("load", "--part", "1/1"), (shop.store / "data" / "33.0.0.0").exists)
    done = groups_loaded(shop)
    assert 0 < done < 8
    # what a kill inside a write leaves behind
    (shop.store / "data" / "60.0.0.0.0123456789abcdef.partial").write_bytes(b"half")
    output = shop.succeed("load", "--part", "1/1")
    assert output.count("already done") == done
    finish(shop, finished)


@pytest.mark.parametrize("seen", ["mean", "stdev/.zarray"])
def test_kill_in_finalise(loaded: Workshop, finished: Workshop, tmp_path: Path, seen: str) -> None:
    shop = loaded.copy(tmp_path)
    kill_when(shop.start("finalise"), (shop.store / seen).exists)
    assert not shop.manifest.exists()
    shop.succeed("finalise")
    finish(shop, finished)


def statistics_without_values(shop: Workshop, finished: Workshop) -> None:
    for name in ("mean", "minimum", "maximum", "stdev"):
        shutil.copytree(finished.store / name, shop.store / name)
    (shop.store / "stdev" / "0").unlink()


def clean_up_begun(shop: Workshop, finished: Workshop) -> None:
    for name in ("mean", "minimum", "maximum", "stdev"):
        shutil.copytree(finished.store / name, shop.store / name)
    attributes = {**metadata(shop.store), **metadata(finished.store)}
    (shop.store / ".zattrs").write_text(json.dumps(attributes))
    shutil.rmtree(shop.store / "_build" / "flags")


def clean_up_torn(shop: Workshop, finished: Workshop) -> None:
    clean_up_begun(shop, finished)
    (shop.store / "_build" / ".zgroup").unlink()


def statistics_removed_again(shop: Workshop, finished: Workshop) -> None:
    shutil.rmtree(shop.store / "_build" / "flags")


def build_gone(shop: Workshop, finished: Workshop) -> None:
    clean_up_begun(shop, finished)
    shutil.rmtree(shop.store / "_build")


def recipe_gone(shop: Workshop, finished: Workshop) -> None:
    build_gone(shop, finished)
    attributes = metadata(shop.store)
    del attributes["_recipe"]
    (shop.store / ".zattrs").write_text(json.dumps(attributes))


@pytest.mark.parametrize(
    "state",
    [
        statistics_without_values,
        clean_up_begun,
        clean_up_torn,
        statistics_removed_again,
        build_gone,
        recipe_gone,
    ],
)
def test_every_state_that_a_killed_finalise_leaves(
    loaded: Workshop, finished: Workshop, tmp_path: Path, state: Callable[[Workshop, Workshop], None]
) -> None:
    shop = loaded.copy(tmp_path)
    record = shop.store.with_name(f"{shop.store.name}.build.json")
    record.write_text(json.dumps({**json.loads(record.read_text()), "complete": True}))
    state(shop, finished)
    finish(shop, finished)


def test_flags_gone_without_a_record_is_not_finalised(laid_out: Workshop, tmp_path: Path) -> None:
    shop = laid_out.copy(tmp_path)
    shutil.rmtree(shop.store / "_build")
    assert "no record of what is loaded" in shop.fail("finalise")
    assert not shop.manifest.exists()


def small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))


def test_a_write_that_is_refused_in_load(laid_out: Workshop, finished: Workshop, tmp_path: Path) -> None:
    shop = laid_out.copy(tmp_path)
    code, output = shop.run("load", "--part", "1/1", preexec_fn=small_files)
    assert code == 1
    assert "error: the disk is full" in output
    assert groups_loaded(shop) == 0
    shop.succeed("load", "--part", "1/1")
    finish(shop, finished)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 700 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", folder], stderr=subprocess.PIPE, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("a file system can be mounted by root only")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_in_load(laid_out: Workshop, finished: Workshop, small_disk: Path) -> None:
    shop = laid_out.copy(small_disk)
    reason = shop.fail("load", "--part", "1/1")
    assert "the disk is full" in reason
    done = groups_loaded(shop)
    assert 0 < done < 8
    assert "groups not loaded" in shop.fail("check")
    subprocess.run(["mount", "-o", "remount,size=32m", small_disk], check=True)
    output = shop.succeed("load", "--part", "1/1")
    assert output.count("already done") == done
    finish(shop, finished)
