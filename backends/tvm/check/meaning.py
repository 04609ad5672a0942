"""What the description of a kernel means: on random operands, the values before its epilogue.

A description says the same as one ONNX operator, and it is that operator that is run, in ONNX's own
layout, by ONNX Runtime with its optimizations off: it knows nothing of blocks, borders, tiles and
registers. What moves elements is written in numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import ml_dtypes
import numpy as np

from ..kernels.bfloat16 import HALF
from ..kernels.byte_depthwise import ByteDepthwise
from ..kernels.channel_normalization import ChannelNormalization
from ..kernels.convolution import Convolution
from ..kernels.dot import ByteDot
from ..kernels.elementwise import Elementwise
from ..kernels.global_pooling import GlobalPooling
from ..kernels.lane_shuffle import LaneShuffle
from ..kernels.matmul import MatMul, packed
from ..kernels.normalization import Normalization
from ..kernels.pack import Pack
from ..kernels.plain import PlainElementwise
from ..kernels.reduction import AxisSum
from ..kernels.repack import Repack
from ..kernels.resample import Resample
from ..kernels.rounding import RoundedRows
from ..kernels.softmax import Softmax
from ..kernels.transposed import Transposed
from ..kernels.windows import Windows
from ..kernels.winograd.convolution import Winograd
from ..kernels.winograd.convolution import pack as pack_winograd
from ..spec.chain import ElementwiseChain
from ..spec.layout import Array, BufferSpec, plain_spec
from .chain import run_chain
from .draw import Draw, deviation_of, fan_in, packed_weights
from .onnx_layers import run_layer

_NO_CHAIN = ElementwiseChain()
_IMAGES = 3  # where their number is free
_HALFWAY = 5e-4  # of a sum, of which some numbers may be rounded to the other neighbour


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """The values before the epilogue [N, C, D, H, W], of which rounding may move `accuracy`.

    `accuracy` is a part of their range. `factor`: what the epilogue's first product is to be about.
    """

    value: Array
    accuracy: float = 5e-6
    factor: float = 1.0


@singledispatch
def meaning_of(op: Any, draw: Draw) -> Meaning:
    """Draw the operands of the kernel of `op` but for its epilogue's, and compute its values."""
    raise NotImplementedError(f"{type(op).__name__} has no meaning")


def has_meaning(op: Any) -> bool:
    """Say whether there is one for descriptions like `op`."""
    return meaning_of.dispatch(type(op)) is not meaning_of.dispatch(object)


def parts_of(op: Any) -> tuple[BufferSpec, ElementwiseChain, int]:
    """Return the result's buffer, the epilogue and a number of images of a description."""
    if isinstance(op, Normalization):  # rows are its images
        rows = _IMAGES * op.period if op.rows is None else op.rows
        return plain_spec(op.length, ()), _NO_CHAIN, rows
    if isinstance(op, AxisSum):
        return plain_spec(op.inner, ()), _NO_CHAIN, op.rows or _IMAGES
    if isinstance(op, Softmax):
        return plain_spec(op.length, ()), _NO_CHAIN, op.rows or _IMAGES
    if isinstance(op, RoundedRows):
        return plain_spec(op.length, (), HALF), _NO_CHAIN, op.rows or _IMAGES
    if isinstance(op, MatMul):
        return op.y, op.epilogue, op.outer or _IMAGES
    found = op.conv if isinstance(op, Winograd) else op
    images = _IMAGES if found.batch is None else found.batch
    return found.y, getattr(found, "epilogue", _NO_CHAIN), images


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
    packed = np.zeros((len(op.y.blocks), op.y.lanes), np.int32)
    at = 0
    for block, count in enumerate(op.y.blocks):
        packed[block, :count] = start[at : at + count]
        at += count
    draw.args.append(packed)
    return bias.astype(np.float32).reshape(1, -1, 1, 1, 1)


@meaning_of.register
def _byte_depthwise(op: ByteDepthwise, draw: Draw) -> Meaning:
    x = draw.tensor(replace(op.x, scale=1.0), 1.0, finite=True)
    shape = (op.y.channels, 1, *op.kernel)
    weight = draw.rng.integers(-128, 127, shape, np.int8, endpoint=True).astype(np.float32)
    packed = np.zeros((len(op.y.blocks), *op.kernel, op.y.lanes), np.int8)
    at = 0
    for block, count in enumerate(op.y.blocks):
        packed[block, ..., :count] = np.moveaxis(weight[at : at + count, 0], 0, -1)
        at += count
    draw.args.append(op.packed(packed))
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
    found = _cut(whole, op.befores, ends)
    _cut(value, (0, 0, 0), found.shape[2:])[...] = found
    return Meaning(value=value)


