"""What `explain_int8` found of an integer model, as figures of a report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ...backends.onnxruntime.explain.report import Int8Report, LayerReport
from .document import DeclineEntry, GraphEntry, LatencyEntry, MeasureEntry

_Figure = Callable[[LayerReport], float | None]
_Column = tuple[str, str, str, Literal["low", "high", ""], _Figure]
_COLUMNS: tuple[_Column, ...] = (
    ("time-int8", "time as explained", "s", "low", lambda layer: 1e-3 * layer.ms),
    ("local", "own SQNR", "dB", "high", lambda layer: layer.local),
    ("weights", "SQNR of weights", "dB", "high", lambda layer: layer.weights),
    ("rounding", "SQNR of rounding", "dB", "high", lambda layer: layer.rounding),
    ("cumulative", "SQNR of the result", "dB", "high", lambda layer: layer.cumulative),
)


def int8_measures(found: Int8Report, entry: GraphEntry, place: int) -> tuple[MeasureEntry, ...]:
    """Return the figures of each layer that was explained, by node of `entry`, graph `place`."""
    places = _places(entry)
    measures = []
    for name, label, unit, better, figure in _COLUMNS:
        values: list[float | None] = [None] * len(entry.nodes)
        for layer in found.layers:
            at = places.get(layer.node)
            if at is not None and layer.inside is None:
                values[at] = figure(layer)
        if any(value is not None for value in values):
            measures.append(
                MeasureEntry(
                    id=name,
                    label=label,
                    graph=place,
                    unit=unit,
                    better=better,
                    values=tuple(values),
                )
            )
    suggested = _suggested(found, places, len(entry.nodes))
    if any(value is not None for value in suggested):
        measures.append(
            MeasureEntry(
                id="sensitivity",
                label="gain if left float",
                graph=place,
                unit="dB",
                better="low",
                values=suggested,
                note="of the outputs' SQNR, with all nodes that go back together",
            )
        )
    return tuple(measures)


def _suggested(found: Int8Report, places: dict[str, int], count: int) -> tuple[float | None, ...]:
    values: list[float | None] = [None] * count
    for suggestion in found.suggestions:
        for name in suggestion.nodes:
            if name in places:
                known = values[places[name]]
                values[places[name]] = max(suggestion.gain_db, known or suggestion.gain_db)
    return tuple(values)


def stayed_float(found: Int8Report, entry: GraphEntry, place: int) -> tuple[DeclineEntry, ...]:
    """Return the layers that the runtime runs in float, and why, as far as that is known."""
    places = _places(entry)
    return tuple(
        DeclineEntry(
            pass_name=found.runtime,
            name=layer.node,
            before=places.get(layer.node, -1) if place == 0 else -1,
            after=places.get(layer.node, -1) if place == 1 else -1,
            reason=layer.why_float,
        )
        for layer in found.layers
        if layer.why_float is not None
    )


def int8_latencies(found: Int8Report, graphs: int) -> tuple[LatencyEntry, ...]:
    """Return one run of the float model and of the integer one."""
    both = (found.original, found.before)
    return tuple(
        LatencyEntry(graph=place, runtime=found.runtime, seconds=1e-3 * quality.ms)
        for place, quality in enumerate(both[-graphs:])
    )


def _places(entry: GraphEntry) -> dict[str, int]:
    """Return the places of nodes by what `explain_int8` calls them: their name or first output."""
    found: dict[str, int] = {}
    for place, node in enumerate(entry.nodes):
        for name in (node.name, *node.outputs[:1]):
            found.setdefault(name, place)
    return found
