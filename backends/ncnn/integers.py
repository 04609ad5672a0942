"""Pairs of QuantizeLinear and DequantizeLinear in ncnn's scheme, or a refusal that says why.

    q = round(x * input_scale) in [-127, 127]     w: bytes as in the file     y = sum / (scales) + b

ncnn's layers quantize what they read by one scale, without a zero point, and weights have one scale
a channel. What the file says is written down as it is. Between layers a tensor is float, put on the
file's grid where something but such a layer reads it, with whatever zero point.

Source: ncnn `Convolution::forward_int8`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.decline import need
from ...ir.ops.linear.layer import Layer, read_layer
from ...ir.ops.quantization.nodes import DEQUANTIZE, dequantizer, is_dequantizer
from ...ir.ops.quantization.parameters import ConstantParameters, read_quantization
from ...ir.ops.traits.groups import LAYERS
from ...ir.ops.traits.lookup import traits_of
from ...ir.ops.traits.model import Movement
from .model import Array
from .scope import NcnnScope

_ADVICE = "quantize with activations=int8 and symmetric=true"


@dataclass(frozen=True)
class NcnnIntegerLayer:
    """A linear layer whose input and weight are quantized: `source` is read in float.

    `weight` are bytes as ncnn has them; `scales` those of the output channels.
    """

    layer: Layer
    source: gs.Tensor
    weight: Array
    scales: Array
    input_scale: Array

    @property
    def has_scale_a_group(self) -> bool:
        """Say whether all channels of a group have one scale, or there are no groups."""
        parts = self.weight_scales(1).reshape(self.layer.group, -1)
        return self.layer.group == 1 or bool((parts == parts[:, :1]).all())

    def weight_scales(self, group: int) -> Array:
        """Return one scale a channel, of the first channel of each group where there are any."""
        scales = np.broadcast_to(self.scales, (self.layer.outputs,)).astype(np.float32)
        if group > 1:
            scales = scales.reshape(group, -1)[:, 0]
        return np.ascontiguousarray(np.float32(1) / scales, np.float32)


def read_integers(to: NcnnScope, node: gs.Node) -> NcnnIntegerLayer | None:
    """Return `node` as an integer layer, None where its input or weight is float.

    Declines where both are quantized, and ncnn has no place for a zero point or scale.
    """
    view = to.view
    below, weights = (dequantizer(tensor, view) for tensor in node.inputs[:2])
    if below is None or weights is None or view.constant(weights.inputs[0]) is None:
        return None
    layer = read_layer(with_float_weights(to, node), view)
    told = _told(to, below)
    zero, low, _ = grid_of(told)
    need(
        zero - low == 128,
        f"its input has the zero point {zero} of {told.integer_type}, and ncnn's integers have "
        f"none; {_ADVICE}",
    )
    held = need(read_quantization(weights).constants(view.constant), "a scale is computed")
    values = need(view.constant(weights.inputs[0]), "its weight is computed")
    zeros = 0 if held.zero_point is None else held.zero_point
    need(
        values.dtype == np.int8 and not np.any(zeros),
        f"its weight is {values.dtype} with a zero point; ncnn's are int8 without; {_ADVICE}",
    )
    axis = held.axis % values.ndim
    need(
        held.scale.size == 1 or (axis == layer.output_axis and not held.block),
        "its weight has scales along another axis than its outputs",
    )
    integers: Array = np.asarray(values)
    if node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transB", 0)):
        integers = integers.T
    if node.op == "Gemm":
        need(node.attrs.get("alpha", 1.0) == 1.0, "its alpha is not 1")
    return NcnnIntegerLayer(
        layer=layer,
        source=node.inputs[0] if _is_of_grid_values(to, below.inputs[0]) else below.inputs[0],
        weight=np.ascontiguousarray(integers),
        scales=held.scale.reshape(-1),
        input_scale=np.float32(1) / told.scale.reshape(1).astype(np.float32),
    )


def _is_of_grid_values(to: NcnnScope, integers: gs.Tensor) -> bool:
    """Say whether what was quantized to `integers` was computed of values on a grid themselves.

    Then halves are no accident: a tenth of 5 steps is one, and ncnn rounds it away from zero. Sums
    of a linear layer are halves as rarely as any number is.
    """
    work, seen = [integers], set()
    while work:
        node = to.view.producer(work.pop())
        if node is None or id(node) in seen or node.op in LAYERS:
            continue
        seen.add(id(node))
        if is_dequantizer(node):
            return True
        work += [tensor for tensor in node.inputs if to.view.constant(tensor) is None]
    return False


def grid_of(told: ConstantParameters) -> tuple[int, int, int]:
    """Return the zero point of a tensor's grid, and its least and largest integer."""
    low, high = dtypes.integer_limits(told.integer_type)
    zero = 0 if told.zero_point is None else int(told.zero_point.reshape(-1)[0])
    return zero, int(low), int(high)


