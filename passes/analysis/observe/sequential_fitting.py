"""Layer after layer: a layer is fitted in view of what the layers changed before it give.

    for each stage:  y from the float network, x^ from the network changed so far, sample by sample
                     weights and bias of the stage's layers from the moments of (x^, y)

The error that reaches a layer from those before is thus part of what it makes up for. Memory holds
one sample and the moments of one stage, however many samples there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import node_key
from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit
from ....ir.ops.linear.layer import Layer
from ...engine.context import Context, Feeds
from .moments import Moments
from .patches import draw_positions, patches_at, position_shape, positions_per_feed, results_at
from .staged_capture import StagedCapture
from .stages import columns_within_work, parts_of, stages_of, within_memory

Array = np.ndarray[Any, Any]
Change = Callable[[Layer, Moments, Edit], bool]
# Samples go to them in turn.
Halves = tuple[Moments, Moments]


def fit_in_sequence(
    graph: gs.Graph,
    layers: Sequence[Layer],
    feeds: Feeds,
    change: Change,
    context: Context,
    *,
    positions: int,
    sequential: bool = True,
    second: bool = True,
) -> int:
    """Call `change` for each of `layers` with its moments, in the order of `stages_of`.

    Returns the number of edits. `change` writes through the batch that it is given, keeps the names
    of the layer's input and result, and returns whether to go on. About `positions` of each layer's
    output positions are looked at, in all feeds together, drawn with the context's seed. Where not
    `sequential`, layers see what the float network gives; without `second`, moments hold means
    alone.
    """
    original = clone(graph)
    most = columns_within_work(layers) if second else None
    wide = [node_key(layer.node) for layer in layers if second and parts_of(layer, most) > 1]
    if wide:
        context.remark(
            f"the inputs of {', '.join(map(repr, wide))} are too many to be looked at together: "
            "only correlations within blocks of them count"
        )
    runs = list(stages_of(graph, layers, most) if sequential else within_memory(layers, most))
    with (
        StagedCapture(original, feeds) as floats,
        StagedCapture(graph if sequential else original, feeds) as actual,
        context.editing() as edit,
    ):
        for number, run in enumerate(runs):

            def progress(fraction: float, done: int = number) -> None:
                context.progress((done + fraction) / len(runs))

            seed = [context.seed, number]
            empty = [_empty(layer, second, most) for layer in run]
            moments = _measure(floats, actual, run, empty, positions, seed, progress)
            for layer, halves in zip(run, moments, strict=True):
                found = Moments.joined(*halves)
                if found.count == 0:
                    context.decline(layer.node, "no sample gives it anything to read")
                elif not change(layer, found, edit):
                    return edit.count
            edit.commit()  # what the next stage is measured on
    return edit.count


def has_bias(layer: Layer) -> bool:
    """Say whether the operator of `layer` adds a bias or can be given one."""
    return layer.op != "MatMul" or layer.added is not None


def _measure(
    floats: StagedCapture,
    actual: StagedCapture,
    layers: Sequence[Layer],
    moments: Sequence[Halves],
    positions: int,
    seed: Sequence[int],
    progress: Callable[[float], None],
) -> Sequence[Halves]:
    """Return `moments` with the positions of all samples taken in."""
    generator = np.random.default_rng(seed)
    seen = 0
    with (
        closing(actual.stage([layer.source.name for layer in layers])) as sources,
        closing(floats.stage([layer.result.name for layer in layers], progress)) as results,
    ):
        for given, wanted in zip(sources, results, strict=True):
            samples = 1
            for layer, halves in zip(layers, moments, strict=True):
                result, source = wanted[layer.result.name], given[layer.source.name]
                most = positions_per_feed(layer, positions, floats.samples)
                chosen = draw_positions(position_shape(layer, result), most, generator)
                _deal(layer, source, result, chosen, halves, seen)
                samples = len(result)
            seen += samples
    return moments


def _empty(layer: Layer, second: bool, most_columns: int | None) -> Halves:
    parts, centred = parts_of(layer, most_columns), has_bias(layer)
    first, other = (Moments(centred=centred, second=second, parts=parts) for _ in range(2))
    return first, other


def _deal(
    layer: Layer, source: Array, result: Array, positions: Array, halves: Halves, seen: int
) -> None:
    """Add `positions` to `halves`, each to that of its sample, of which `seen` came before."""
    samples = seen + positions // max(math.prod(position_shape(layer, result)[1:]), 1)
    for number, half in enumerate(halves):
        own = positions[samples % 2 == number]
        if own.size:
            half.add(patches_at(layer, source, result, own), results_at(layer, result, own))