@meaning_of.register
def _windows(op: Windows, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, 1.0 if op.kind == "depthwise" else draw.size)
    along = {"pads": op.pads, "strides": op.strides}
    if op.kind == "depthwise":
        shape = (op.y.channels, 1, *op.kernel)
        weight = draw.normal(shape, draw.size / (deviation_of(x) * fan_in(shape) ** 0.5))
        packed = np.zeros(op.weight_shape, np.float32)
        at = 0
        for block, count in enumerate(op.y.blocks):
            packed[block, ..., :count] = np.moveaxis(weight[at : at + count, 0], 0, -1)
            at += count
        draw.args.append(packed)
        value = run_layer(
            "Conv",
            [x, weight],
            op.y.rank,
            dilations=op.dilations,
            group=op.y.channels,
            **along,  # type: ignore[arg-type]
        )
    elif op.kind == "max":
        value = run_layer("MaxPool", [x], op.y.rank, kernel_shape=op.kernel, **along)  # type: ignore[arg-type]
    else:
        value = run_layer(
            "AveragePool",
            [x],
            op.y.rank,
            kernel_shape=op.kernel,
            count_include_pad=int(op.counts_pads),
            **along,  # type: ignore[arg-type]
        )
    return Meaning(value=_cut(value, (0, 0, 0), op.y.spatial))


@meaning_of.register
def _global_pooling(op: GlobalPooling, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, draw.size * (np.prod(op.x.spatial) ** 0.5 if op.kind == "mean" else 1.0))
    name = "GlobalAveragePool" if op.kind == "mean" else "GlobalMaxPool"
    return Meaning(value=run_layer(name, [x], op.x.rank))


@meaning_of.register
def _softmax(op: Softmax, draw: Draw) -> Meaning:
    x = draw.normal((draw.images, op.length))
    draw.args.append(x)
    powers = np.exp(x.astype(np.float64))
    value = powers / powers.sum(axis=1, keepdims=True)
    return Meaning(value=value.astype(np.float32).reshape(draw.images, op.length, 1, 1, 1))


@meaning_of.register
def _reduction(op: AxisSum, draw: Draw) -> Meaning:
    x = draw.normal((draw.images, op.length, op.inner)) + np.float32(1)  # sums are far from 0
    x = np.abs(x) if op.finish == "logarithm" else x
    draw.args.append(x)
    terms = {"value": x, "size": np.abs(x), "square": np.square(x, dtype=np.float64)}[op.term]
    totals = terms.sum(axis=1, dtype=np.float64) * op.scale
    finish = {"sum": np.positive, "root": np.sqrt, "logarithm": np.log}[op.finish]
    value = finish(totals)
    return Meaning(value=value.astype(np.float32).reshape(draw.images, op.inner, 1, 1, 1))


@meaning_of.register
def _rounding(op: RoundedRows, draw: Draw) -> Meaning:
    x = draw.normal((draw.images, op.length))
    draw.args.append(x)
    return Meaning(value=x.reshape(draw.images, op.length, 1, 1, 1), accuracy=0.0)


@meaning_of.register
def _matmul(op: MatMul, draw: Draw) -> Meaning:
    x = draw.normal((draw.images, op.rows, op.depth))
    matrices = () if op.shared else (draw.images,)
    w = draw.normal((*matrices, op.depth, op.columns), op.depth**-0.5)
    x *= np.float32(draw.size)
    draw.args += [x, packed(op, w) if op.packed else w]
    value = x.astype(np.float64) @ w
    return Meaning(value=value.astype(np.float32)[:, :, None, None])


@meaning_of.register
def _normalization(op: Normalization, draw: Draw) -> Meaning:
    rows = draw.images
    x = draw.normal((rows, op.length)) + 4 * draw.normal((rows, 1))
    scale, shift = draw.normal((op.parameters,)), draw.normal((op.parameters,))
    draw.args += [x, scale, shift]
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    value = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + op.epsilon)
    shared = op.length // op.run
    first = (np.arange(rows) % op.period * shared)[:, None]
    place = first + np.arange(op.length) // op.run
    value = value * scale[place] + shift[place]
    return Meaning(value=value.astype(np.float32).reshape(rows, op.length, 1, 1, 1))


