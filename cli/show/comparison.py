"""What `planish compare` shows."""

from __future__ import annotations

from rich.table import Table

from ...ir.core.counted import counted
from ...ir.metrics.result import MetricResult
from ...ir.run.comparison import Comparison
from .plain import plain_table


def comparison_table(comparison: Comparison) -> Table:
    """Return the table of distances, an output a row."""
    table = plain_table("output", ">max abs", ">max rel", ">SQNR", ">cosine", ">top-1", "along")
    for output in comparison.outputs:
        agreement = None if output.is_untold else output.top1_agreement
        table.add_row(
            output.name,
            f"{output.max_abs:.3g}",
            f"{output.max_rel:.3g}",
            "?" if output.is_untold else f"{output.sqnr_db:.1f} dB",
            "?" if output.is_untold else f"{output.cosine:.6f}",
            "" if agreement is None else f"{100 * agreement:.1f} %",
            "" if agreement is None else f"axis {output.class_axis}",
        )
    return table


def metric_lines(comparison: Comparison, *, every: bool = False) -> list[str]:
    """Return what each output is judged by, why, and what came of it.

    Nothing of mere noise, unless `every` one is asked for.
    """
    if not comparison.chosen:
        return [_line(result) for result in comparison.metrics]
    lines = []
    pairs = enumerate(zip(comparison.chosen, comparison.metrics, strict=True))
    for place, (chosen, result) in pairs:
        if (chosen.is_sure or every) and comparison.is_told(place):
            lines += [_line(result), f"  judged by {chosen}"]
    return lines


def _line(result: MetricResult) -> str:
    of = f", on {counted(result.samples, 'sample')}" if result.samples else ""
    return f"{result}{of}{_shown(result)}"


def _shown(result: MetricResult) -> str:
    if result.low is None:
        return ""
    return f"; {result.written(result.low)} or more on others like them, with 95 % confidence"
