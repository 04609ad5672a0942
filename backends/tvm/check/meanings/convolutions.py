"""Convolutions: direct, of tiles, by Winograd's products, depthwise of bytes, transposed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ml_dtypes
import numpy as np

from ...kernels.amx.plan import MatrixConvolution
from ...kernels.bfloat16 import HALF
from ...kernels.byte_depthwise import ByteDepthwise
from ...kernels.convolution import Convolution
from ...kernels.dot import ByteDot
from ...kernels.tiles import Sizes
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
def _matrix(op: MatrixConvolution, draw: Draw) -> Meaning:
    return _convolved(op.conv, draw, lambda packed: op.packed(op.conv.dot.interleaved(packed)))


@meaning_of.register
def _winograd(op: Winograd, draw: Draw) -> Meaning:
    found = _convolved(op.conv, draw, lambda packed: pack_winograd(op, packed))
    return Meaning(value=found.value, accuracy=2e-5)  # a few times as large as the direct form's


def _convolved(op: Convolution, draw: Draw, order: Callable[[Array], Array]) -> Meaning:
    x = _input(op, draw)
    before = draw.operands(op.prologue)
    x, _ = run_chain(op.prologue, x, before, 0.0)
    accuracy = 5e-6
    if op.prologue.steps and op.x.dtype == HALF:
        x, accuracy = x.astype(ml_dtypes.bfloat16).astype(np.float32), _HALFWAY
    groups, weight, factor = _weights(op, draw, op.kernel, x)
    packed = packed_weights(weight[: op.y.channels], op.x, op.y, op.weight_shape)
    x = _with_all_groups(op, x)
    draw.args.append(np.ascontiguousarray(order(packed)))
    value = run_layer(
        "Conv",
        [x, weight],
        op.y.rank,
        pads=op.pads,
        strides=op.strides,
        dilations=op.dilations,
        group=groups,
    )[:, : op.y.channels]
    if isinstance(op.dot, ByteDot):
        value = _started(op, draw, value, _zero(op, op.dot), weight)
    return Meaning(value=value, factor=factor, accuracy=accuracy)


def _input(op: Convolution | Transposed, draw: Draw) -> Array:
    # Sums of bytes are whole: their scale is part of the epilogue.
    spec = replace(op.x, scale=1.0) if isinstance(op.dot, ByteDot) else op.x
    return draw.tensor(spec, 1.0, finite=isinstance(op.dot, ByteDot))


def _weights(
    op: Convolution | Transposed, draw: Draw, kernel: Sizes, x: Array
) -> tuple[int, Array, float]:
    """Return the number of groups, weights [M, C of a group, k, k, k], and a factor.

    The factor brings the sums of products to the size that is wanted. The last group may have fewer
    channels: here it has as many, with weights of zero, as what integers start with sums those too.
    """
    apart = op.dot.shared
    groups = op.group if apart is None else op.group * op.joined
    inputs = op.inputs if apart is None else apart.inputs
    shape = (op.group * op.outputs, inputs, *kernel)
    wanted = draw.size / (deviation_of(x) * fan_in(shape) ** 0.5)
    if isinstance(op.dot, ByteDot):
        whole = draw.rng.integers(-128, 127, shape, np.int8, endpoint=True).astype(np.float32)
        factor = wanted / deviation_of(whole)
        if apart is None:
            whole[-op.outputs :, inputs - _missing(op) :] = 0
        return groups, whole, factor
    weight = draw.normal(shape, wanted)
    if op.x.dtype == HALF:
        weight = weight.astype(ml_dtypes.bfloat16).astype(np.float32)
    return groups, weight, 1.0


def _with_all_groups(op: Convolution | Transposed, x: Array) -> Array:
    """Return `x` with zeros for the channels that the last group lacks."""
    return np.pad(x, [(0, 0), (0, _missing(op)), *[(0, 0)] * 3])


def _missing(op: Convolution | Transposed) -> int:
    """Return how many channels fewer than the others the last group has."""
    return op.group * op.inputs - op.x.channels


def _started(
    op: Convolution | ByteDepthwise | Transposed,
    draw: Draw,
    value: Array,
    zero: int,
    *weights: Array,
) -> Array:
    """Add what sums over each of `weights` start with; return `value` with the bias in it."""
    most = max(1, int(deviation_of(value)))
    bias = draw.rng.integers(-most, most, op.y.channels, endpoint=True)
    for weight in weights:
        each = weight[: op.y.channels].reshape(op.y.channels, -1).sum(axis=1).astype(np.int64)
        draw.args.append(in_blocks((bias - zero * each).astype(np.int32), op.y))
    return np.asarray(value + bias.astype(np.float32).reshape(1, -1, 1, 1, 1))


def _zero(op: Convolution | ByteDepthwise | Transposed, dot: ByteDot) -> int:
    """Return what stands for zero in the bytes that are multiplied."""
    return op.x.zero + (128 if dot.signed else 0)


@meaning_of.register
def _byte_depthwise(op: ByteDepthwise, draw: Draw) -> Meaning:
    x = draw.tensor(replace(op.x, scale=1.0), 1.0, finite=True)
    shape = (op.y.channels, 1, *op.kernel)
    weight = draw.rng.integers(-128, 127, shape, np.int8, endpoint=True).astype(np.float32)
    draw.args.append(op.packed(in_blocks(weight[:, 0].astype(np.int8), op.y)))
    along = {"pads": op.pads, "strides": op.strides, "dilations": op.dilations}
    value = run_layer("Conv", [x, weight], op.y.rank, group=op.y.channels, **along)  # type: ignore[arg-type]
    value = _started(op, draw, value, _zero(op, ByteDot(signed=op.x.dtype == "int8")), weight)
    factor = draw.size / (deviation_of(x) * fan_in(shape) ** 0.5 * deviation_of(weight))
    return Meaning(value=value, factor=factor)


@meaning_of.register
def _transposed(op: Transposed, draw: Draw) -> Meaning:
    x = _input(op, draw)
    groups, weight, factor = _weights(op, draw, op.kernel, x)
    parts = []
    for phase in op.phases:
        taps = weight
        for axis, along in enumerate(phase, start=2):
            taps = np.take(taps, along.taps or (0,), axis=axis)
        parts.append(taps if all(axis.taps for axis in phase) else np.zeros_like(taps))
        shape = op.weight_shape(phase)
        packed = packed_weights(parts[-1][: op.y.channels], op.x, op.y, shape)
        draw.args.append(np.ascontiguousarray(op.dot.interleaved(packed)))
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    x = _with_all_groups(op, x)
    whole = run_layer(
        "ConvTranspose",
        [x, np.swapaxes(grouped, 1, 2).reshape(x.shape[1], -1, *op.kernel)],
        op.y.rank,
        strides=op.strides,
        dilations=op.dilations,
        group=groups,
    )[:, : op.y.channels]
    value = np.zeros((draw.images, op.y.channels, *op.y.spatial), np.float32)
    ends = [low + size for low, size in zip(op.befores, op.y.spatial, strict=True)]
    found = cut(whole, op.befores, ends)
    cut(value, (0, 0, 0), found.shape[2:])[...] = found
    if isinstance(op.dot, ByteDot):
        value = _started(op, draw, value, _zero(op, op.dot), *parts)
    return Meaning(value=value, factor=factor)
