"""Scales moved into the weights of a layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.edit import Edit
from ....ir.ops.linear.kernel import (
    from_conv,
    from_conv_transpose,
    from_matrix,
    to_conv,
    to_conv_transpose,
    to_matrix,
)
from ....ir.ops.linear.layer import Layer, stored
from ...analysis.channels.cells import Array


@dataclass(frozen=True)
class Rescaled:
    """A layer and its weight and bias after scaling, in the types and layouts they are stored in.

    Attributes, alpha and beta of Gemm among them, stay.
    """

    layer: Layer
    weight: Array
    bias: Array | None

    @property
    def is_finite(self) -> bool:
        """Say whether its type holds every value."""
        parts = [self.weight] if self.bias is None else [self.weight, self.bias]
        return all(bool(np.isfinite(part).all()) for part in parts)


def rescaled(layer: Layer, before: Array, after: Array) -> Rescaled:
    """Return `layer` for an input scaled by `before` [C] and a result to be scaled by `after` [M].

    W' = after * W / before, b' = after * b; float64 inside.
    """
    bias = None if layer.bias is None else layer.bias.astype(np.float64)
    transposed = bool(layer.node.attrs.get("transB", 0))
    match layer.op:
        case "Conv":
            kernel = from_conv(layer.weight, bias, layer.group)
        case "ConvTranspose":
            kernel = from_conv_transpose(layer.weight, bias, layer.group)
        case _:
            kernel = from_matrix(layer.weight, bias, transposed=transposed)
    kernel = kernel.then_affine(after, None).after_scale(1 / before)
    match layer.op:
        case "Conv":
            weight = to_conv(kernel)
        case "ConvTranspose":
            weight = to_conv_transpose(kernel)
        case _:
            weight = to_matrix(kernel, transposed=transposed)
    dtype = layer.weight.dtype
    return Rescaled(
        layer,
        stored(weight, dtype),
        None if kernel.bias is None else stored(kernel.bias, dtype),
    )


def write(edit: Edit, found: Rescaled) -> Layer:
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
