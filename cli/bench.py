"""`planish bench`: what is timed, and single layers as text and JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs
from rich.console import Console

from ..backends.contract.backend import Compiled
from ..backends.contract.layer_times import LayerTimes
from ..backends.contract.registry import load_compiled, lower
from ..backends.timing.bench import Subject
from ..ir.files.load import load
from ..ir.run.feeds import random_feeds
from .options import with_batch
from .show import layers as tables_layers

Model = tuple[str, gs.Graph, Compiled]


def lowered(
    path: Path, backends: Sequence[str], target: str, threads: int | None, compiled: bool
) -> Iterator[Model]:
    """Yield for each backend a label, a graph with the inputs, and what runs.

    `compiled`: the file is what the backend wrote, and only it knows how to read it.
    """
    graph = None if compiled else load(path)
    for name in backends:
        if graph is None:
            ready = load_compiled(path, name, target, threads)
            inputs = ready.interface() or load(path)
        else:
            ready = lower(graph, name, target, threads)
            inputs = graph
        yield str(path) if len(backends) == 1 else f"{path} on {name}", inputs, ready


def subjects_of(
    models: Sequence[Model], batches: Sequence[int] | None, shape: Sequence[str] | None, seed: int
) -> Iterator[Subject]:
    """Yield what is timed: each model at each batch size, on the same random feed."""
    for size in [*batches] if batches else [None]:
        for label, graph, ready in models:
            feed = random_feeds(graph, seed=seed, shapes=with_batch(graph, size, shape))[0]
            own = next((len(array) for array in feed.values() if array.ndim), 1)
            yield Subject(label, ready, feed, own)


def show_layers(out: Console, label: str, batch: int, times: LayerTimes) -> None:
    """Print the table of one model's layers, and what the shares are of."""
    out.print(f"{label}, batch {batch}", highlight=False, markup=False)
    out.print(tables_layers.layer_times_table(times))
    for line in tables_layers.layer_times_notes(times):
        out.print(line, highlight=False, markup=False)
    out.print()


def layers_json(label: str, batch: int, times: LayerTimes) -> dict[str, Any]:
    """Return the times of one model's layers as JSON has them."""
    layers = [
        {
            "kernel": layer.kernel,
            "nodes": list(layer.nodes),
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
