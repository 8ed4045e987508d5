"""Make the data set of the aerosol study: python make.py OUT.npz --samples 300000.

It runs with the Python of the training environment (numba, numpy, scipy), on NUMBA_NUM_THREADS threads (default: all
cores). The same options give the same file; see docs/aerosol.md for what is in it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Make a data set of aerosol activation with a cloud parcel model."
    )
    parser.add_argument("out", type=Path, help="file to write (.npz)")
    parser.add_argument("--samples", type=int, default=300_000)
    parser.add_argument("--bins", type=int, default=128, help="sizes of particles in all; a multiple of 4")
    parser.add_argument("--rtol", type=float, default=1e-4, help="relative tolerance of a time step")
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--window", type=float, default=1000.0, help="ascent above the condensation level, m")
    parser.add_argument(
        "--keep-all",
        action="store_true",
        help="keep members without a maximum of supersaturation in the window, about one in a hundred",
    )
    options = parser.parse_args()
    if options.samples < 1 or options.bins < 4 or options.bins % 4:
        parser.error("--samples is at least 1, --bins a multiple of 4")
    if not 0.0 < options.rtol < 0.1 or options.window <= 0.0:
        parser.error("--rtol lies between 0 and 0.1, --window above 0")
    return options


def main() -> int:
    """Run from the command line; 0 when the file is in its place."""
    options = _options()
    # here, so that a wrong option is refused at once
    import numba
    from parcel.dataset import Recipe, make

    recipe = Recipe(
        options.samples, options.bins, options.rtol, options.seed, options.window, options.keep_all
    )
    start, said = time.monotonic(), 0.0

    def progress(done: int) -> None:
        nonlocal said
        passed = time.monotonic() - start
        if passed - said >= 5.0 or done == recipe.samples:
            said = passed
            print(f"{done:,} of {recipe.samples:,} samples, {done / passed:,.0f}/s", flush=True)

    try:
        make(options.out, recipe, progress)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    cpu = time.process_time()
    print(f"{options.out}: {numba.get_num_threads()} threads, {cpu:.0f} CPU-seconds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
