"""The table of `planish compare`."""

from __future__ import annotations

from rich.table import Table

from ...ir.run.compare import Comparison
from .plain import plain_table


def comparison_table(comparison: Comparison) -> Table:
    """Return the table of distances, an output a row."""
    table = plain_table("output", ">max abs", ">max rel", ">SQNR", ">cosine", ">top-1 agreement")
    for output in comparison.outputs:
        agreement = output.top1_agreement
        table.add_row(
            output.name,
            f"{output.max_abs:.3g}",
            f"{output.max_rel:.3g}",
            f"{output.sqnr_db:.1f} dB",
            f"{output.cosine:.6f}",
            "" if agreement is None else f"{100 * agreement:.1f} %",
        )
    return table
