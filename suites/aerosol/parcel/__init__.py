"""Activation of aerosol to cloud droplets in a rising parcel of air: model, sampling, labels and baseline.

The compiled functions are cached under ``$XDG_CACHE_HOME/ml-suite/numba``, in a folder named after the sources:
numba itself does not notice that a constant in another module has changed.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path


def _cache_folder() -> Path:
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ml-suite" / "numba" / f"parcel-{digest[:12]}"


# read by numba when it is imported, which the modules of this package do
os.environ.setdefault("NUMBA_CACHE_DIR", str(_cache_folder()))