@meaning_of.register
def _channel_normalization(op: ChannelNormalization, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, draw.size)
    parameters = [draw.normal((op.y.channels,)) for _ in range(2)]
    for values in parameters:
        packed, start = np.zeros((len(op.y.blocks), op.y.lanes), np.float32), 0
        for block, filled in enumerate(op.y.blocks):
            packed[block, :filled] = values[start : start + filled]
            start += filled
        draw.args.append(packed)
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    value = centred / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + op.epsilon)
    scale, shift = (each.reshape(-1, 1, 1, 1) for each in parameters)
    return Meaning(value=(value * scale + shift).astype(np.float32))


@meaning_of.register
def _elementwise(op: Elementwise, draw: Draw) -> Meaning:
    parts = []
    for spec, scale in zip(op.parts, op.scales, strict=True):
        values = draw.tensor(spec, draw.size)
        for axis, times in enumerate(scale, start=2):
            values = np.repeat(values, times, axis=axis)
        parts.append(values)
    return Meaning(value=np.concatenate(parts, axis=1))


@meaning_of.register
def _plain_elementwise(op: PlainElementwise, draw: Draw) -> Meaning:
    value = draw.tensor(op.x, draw.size)
    return Meaning(value=np.broadcast_to(value, (draw.images, op.y.channels, *op.y.spatial)))


@meaning_of.register
def _resample(op: Resample, draw: Draw) -> Meaning:
    found = draw.tensor(op.x, draw.size).astype(np.float64)
    for axis, taps in enumerate(op.taps):
        if not taps:
            continue
        size, count = op.x.spatial[axis], op.y.spatial[axis]
        places = draw.rng.integers(0, size, (count, taps)).astype(np.int32)
        weights = draw.normal((count, taps))
        draw.args += [places, weights]
        matrix = np.zeros((count, size))
        np.add.at(matrix, (np.arange(count)[:, None], places), weights)
        found = np.moveaxis(np.tensordot(found, matrix, (axis + 2, 1)), -1, axis + 2)
    return Meaning(value=found.astype(np.float32))


@meaning_of.register
def _pack(op: Pack, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, draw.size)
    added = op.y.channels - op.x.channels
    return Meaning(value=np.pad(x, ((0, 0), (0, added), (0, 0), (0, 0), (0, 0))))


@meaning_of.register
def _repack(op: Repack, draw: Draw) -> Meaning:
    x = draw.tensor(op.x, draw.size)
    places = _places(op.x)
    # Whatever the table says: some channels twice, others not at all.
    chosen = draw.rng.integers(0, len(places), op.slots)
    draw.args.append(places[chosen].astype(np.int32))
    held = chosen
    if op.y.lanes:
        filled = [b * op.y.lanes + lane for b, n in enumerate(op.y.blocks) for lane in range(n)]
        held = chosen[filled]
    return Meaning(value=x[:, held])


@meaning_of.register
def _lane_shuffle(op: LaneShuffle, draw: Draw) -> Meaning:
    values = [draw.tensor(x, draw.size) for x in op.xs]
    all_places = [(x, *place) for x, spec in enumerate(op.xs) for place in _places(spec).tolist()]
    known = {place: i for i, place in enumerate(all_places)}
    filled = [b * op.y.lanes + lane for b, n in enumerate(op.y.blocks) for lane in range(n)]
    together = np.concatenate(values, axis=1)
    return Meaning(value=together[:, [known[op.places[slot]] for slot in filled]])


def _cut(values: Array, starts: Sequence[int], ends: Sequence[int]) -> Array:
    """Return a view of [N, C, D, H, W] between positions."""
    first, second, third = (slice(a, b) for a, b in zip(starts, ends, strict=True))
    return values[:, :, first, second, third]


def _places(spec: BufferSpec) -> Array:
    """Return block and lane of each channel, blocks counted from the first of the range."""
    if not spec.lanes:
        return np.stack([np.zeros(spec.channels, np.int64), np.arange(spec.channels)], axis=1)
    return np.array([(b, lane) for b, n in enumerate(spec.blocks) for lane in range(n)])
