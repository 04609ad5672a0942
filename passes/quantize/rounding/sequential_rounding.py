"""Layer after layer: a layer is rounded in view of what the rounded ones before it give.

See `observe/sequence`, which calls for a layer's weights once its moments are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.ops.linear.kernel import Kernel
from ....ir.ops.linear.layer import Layer, write_layer
from ....ir.ops.linear.storing import stored
from ...analysis.observe.moments import Moments
from ...analysis.observe.sequential_fitting import fit_in_sequence
from ...engine.context import Context, Feeds
from ...engine.float_layers import LayerWeights

Solve = Callable[[Layer, Moments], Kernel]


def round_in_sequence(
    graph: gs.Graph,
    layers: Sequence[Layer],
    feeds: Feeds,
    solve: Solve,
    context: Context,
    *,
    positions: int,
    sequential: bool = True,
    second: bool = True,
) -> None:
    """Replace each of `layers` by what `solve` makes of it and its moments.

    What they were is recorded, for those that stay float after all.
    """

    def change(layer: Layer, moments: Moments, edit: Edit) -> bool:
        kernel = solve(layer, moments)
        if not edit.begin():
            return False
        write_layer(edit, layer, kernel, like=context.infer().of(layer.node.outputs[0]))
        before, after = (_weights(layer, each) for each in (layer.kernel(), kernel))
        context.float_layers.record(layer.result.name, before, after)
        return True

    fit_in_sequence(
        graph,
        layers,
        feeds,
        change,
        context,
        positions=positions,
        sequential=sequential,
        second=second,
    )


def _weights(layer: Layer, kernel: Kernel) -> LayerWeights:
    """Return the weights of `kernel` as `write_layer` writes them."""
    bias = None if kernel.bias is None else stored(kernel.bias, layer.weight.dtype)
    return LayerWeights(layer.stored(kernel), bias)
