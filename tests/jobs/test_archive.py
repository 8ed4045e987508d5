"""The archive's bytes depend on names and contents alone."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

from ml_suite.jobs.archive import kept, pack


def fill(root: Path, names: list[str]) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


NAMES = ["study/plan.json", "study/step1/000.jsonl", "study/step1/trials/00000/log.txt", "registered.json"]


def test_order_times_and_owners_leave_no_trace(tmp_path: Path) -> None:
    a = fill(tmp_path / "a" / "once", NAMES)
    b = fill(tmp_path / "b" / "once", NAMES[::-1])
    os.utime(b / NAMES[0], (1, 1))
    (b / NAMES[1]).chmod(0o600)
    pack(a, tmp_path / "a.tar.gz")
    pack(b, tmp_path / "other-name.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "other-name.tar.gz").read_bytes()
    (b / NAMES[0]).write_text("changed")
    pack(b, tmp_path / "other-name.tar.gz")
    assert (tmp_path / "a.tar.gz").read_bytes() != (tmp_path / "other-name.tar.gz").read_bytes()


def test_weights_links_and_the_receipt_stay_outside(tmp_path: Path) -> None:
    root = fill(
        tmp_path / "once", [*NAMES, "study/x/last.ckpt", "study/x/weights.pt", "archive.json", ".hidden"]
    )
    (root / "link").symlink_to("/etc/passwd")
    (root / "folder").symlink_to("/etc")
    assert sorted(kept(root)) == sorted(NAMES)
    pack(root, tmp_path / "x.tar.gz")
    with tarfile.open(tmp_path / "x.tar.gz") as archive:
        members = archive.getmembers()
        assert [m.name for m in members] == [f"once/{name}" for name in sorted(NAMES)]
        assert all(m.mtime == 0 and m.uid == 0 and m.isfile() for m in members)
