"""Operators element by element: of one tensor, and of two that broadcast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.ops.clips import clip_bounds
from ...ir.ops.linear.affine import read_affine
from ...ir.ops.traits import attribute
from .model import Array, Parameter
from .scope import NcnnScope, need_images

Convert = Callable[[NcnnScope, gs.Node], None]

# The numbers that ncnn's UnaryOp knows them by.
UNARY = {
    "Abs": 0, "Neg": 1, "Floor": 2, "Ceil": 3, "Sqrt": 5, "Exp": 7, "Log": 8, "Sin": 9, "Cos": 10,
    "Tan": 11, "Asin": 12, "Acos": 13, "Atan": 14, "Reciprocal": 15, "Tanh": 16, "Round": 18,
}  # fmt: skip
# Those of BinaryOp.
BINARY = {"Add": 0, "Sub": 1, "Mul": 2, "Div": 3, "Max": 4, "Min": 5}
_FINITE = "NaN or a large number where ONNX has infinity"
_POWERS = (1, 2, 3, 4)
# Layers of their own, and the attributes that are their parameters, in order.
LAYERS = {
    "Sigmoid": ("Sigmoid", ()),
    "Mish": ("Mish", ()),
    "Erf": ("Erf", ()),
    "Relu": ("ReLU", ()),
    "LeakyRelu": ("ReLU", ("alpha",)),
    "Elu": ("ELU", ("alpha",)),
    "Selu": ("SELU", ("alpha", "gamma")),
    "HardSigmoid": ("HardSigmoid", ("alpha", "beta")),
}


def convert_unary(to: NcnnScope, node: gs.Node) -> None:
    """Add an operator of one tensor."""
    to.shape(node.outputs[0])
    blob = to.blob(node.inputs[0])
    if node.op in UNARY:
        to.define(node.outputs[0], to.add("UnaryOp", (blob,), {0: UNARY[node.op]}))
        return
    kind, names = LAYERS[node.op]
    params: dict[int, Parameter] = {
        i: float(attribute(node, name, to.view.opset)) for i, name in enumerate(names)
    }
    to.define(node.outputs[0], to.add(kind, (blob,), params))


def convert_limited(to: NcnnScope, node: gs.Node) -> None:
    """Add an operator of one tensor that is infinite somewhere, where ncnn's is not."""
    to.remark(_FINITE, node)
    convert_unary(to, node)


def convert_softplus(to: NcnnScope, node: gs.Node) -> None:
    """Add a Softplus as max(x, 0) + log(1 + exp(-|x|)): ncnn's own is infinite from 89 on."""
    to.shape(node.outputs[0])
    blob = to.blob(node.inputs[0])
    size = to.add("UnaryOp", (blob,), {0: UNARY["Abs"]})
    rest = to.add("Softplus", (to.add("UnaryOp", (size,), {0: UNARY["Neg"]}),))
    parts = to.add("ReLU", (blob,)), rest
    to.define(node.outputs[0], to.add("BinaryOp", parts, {0: BINARY["Add"]}))


def convert_hard_swish(to: NcnnScope, node: gs.Node) -> None:
    """Add a HardSwish."""
    params: dict[int, Parameter] = {0: 1 / 6, 1: 0.5}
    to.define(node.outputs[0], to.add("HardSwish", (to.blob(node.inputs[0]),), params))


def convert_gelu(to: NcnnScope, node: gs.Node) -> None:
    """Add a Gelu."""
    fast = attribute(node, "approximate", to.view.opset) == "tanh"
    to.define(node.outputs[0], to.add("GELU", (to.blob(node.inputs[0]),), {0: int(fast)}))


def convert_clip(to: NcnnScope, node: gs.Node) -> None:
    """Add a Clip with constant bounds."""
    low, high = need(clip_bounds(node, to.view), "its bounds are not known")
    # Without a bound, ncnn has the largest number there is, too large to be read as text.
    most = float(np.finfo(np.float32).max)
    params: dict[int, Parameter] = {
        i: float(bound) for i, bound in enumerate((low, high)) if abs(bound) < most
    }
    to.define(node.outputs[0], to.add("Clip", (to.blob(node.inputs[0]),), params))


