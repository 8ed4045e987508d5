"""Descriptions and whereabouts as tables for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from ml_suite.datasets.model import Description, FeedRate, Variable
from ml_suite.datasets.whereabouts import Copy, Whereabouts
from ml_suite.quantities import format_bytes

if TYPE_CHECKING:
    from rich.table import Table

_GAPS_SHOWN = 6


def description(found: Description) -> Iterator[Table | str]:
    """All of `ml-suite dataset describe`."""
    yield facts(overview(found))
    yield variables(found.variables)
    if found.feed:
        yield feed(found.feed, found.cpus)
    yield "\n".join(f"• {sentence}" for sentence in found.advice)


def overview(found: Description) -> list[tuple[str, str]]:
    """Names and values of the first table."""
    size, dates, shape, chunks, reading = found.size, found.dates, found.shape, found.chunks, found.reading
    gaps = ", ".join(f"{date:%Y-%m-%d %H:%M}" for date in dates.missing[:_GAPS_SHOWN])
    more = len(dates.missing) - _GAPS_SHOWN
    return [
        ("name", found.name),
        ("uuid", found.uuid),
        ("path", str(found.path)),
        ("content", found.description or "-"),
        ("licence", found.licence or "-"),
        (
            "size",
            f"{format_bytes(size.disk_bytes)} in {size.files} files, "
            f"{format_bytes(size.uncompressed_bytes)} uncompressed",
        ),
        (
            "dates",
            f"{dates.start:%Y-%m-%d %H:%M} to {dates.end:%Y-%m-%d %H:%M} every {dates.frequency}: {dates.count}",
        ),
        (
            "missing dates",
            f"{len(dates.missing)}" + (f": {gaps}" if gaps else "") + (", …" if more > 0 else ""),
        ),
        ("statistics", f"{dates.statistics_start} to {dates.statistics_end}"),
        (
            "dimensions",
            f"{shape.dates} dates x {shape.variables} variables x {shape.ensembles} ensembles x {shape.values} points, "
            f"{shape.dtype}",
        ),
        (
            "chunks",
            f"{' x '.join(map(str, chunks.shape))}: {chunks.count} files of {format_bytes(chunks.mean_file_bytes)} "
            f"({format_bytes(chunks.bytes)} uncompressed, {chunks.compressor or 'not compressed'})",
        ),
        (
            "one sample",
            f"{reading.inputs} + {reading.outputs} dates, {format_bytes(reading.sample_bytes)}; opens "
            f"{reading.files_per_sample:.3g} files and reads {reading.amplification:.3g} times what it needs",
        ),
        ("one batch", f"{reading.batch} samples, {format_bytes(reading.batch_bytes)}"),
        ("samples", f"{reading.samples} of {reading.windows}"),
    ]


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Two columns without a frame."""
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def variables(found: Iterable[Variable]) -> Table:
    """One row per variable."""
    table = _framed("variable", "mean", "stdev", "minimum", "maximum", "NaNs", "dates with NaNs", "")
    for variable in found:
        numbers = (variable.mean, variable.stdev, variable.minimum, variable.maximum)
        table.add_row(
            variable.name,
            *(f"{number:.4g}" for number in numbers),
            str(variable.nans),
            str(variable.nan_dates),
            "constant" if variable.constant else "",
        )
    return table


def feed(rates: Iterable[FeedRate], cpus: int) -> Table:
    """One row per number of loader workers."""
    table = _framed("workers", "samples/s cold", "samples/s warm", "first batch after")
    table.title = f"feed rate with {cpus} processors"
    for rate in rates:
        table.add_row(
            str(rate.workers),
            "-" if rate.cold is None else f"{rate.cold:.0f}",
            f"{rate.warm:.0f}",
            f"{rate.first_batch_seconds:.2f} s",
        )
    return table


def whereabouts(found: Whereabouts) -> Iterator[Table]:
    """All of `ml-suite dataset status`."""
    size = f"{format_bytes(found.bytes)} in {found.files} files" if found.bytes is not None else "-"
    yield facts(
        [
            ("name", found.name),
            ("uuid", found.uuid or "-"),
            ("status", found.status or "-"),
            ("manifest", found.manifest or "-"),
            ("size", size),
            ("page", found.page),
        ]
    )
    yield copies(found.copies)


def copies(found: Iterable[Copy]) -> Table:
    """One row per location."""
    words = {True: "complete", False: "not complete", None: "unknown"}
    table = _framed("location", "state", "path", "detail", right=False)
    for copy in found:
        table.add_row(copy.platform, words[copy.complete], copy.path, copy.detail)
    return table


def _framed(first: str, *others: str, right: bool = True) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False, title_justify="left")
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right" if right else "left", overflow="fold")
    return table
