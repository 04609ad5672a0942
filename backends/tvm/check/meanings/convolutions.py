"""Convolutions: of floats, of bytes, by Winograd's products, depthwise of bytes, transposed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ml_dtypes
import numpy as np

from ...kernels.bfloat16 import HALF
from ...kernels.byte_depthwise import ByteDepthwise
from ...kernels.convolution import Convolution
from ...kernels.dot import ByteDot
from ...kernels.transposed import Transposed
from ...kernels.winograd.convolution import Winograd
from ...kernels.winograd.convolution import pack as pack_winograd
from ...spec.layout import Array
from ..chain import run_chain
from ..draw import Draw, deviation_of, fan_in, in_blocks, packed_weights
from ..onnx_layers import run_layer
from .meaning import Meaning, meaning_of
from .windows import cut

_HALFWAY = 5e-4  # of a sum, of which some numbers may be rounded to the other neighbour


@meaning_of.register
def _convolution(op: Convolution, draw: Draw) -> Meaning:
    return _convolved(op, draw, op.dot.interleaved)


@meaning_of.register
def _winograd(op: Winograd, draw: Draw) -> Meaning:
    found = _convolved(op.conv, draw, lambda packed: pack_winograd(op, packed))
    return Meaning(value=found.value, accuracy=2e-5)  # a few times as large as the direct form's


def _convolved(op: Convolution, draw: Draw, order: Callable[[Array], Array]) -> Meaning:
    # Sums of bytes are whole: their scale is part of the epilogue.
    spec = replace(op.x, scale=1.0) if isinstance(op.dot, ByteDot) else op.x
    x = draw.tensor(spec, 1.0, finite=isinstance(op.dot, ByteDot))
    before = draw.operands(op.prologue)
    x, _ = run_chain(op.prologue, x, before, 0.0)
    accuracy = 5e-6
    if op.prologue.steps and op.x.dtype == HALF:
        x, accuracy = x.astype(ml_dtypes.bfloat16).astype(np.float32), _HALFWAY
    # The last group may have fewer channels: here it has zeros besides, and its results are cut.
    shape = (op.group * op.outputs, op.inputs, *op.kernel)
    weight, factor = _weights(op, draw, shape, x)
    packed = packed_weights(weight[: op.y.channels], op.x, op.y, op.weight_shape)
    x = np.pad(x, [(0, 0), (0, op.group * op.inputs - op.x.channels), *[(0, 0)] * 3])
    draw.args.append(np.ascontiguousarray(order(packed)))
    value = run_layer(
        "Conv",
        [x, weight],
        op.y.rank,
        pads=op.pads,
        strides=op.strides,
        dilations=op.dilations,
        group=op.group,
    )[:, : op.y.channels]
    if isinstance(op.dot, ByteDot):
        value = value + _started(op, op.dot, draw, weight, value)
    return Meaning(value=value, factor=factor, accuracy=accuracy)


def _weights(op: Convolution, draw: Draw, shape: tuple[int, ...], x: Array) -> tuple[Array, float]:
    """Return weights, and what brings the sums of products to the size that is wanted."""
    wanted = draw.size / (deviation_of(x) * fan_in(shape) ** 0.5)
    if isinstance(op.dot, ByteDot):
        whole = draw.rng.integers(-128, 127, shape, np.int8, endpoint=True).astype(np.float32)
        return whole, wanted / deviation_of(whole)
    weight = draw.normal(shape, wanted)
    if op.x.dtype == HALF:
        weight = weight.astype(ml_dtypes.bfloat16).astype(np.float32)
    return weight, 1.0


def _started(
    op: Convolution | ByteDepthwise, dot: ByteDot, draw: Draw, weight: Array, value: Array
) -> Array:
    """Add what the sums of stored bytes start with; return the integer bias that is part of it."""
    most = max(1, int(deviation_of(value)))
    bias = draw.rng.integers(-most, most, len(weight), endpoint=True)
    zero = op.x.zero + (128 if dot.signed else 0)
    start = (bias - zero * weight.reshape(len(weight), -1).sum(axis=1).astype(np.int64)).astype(
        np.int32
    )
    draw.args.append(in_blocks(start, op.y))
    return bias.astype(np.float32).reshape(1, -1, 1, 1, 1)


@meaning_of.register
def _byte_depthwise(op: ByteDepthwise, draw: Draw) -> Meaning:
    x = draw.tensor(replace(op.x, scale=1.0), 1.0, finite=True)
    shape = (op.y.channels, 1, *op.kernel)
    weight = draw.rng.integers(-128, 127, shape, np.int8, endpoint=True).astype(np.float32)
    draw.args.append(op.packed(in_blocks(weight[:, 0].astype(np.int8), op.y)))
    along = {"pads": op.pads, "strides": op.strides, "dilations": op.dilations}
    value = run_layer("Conv", [x, weight], op.y.rank, group=op.y.channels, **along)  # type: ignore[arg-type]
    value = value + _started(op, ByteDot(signed=op.x.dtype == "int8"), draw, weight, value)
    factor = draw.size / (deviation_of(x) * fan_in(shape) ** 0.5 * deviation_of(weight))
    return Meaning(value=value, factor=factor)


@meaning_of.register
def _transposed(op: Transposed, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, 1.0)
    parts, outs, ins = op.group, op.y.channels // op.group, op.x.channels // op.group
    shape = (op.y.channels, ins, *op.kernel)
    weight = draw.normal(shape, draw.size / fan_in(shape) ** 0.5)
    for phase in op.phases():
        taps = weight
        for axis, along in enumerate(phase, start=2):
            taps = np.take(taps, along.taps or (0,), axis=axis)
        draw.args.append(packed_weights(taps, op.x, op.y, op.weight_shape(phase)))
    grouped = weight.reshape(parts, outs, ins, *op.kernel)
    whole = run_layer(
        "ConvTranspose",
        [x, np.swapaxes(grouped, 1, 2).reshape(parts * ins, outs, *op.kernel)],
        op.y.rank,
        strides=op.strides,
        dilations=op.dilations,
        group=parts,
    )
    value = np.zeros((draw.images, op.y.channels, *op.y.spatial), np.float32)
    ends = [low + size for low, size in zip(op.befores, op.y.spatial, strict=True)]
    found = cut(whole, op.befores, ends)
    cut(value, (0, 0, 0), found.shape[2:])[...] = found
    return Meaning(value=value)
