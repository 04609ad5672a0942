"""Layer after layer: a layer is rounded in view of what the rounded ones before it give.

    for each stage:  y from the float network, x^ from the network rounded so far, sample by sample
                     weights and bias of the stage's layers from the moments of (x^, y)

The error that reaches a layer from those before is thus part of what it makes up for. Memory holds
one sample and the moments of one stage, however many samples there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.clone import clone
from ....ir.edit import Edit
from ....ir.variables import node_key
from ...context import Context, Feeds
from ...linear.kernel import Kernel
from ...linear.layer import Layer, write_layer
from ...observe.moments import Moments
from ...observe.patches import draw_positions, patches_at, position_shape, results_at, share
from ...observe.walk import Walk
from .layers import parts_of, stages_of, within_memory

Solve = Callable[[Layer, Moments], Kernel]


def round_in_sequence(
    graph: gs.Graph,
    layers: Sequence[Layer],
    feeds: Feeds,
    solve: Solve,
    edit: Edit,
    context: Context,
    *,
    positions: int,
    sequential: bool = True,
    second: bool = True,
) -> None:
    """Replace each of `layers` by what `solve` makes of it and its moments.

    About `positions` of each layer's output positions are looked at, in all feeds together, drawn
    with the context's seed. Where not `sequential`, layers see what the float network gives.
    """
    original = clone(graph)
    wide = [node_key(layer.node) for layer in layers if second and parts_of(layer) > 1]
    if wide:
        context.remark(
            f"the inputs of {', '.join(map(repr, wide))} are too many to be looked at together: "
            "only correlations within blocks of them count"
        )
    runs = list(stages_of(graph, layers) if sequential else within_memory(layers))
    with (
        Walk(original, feeds) as floats,
        Walk(graph if sequential else original, feeds) as actual,
    ):
        for number, run in enumerate(runs):

            def progress(fraction: float, done: int = number) -> None:
                context.progress((done + fraction) / len(runs))

            seed = [context.seed, number]
            moments = _measure(floats, actual, run, positions, seed, second, progress)
            for layer, found in zip(run, moments, strict=True):
                if found.count == 0:
                    context.decline(layer.node, "no sample gives it anything to read")
                    continue
                kernel = solve(layer, found)
                if not edit.begin():
                    edit.commit()
                    return
                write_layer(edit, layer, kernel, like=context.infer().of(layer.node.outputs[0]))
            edit.commit()


def has_bias(layer: Layer) -> bool:
    """Say whether the operator of `layer` adds a bias or can be given one."""
    return layer.op != "MatMul" or layer.added is not None


def _measure(
    floats: Walk,
    actual: Walk,
    layers: Sequence[Layer],
    positions: int,
    seed: Sequence[int],
    second: bool,
    progress: Callable[[float], None],
) -> list[Moments]:
    moments = [
        Moments(centred=has_bias(layer), second=second, parts=parts_of(layer)) for layer in layers
    ]
    generator = np.random.default_rng(seed)
    with (
        closing(actual.stage([layer.source.name for layer in layers])) as sources,
        closing(floats.stage([layer.result.name for layer in layers], progress)) as results,
    ):
        for given, wanted in zip(sources, results, strict=True):
            for layer, found in zip(layers, moments, strict=True):
                result, source = wanted[layer.result.name], given[layer.source.name]
                most = share(layer, positions, floats.samples)
                chosen = draw_positions(position_shape(layer, result), most, generator)
                if chosen.size:
                    outputs = results_at(layer, result, chosen)
                    found.add(patches_at(layer, source, result, chosen), outputs)
    return moments
