"""Single layers of models, timed one model after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...backends.contract.layer_times import LayerTimes
from ..show.console import err, out, print_json, print_plain
from ..show.layers import layer_times_notes, layer_times_table
from ..show.progress import progress_bar
from .layer_names import with_operators
from .subjects import BenchedModel

Timed = tuple[BenchedModel, LayerTimes]


def time_layers(subjects: Iterable[BenchedModel], rounds: int, warmup: int) -> list[Timed]:
    """Time the layers of every subject under a progress bar."""
    with progress_bar(err, "timing layers"):
        return [(one, _times(one, rounds, warmup)) for one in subjects]


def _times(one: BenchedModel, rounds: int, warmup: int) -> LayerTimes:
    for _ in range(warmup):
        one.compiled(one.feed)
    times = one.compiled.time_layers(one.feed, rounds=rounds)
    return times if one.graph is None else with_operators(times, one.graph, one.feed)


def show_layers(timed: Sequence[Timed], setting: Mapping[str, Any], as_json: bool) -> None:
    """Print a table for each model, or all as JSON with the `setting` they were taken in."""
    if as_json:
        models = [_as_json(one.label, one.batch, times) for one, times in timed]
        print_json({**setting, "models": models})
        return
    for one, times in timed:
        _show(one.label, one.batch, times)


def _show(label: str, batch: int, times: LayerTimes) -> None:
    print_plain(f"{label}, batch {batch}")
    out.print(layer_times_table(times))
    for line in layer_times_notes(times):
        print_plain(line)
    out.print()


def _as_json(label: str, batch: int, times: LayerTimes) -> dict[str, Any]:
    """Return the times of one model's layers as JSON has them."""
    layers = [
        {
            "kernel": layer.kernel,
            "nodes": list(layer.nodes),
            "operators": list(layer.operators),
            "shape": None if layer.shape is None else list(layer.shape),
            "ms": 1e3 * layer.seconds,
            "share": layer.seconds / times.total,
            "multiply_adds": layer.multiply_adds,
            "dtype": layer.dtype,
            "operations_per_second": layer.rate,
            "of_peak": times.of_peak(layer),
            "direct": layer.direct,
        }
        for layer in times.layers
    ]
    return {
        "label": label,
        "batch": batch,
        "peaks": times.peaks,
        "whole_ms": 1e3 * times.whole,
        "rest_ms": 1e3 * times.rest,
        "layers": layers,
    }
