"""The tables of `planish bench`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from ...backends.timing.bench import Timing
from ...backends.timing.loadgen import LoadResult
from ...ir.core.durations import latency
from .plain import plain_table


def timings_table(timings: Sequence[Timing]) -> Table:
    """Return the table of latencies; the first row is what the ratios refer to."""
    table = plain_table("model", ">batch", ">median", ">p90", ">min", ">ratio", ">samples/s")
    for timing in timings:
        table.add_row(
            timing.label,
            str(timing.batch),
            latency(timing.median_ms / 1e3),
            latency(timing.p90_ms / 1e3),
            latency(timing.min_ms / 1e3),
            f"{timing.ratio:.3f}",
            f"{timing.samples_per_second:.1f}",
        )
    return table


def loadgen_table(loads: Sequence[tuple[str, int, LoadResult]]) -> Table:
    """Return the table of LoadGen's results, a run a row."""
    table = plain_table(
        "model", "scenario", ">batch", "result", ">p90", ">samples/s", ">samples", "why"
    )
    for label, batch, load in loads:
        table.add_row(
            label,
            load.scenario,
            str(batch),
            "VALID" if load.valid else "INVALID",
            "" if load.p90_ms is None else latency(load.p90_ms / 1e3),
            f"{load.samples_per_second:.1f}",
            str(load.samples),
            " ".join(load.reasons),
        )
    return table