def with_float_weights(to: NcnnScope, node: gs.Node) -> gs.Node:
    """Return `node` with its weights and bias as the floats that they stand for."""
    inputs = [node.inputs[0], *(floats_of(to, tensor) for tensor in node.inputs[1:])]
    return gs.Node(node.op, node.name, dict(node.attrs), inputs, [], domain=node.domain)


def floats_of(to: NcnnScope, tensor: gs.Tensor) -> gs.Tensor:
    """Return a constant of what a DequantizeLinear makes of constant integers, else `tensor`."""
    node = dequantizer(tensor, to.view)
    values = None if node is None else to.view.constant(node.inputs[0])
    if node is None or values is None:
        return tensor
    told = need(read_quantization(node).constants(to.view.constant), "a scale is computed")
    found = need(told.dequantize(values), "its scales do not fit its weight")
    return gs.Constant(f"{tensor.name}_float", found)


def convert_quantizer(to: NcnnScope, node: gs.Node) -> None:
    """Hold the floats that a QuantizeLinear reads, and the grid they are to be put on."""
    told = need(read_quantization(node).constants(to.view.constant), "a scale is computed")
    need(told.is_per_tensor, "it has scales along an axis, where ncnn has one for a tensor")
    need(not to.view.is_output(node.outputs[0]), "it gives integers, and ncnn floats")
    to.shape(node.inputs[0])
    to.grids[id(node.outputs[0])] = told
    source = node.inputs[0]
    to.defer(node.outputs[0], lambda: to.blob(source))


def carry_grid(to: NcnnScope, node: gs.Node) -> None:
    """Hand the grid of integers that `node` reads on to its results.

    Declines what computes with integers.
    """
    held = [to.grids[id(tensor)] for tensor in node.inputs if id(tensor) in to.grids]
    if not held or node.op == DEQUANTIZE:
        return
    traits = traits_of(node, to.view.opset)
    chooses = traits.movement < Movement.NONE and traits.monotone.increases and not traits.fills
    need(chooses, "it computes with integers as they are")
    need(all(_same_grid(held[0], other) for other in held), "it reads integers of two grids")
    data = [t for t in node.inputs if not t.is_empty() and to.view.constant(t) is None]
    need(len(data) == len(held), "it reads integers and floats")
    to.grids.update({id(tensor): held[0] for tensor in node.outputs})


def _same_grid(one: ConstantParameters, other: ConstantParameters) -> bool:
    return bool(np.all(one.scale == other.scale)) and grid_of(one) == grid_of(other)


def _told(to: NcnnScope, node: gs.Node) -> ConstantParameters:
    """Return the grid that a DequantizeLinear reads, which must be that of what it is given."""
    told = need(read_quantization(node).constants(to.view.constant), "a scale is computed")
    held = need(to.grids.get(id(node.inputs[0])), "its integers are computed")
    need(_same_grid(told, held), "its scale or zero point is not that of its QuantizeLinear")
    return held


def convert_dequantizer(to: NcnnScope, node: gs.Node) -> None:
    """Put a tensor on its grid, where something but an integer layer reads it."""
    if to.view.constant(node.inputs[0]) is not None:
        floats = floats_of(to, node.outputs[0])
        to.defer(node.outputs[0], lambda: to.blob(floats))
        return
    told, source = _told(to, node), node.inputs[0]
    shape = to.shape(source)

    def on_grid() -> str:
        zero, low, high = grid_of(told)
        scale = to.constant(told.scale.astype(np.float32).reshape([1] * len(shape)))
        steps = to.add("BinaryOp", (to.blob(source), scale), {0: 3})
        whole = to.add("UnaryOp", (steps,), {0: 18})
        inside = to.add("Clip", (whole,), {0: float(low - zero), 1: float(high - zero)})
        return to.add("BinaryOp", (inside, scale), {0: 2})

    to.defer(node.outputs[0], on_grid)
