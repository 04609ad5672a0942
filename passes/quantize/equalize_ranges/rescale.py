"""Scales moved into the weights of a layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.ops.linear.kernel import kernel_of
from ....ir.ops.linear.layer import Layer
from ....ir.ops.linear.operators import to_blocks
from ....ir.ops.linear.storing import is_storable, stored
from ...analysis.channels.cells import Array


@dataclass(frozen=True)
class RescaledLayer:
    """A layer and its weight and bias after scaling, in the types and layouts they are stored in.

    Attributes, alpha and beta of Gemm among them, stay.
    """

    layer: Layer
    weight: Array
    bias: Array | None
    is_kept: bool  # whether storing them does no more than round


def rescaled(layer: Layer, before: Array, after: Array) -> RescaledLayer:
    """Return `layer` for an input scaled by `before` [C] and a result to be scaled by `after` [M].

    W' = after * W / before, b' = after * b; float64 inside.
    """
    bias = None if layer.bias is None else layer.bias.astype(np.float64)
    kernel = kernel_of(to_blocks(layer.node, layer.weight), bias)
    kernel = kernel.then_affine(after, None).after_scale(1 / before)
    dtype = layer.weight.dtype
    return RescaledLayer(
        layer,
        layer.stored(kernel),
        None if kernel.bias is None else stored(kernel.bias, dtype),
        is_storable(kernel, dtype),
    )


def write(edit: Edit, found: RescaledLayer) -> Layer:
    """Give the layer its scaled weight and bias, and return it as it is then."""
    layer = found.layer
    _give(edit, layer.node, 1, found.weight)
    if found.bias is not None:
        if layer.added is None:
            _give(edit, layer.node, 2, found.bias)
        else:
            product = layer.node.outputs[0]
            _give(edit, layer.added, int(layer.added.inputs[0] is product), found.bias)
    return replace(layer, weight=found.weight, bias=found.bias)


def _give(edit: Edit, node: gs.Node, position: int, values: Array) -> None:
    old = node.inputs[position]
    new = edit.constant(values, old.name)
    edit.set_input(node, position, new)
    if not edit.uses.fan_out(old) and id(old) not in edit.uses.pinned:
        edit.take_name(new, old)
