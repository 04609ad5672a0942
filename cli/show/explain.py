"""What `planish explain-int8` shows."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from ...backends.onnxruntime.explain.report import Int8Report, LayerReport, Quality
from ...ir.core.counted import counted
from ...ir.core.durations import latency
from .plain import plain_table


def shown_layers(report: Int8Report, top: int) -> tuple[LayerReport, ...]:
    """Return the `top` layers that lose most, the worst first; 0 for all, in order."""
    return tuple(sorted(report.layers, key=_rank)[:top]) if top else report.layers


def layers_table(report: Int8Report, top: int) -> Table:
    """Return the table of the `top` layers that lose most, the worst first; 0 for all, in order.

    Behind the layers whose own loss is known come the others, the slowest first.
    """
    shown = shown_layers(report, top)
    table = plain_table(
        "layer", "operator", "executed", ">time", ">beside it", ">own SQNR", ">weights", ">result"
    )
    for layer in shown:
        table.add_row(
            layer.node,
            " + ".join([layer.op, *(f"{len(layer.fused)} more" for _ in layer.fused[:1])]),
            layer.precision if layer.fused_into is None else f"in {layer.fused_into}",
            _ms(layer.ms),
            _beside(layer),
            *(_measured(layer, name) for name in ("local", "weights", "cumulative")),
        )
    if len(shown) < len(report.layers):
        table.add_row(f"... {len(report.layers) - len(shown)} more", *[""] * 7)
    return table


def suggestions_table(report: Int8Report) -> Table:
    """Return the table of exclusions that were tried and pay, the best first."""
    table = plain_table("back to float", "because", ">SQNR", ">metric", ">time", "apply")
    for suggestion in report.suggestions:
        names = ", ".join(suggestion.nodes[:3])
        more = len(suggestion.nodes) - 3
        gain = suggestion.gain_metric
        table.add_row(
            names + (f" and {more} more" if more > 0 else ""),
            suggestion.why,
            f"{suggestion.gain_db:+.1f} dB",
            "" if gain is None else _gained(gain, report.before),
            ("+" if suggestion.cost_ms >= 0 else "") + latency(suggestion.cost_ms / 1e3),
            "yes" if suggestion.applied else "no",
        )
    return table


def quality_table(rows: Sequence[tuple[str, Quality, str]]) -> Table:
    """Return the table of whole models: name, quality, size."""
    table = plain_table("model", ">size", ">latency", ">SQNR", ">metric")
    for name, quality, size in rows:
        table.add_row(
            name,
            size,
            _ms(quality.ms),
            _db(quality.sqnr_db),
            "" if quality.metric is None else quality.metric.shown(),
        )
    return table


def notes(report: Int8Report) -> list[str]:
    """Return what must be known to read the tables."""
    found = []
    if report.before.metric is not None:
        found.append(f"the metric is {report.before.metric.what}")
    if report.float_made:
        found.append(
            "no --float model was given: errors are against the same weights, so what the integer "
            "weights lose is not in them"
        )
    if report.drawn_feeds:
        found.append("no --feeds were given: errors are on random inputs, and say little")
    for names, (has, have), what in (
        (report.unmatched, ("was not", "were not"), " found in the float model"),
        (
            report.foreign,
            ("has other", "have other"),
            " weights than the float model (folded, equalized or trained since): not compared; the "
            "feeds that it was quantized on show how layers were equalized",
        ),
    ):
        if names:
            some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            layers = counted(len(names), f"layer {has}", f"layers {have}")
            found.append(f"{layers}{what}: {some}")
    return found


def _rank(layer: LayerReport) -> tuple[float, float]:
    local = math.inf if layer.local is None else layer.local
    return local, -layer.ms - layer.conversion_ms


def _beside(layer: LayerReport) -> str:
    found = [c for c in layer.conversions if c.of != "border"]
    return f"{len(found)}: {_ms(sum(c.ms for c in found))}" if found else ""


def _gained(gain: float, quality: Quality) -> str:
    """Write a change of the metric in its unit."""
    text = "" if quality.metric is None else quality.metric.written(gain)
    return text if gain < 0 else f"+{text}"


def _ms(value: float) -> str:
    return latency(value / 1e3)


def _measured(layer: LayerReport, name: str) -> str:
    """Write a measure, nothing where it does not concern the layer."""
    value = getattr(layer, name)
    return "" if value is None and name not in layer.unknown else _db(value)


def _db(value: float | None) -> str:
    if value is None:
        return "?"
    return "exact" if value == math.inf else f"{value:.1f} dB"