def convert_prelu(to: NcnnScope, node: gs.Node) -> None:
    """Add a PRelu with one slope, or one a channel."""
    slope = need(to.view.constant(node.inputs[1]), "its slope is not constant")
    shape = to.shape(node.inputs[0])
    slope = slope.reshape((1,) * (len(shape) - slope.ndim) + slope.shape)
    need(slope.size in (1, shape[0]) and slope.size == slope.shape[-len(shape)], "its slopes vary")
    params: dict[int, Parameter] = {0: int(slope.size)}
    weight = slope.reshape(-1).astype(np.float32), False
    to.define(node.outputs[0], to.add("PReLU", (to.blob(node.inputs[0]),), params, weight))


def convert_batchnorm(to: NcnnScope, node: gs.Node) -> None:
    """Add a BatchNormalization as scale and shift alone: its mean is 0, its variance 1."""
    affine = need(read_affine(node, to.view), "its parameters are not constant")
    channels = to.shape(node.inputs[0])[0]
    parts = need(affine.on_channels(to.view.rank(node.inputs[0]), 1, channels), "its axis differs")
    scale, shift = (np.asarray(part, np.float32) for part in parts)
    values = (scale, np.zeros_like(scale), np.ones_like(scale), shift)
    weights = [(each, False) for each in values]
    params: dict[int, Parameter] = {0: channels, 1: 0.0}
    to.define(node.outputs[0], to.add("BatchNorm", (to.blob(node.inputs[0]),), params, *weights))


def convert_power(to: NcnnScope, node: gs.Node) -> None:
    """Add a Pow as products: ncnn's own goes by logarithms, which negative numbers have not."""
    exponent = to.view.constant(node.inputs[1])
    need(exponent is not None and exponent.size == 1, "its exponent is computed")
    assert exponent is not None
    power = float(exponent.reshape(()))
    need(power in (0.5, *_POWERS), f"ncnn has no power of {power:g} of negative numbers")
    shape = to.shape(node.outputs[0])
    need(shape == to.shape(node.inputs[0]), "its exponent has more axes")
    blob = found = to.blob(node.inputs[0])
    if power == 0.5:
        found = to.add("UnaryOp", (blob,), {0: UNARY["Sqrt"]})
    for _ in range(int(power) - 1):
        found = to.add("BinaryOp", (found, blob), {0: BINARY["Mul"]})
    to.define(node.outputs[0], found)


def convert_layer_norm(to: NcnnScope, node: gs.Node) -> None:
    """Add a LayerNormalization over the last axis."""
    shape = to.shape(node.inputs[0])
    axis = int(attribute(node, "axis", to.view.opset)) % (len(shape) + 1)
    need(axis == len(shape), "it normalizes over several axes")
    need(len(node.outputs) == 1, "its mean or deviation is read")
    scale, *shift = (to.view.constant(tensor) for tensor in node.inputs[1:])
    scale = need(scale, "its scale is not constant")
    shifts = need(shift[0], "its bias is not constant") if shift else np.zeros_like(scale)
    need(scale.size == shifts.size == shape[-1], "its scale has another size")
    params: dict[int, Parameter] = {
        0: shape[-1], 1: float(attribute(node, "epsilon", to.view.opset)), 2: 1,
    }  # fmt: skip
    weights = [(part.reshape(-1).astype(np.float32), False) for part in (scale, shifts)]
    to.define(node.outputs[0], to.add("LayerNorm", (to.blob(node.inputs[0]),), params, *weights))


def convert_binary(to: NcnnScope, node: gs.Node) -> None:
    """Add an operator of two tensors or more; those of fewer axes get as many, ones in front."""
    shape = to.shape(node.outputs[0])
    blobs = [_operand(to, tensor, len(shape)) for tensor in node.inputs]
    if node.op == "Div" and to.view.constant(node.inputs[1]) is None:
        to.remark(_FINITE, node)
    found = blobs[0]
    for blob in blobs[1:]:
        found = to.add("BinaryOp", (found, blob), {0: BINARY[node.op]})
    to.define(node.outputs[0], found)


def _operand(to: NcnnScope, tensor: gs.Tensor, rank: int) -> str:
    values: Any = to.view.constant(tensor)
    if values is None:
        shape = to.shape(tensor)
        blob = to.blob(tensor)
        # The axis of images stands in front of those that are missing.
        need(len(shape) == rank, "what it reads has fewer axes, the images' among them")
        return blob
    values = np.asarray(values)
    need(values.dtype == np.float32, f"a constant is {values.dtype}")
    padded: Array = values.reshape((1,) * (rank + 1 - values.ndim) + values.shape)
    return to.constant(need_images(padded))
