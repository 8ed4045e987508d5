"""Task archive: keep the study's record, plans, scores and logs in the object store, without weights.

The archive depends on the files alone, not on when or by whom it is made: archiving again gives the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ml_suite.errors import StudyError
from ml_suite.jobs import callback
from ml_suite.jobs.artefacts import Artefacts
from ml_suite.jobs.context import Job
from ml_suite.jobs.places import places
from ml_suite.lineage.training import StoredObject
from ml_suite.quantities import format_bytes

ARCHIVE = "study.tar.gz"
RECEIPT = "archive.json"
_WEIGHTS = frozenset({".ckpt", ".pt", ".pth"})


def run(job: Job, arguments: list[str]) -> None:
    """Archive and tell where."""
    argparse.ArgumentParser(prog="archive").parse_args(arguments)
    from ml_suite import atomic
    from ml_suite.stores.catalogue import connect

    root = job.tree.root
    if not job.tree.selection.exists():
        raise StudyError(
            f"there is nothing to archive: {job.tree.selection} is missing", "Run the study first."
        )
    packed = root.parent / f".{job.cycle}.{os.getpid()}.tar.gz"
    try:
        pack(
            root,
            packed,
            {p.host: p.tree.root for p in places(job.resolved, job.host, job.cycle) if p.mirrored},
        )
        catalogue = connect(job.connections())
        stored = Artefacts.of(job).put(packed, ARCHIVE)
    finally:
        packed.unlink(missing_ok=True)
    atomic.write(root / RECEIPT, stored.model_dump_json(indent=1) + "\n")
    catalogue.set_metadata(
        job.deployment.suite, "archive", stored.model_dump(mode="json"), collection="trainings"
    )
    words = f"{stored.s3}, {format_bytes(stored.size)}"
    print(f"archived {words}, sha256 {stored.sha256}")
    callback.label("info", words)


def receipt(root: Path) -> StoredObject | None:
    """Where the archive of a cycle is; None if there is none."""
    try:
        return StoredObject.model_validate_json((root / RECEIPT).read_bytes())
    except (OSError, ValueError):
        return None


def pack(root: Path, path: Path, mirrors: Mapping[str, Path] | None = None) -> None:
    """Write a compressed tar file of a folder whose bytes depend on names and contents alone.

    Parameters
    ----------
    mirrors
        Folders of the same cycle as fetched from other hosts, which lie below ``hosts/HOST`` in the archive.
    """
    members = {member: root / member for member in kept(root)}
    for host, folder in (mirrors or {}).items():
        members |= {f"hosts/{host}/{member}": folder / member for member in kept(folder)}
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as zipped:  # noqa: SIM117
        with tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for member in sorted(members):
                content = members[member].read_bytes()
                entry = tarfile.TarInfo(f"{root.name}/{member}")
                entry.size, entry.mode = len(content), 0o644
                archive.addfile(entry, io.BytesIO(content))


def kept(root: Path) -> Iterator[str]:
    """Names below ROOT of what is archived: regular files that are no weights and no receipt of the archive."""
    for where, _, names in os.walk(root, followlinks=False):
        for name in names:
            path = Path(where, name)
            hidden = name.startswith(".") or path.suffix in _WEIGHTS
            if not hidden and path.is_file() and not path.is_symlink():
                relative = path.relative_to(root).as_posix()
                if relative != RECEIPT:
                    yield relative
