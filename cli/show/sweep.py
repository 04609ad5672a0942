"""The table that `planish sweep` prints."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from ...ir.core.durations import latency
from ...ir.core.scaled import scaled
from ...tools.sweep.sweep import SweepRow


def sweep_table(rows: Sequence[SweepRow]) -> Table:
    """Return a table with a line for each row."""
    table = Table("model", "pipeline", "backend", box=box.SIMPLE)
    for column in ("times as fast", "a run", "size", "lost", "SQNR"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in rows:
        table.add_row(
            *map(Text, (row.model, row.pipeline, row.backend)),
            "" if row.speedup is None else f"{row.speedup:.2f}",
            "" if row.seconds is None else latency(row.seconds),
            "" if row.bytes is None else scaled(row.bytes, "B"),
            "" if row.drop is None else f"{100 * row.drop:.2f} %",
            "" if row.sqnr_db is None else f"{row.sqnr_db:.1f} dB",
            Text((row.error or "").partition("\n")[0]),
        )
    return table
