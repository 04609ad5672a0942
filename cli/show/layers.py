"""The table of `planish bench --per-layer`."""

from __future__ import annotations

from collections import Counter

from rich.table import Table

from ...backends.contract.layer_times import LayerTime, LayerTimes
from ...ir.core.durations import latency
from ...ir.core.scaled import scaled
from .numbers import shape_of, three
from .plain import plain_table


def layer_times_table(times: LayerTimes) -> Table:
    """Return the table of layers in the order they run, what is between them last."""
    table = plain_table(
        "kernel", "operator", "output", ">time", ">share", ">rate", ">of peak", "nodes"
    )
    table.show_footer = True
    for layer in times.layers:
        table.add_row(
            layer.kernel,
            _operators(layer.operators),
            shape_of(layer.shape),
            latency(layer.seconds),
            _percent(layer.seconds / times.total),
            _rate(layer),
            _of_peak(times, layer),
            ", ".join(layer.nodes),
        )
    table.add_row("between", "", "", latency(times.rest), _percent(times.rest / times.total))
    computing = [layer for layer in times.layers if layer.multiply_adds]
    footers = ("total", "", "", latency(times.total))
    for column, text in zip(table.columns, footers, strict=False):
        column.footer = text
    if computing:
        done = 2 * sum(layer.multiply_adds for layer in computing)
        kinds = {layer.dtype for layer in computing}
        unit = _unit(kinds.pop()) if len(kinds) == 1 else "OP/s"
        table.columns[5].footer = scaled(three(done / times.total), unit)
    return table


def layer_times_notes(times: LayerTimes) -> list[str]:
    """Return what the shares refer to, a line each."""
    peaks = [
        f"{scaled(three(peak), _unit(dtype))} in {dtype}" for dtype, peak in times.peaks.items()
    ]
    lines = [f"peak of the machine, measured: {', '.join(peaks)}"] if peaks else []
    lines.append(f"a run without a stopwatch in it: {latency(times.whole)}")
    if not all(layer.direct for layer in times.layers):
        lines.append(
            "*: counted as the definition has it, computed with fewer operations (Winograd)"
        )
    return lines


def _operators(names: tuple[str, ...]) -> str:
    """Write the operators of a kernel, each with its number where it is not one."""
    counts = Counter(names)
    return " + ".join(f"{count} {op}" if count > 1 else op for op, count in counts.items())


def _percent(part: float) -> str:
    return f"{100 * part:.1f} %"


def _rate(layer: LayerTime) -> str:
    if layer.rate is None:
        return ""
    return scaled(three(layer.rate), _unit(layer.dtype)) + ("" if layer.direct else "*")


def _of_peak(times: LayerTimes, layer: LayerTime) -> str:
    part = times.of_peak(layer)
    return "" if part is None else _percent(part) + ("" if layer.direct else "*")


def _unit(dtype: str) -> str:
    return "OP/s" if "int" in dtype else "FLOP/s"
