"""Operators that move data: shapes, order of axes, pieces, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import fx, nn

from ..call import Handler, OperatorCall, Result
from ..functions import movement, numbers
from ..values import Literal, QuantizedWeight, Weight


def _shape(call: OperatorCall) -> Result:
    start, end = call.attribute("start", 0), call.attribute("end")
    known = _known_shape(call)
    if known is not None:
        return Literal(np.array(known[start:end], np.int64))
    if (start, end) == (1, 2):
        # The number of channels follows from weights, so that it may decide about modules; other
        # sizes are left to the batch, whatever the graph declares.
        found = call.types.of(call.node.inputs[0])
        channels = found.shape[1] if found and found.shape and len(found.shape) > 1 else None
        if isinstance(channels, int):
            return Literal(np.array([channels], np.int64))
    return call.count(numbers.shape, call.tensor(0), start, end)


def _size(call: OperatorCall) -> Result:
    known = _known_shape(call)
    if known is not None:
        return Literal(np.array(int(np.prod(known, dtype=np.int64))))
    return call.count(numbers.size, call.tensor(0))


def _known_shape(call: OperatorCall) -> tuple[int, ...] | None:
    value = call.value(0)
    if isinstance(value, Literal):
        return tuple(value.array.shape)
    if isinstance(value, Weight):
        return tuple(value.constant.shape)
    return tuple(value.integers.shape) if isinstance(value, QuantizedWeight) else None


def _reshape(call: OperatorCall) -> Result:
    x, target = call.tensor(0), call.optional_numbers(1, "shape")
    keeps_zeros = bool(call.attribute("allowzero", 0))
    if isinstance(target, fx.Node) or (0 in target and not keeps_zeros):
        return call.function(movement.reshape, x, target, keeps_zeros)
    return call.function(torch.reshape, x, target)


def _flatten(call: OperatorCall) -> Result:
    axis = call.attribute("axis", 1)
    if axis == 1 and (call.rank(0) or 0) >= 2:
        return call.module(nn.Flatten(), call.tensor(0))
    return call.function(movement.flatten, call.tensor(0), axis)


def _transpose(call: OperatorCall) -> Result:
    perm = call.attribute("perm")
    if perm is None:
        return call.function(movement.reverse_axes, call.tensor(0))
    return call.function(torch.permute, call.tensor(0), tuple(perm))


def _squeeze(call: OperatorCall) -> Result:
    axes = call.fixed(1, "axes")
    if axes is None:
        return call.function(torch.squeeze, call.tensor(0))
    return call.function(torch.squeeze, call.tensor(0), axes)


def _unsqueeze(call: OperatorCall) -> Result:
    axes: tuple[int, ...] = call.fixed(1, "axes") or ()
    if len(axes) == 1:
        return call.function(torch.unsqueeze, call.tensor(0), axes[0])
    return call.function(movement.unsqueeze, call.tensor(0), axes)


def _concat(call: OperatorCall) -> Result:
    return call.function(torch.cat, call.tensors(), call.attribute("axis", 1))


def _split(call: OperatorCall) -> Result:
    axis, count = call.attribute("axis", 0), len(call.node.outputs)
    pieces = call.optional_numbers(1, "split")
    made = call.function(movement.split, call.tensor(0), axis, count, pieces)
    return [call.function(movement.item, made, index) for index in range(count)]


def _split_to_sequence(call: OperatorCall) -> Result:
    pieces = call.numbers(1) if call.has(1) else 1
    keepdims = call.has(1) or bool(call.attribute("keepdims", 1))
    axis = call.attribute("axis", 0)
    return call.function(movement.split_to_sequence, call.tensor(0), axis, pieces, keepdims)


def _sequence_at(call: OperatorCall) -> Result:
    return call.function(movement.item, call.tensor(0), call.numbers(1))


def _sequence_construct(call: OperatorCall) -> Result:
    return call.function(movement.sequence, *call.tensors())


def _concat_from_sequence(call: OperatorCall) -> Result:
    axis, new_axis = call.attribute("axis"), bool(call.attribute("new_axis", 0))
    return call.function(torch.stack if new_axis else torch.cat, call.tensor(0), axis)


def _slice(call: OperatorCall) -> Result:
    starts = call.optional_numbers(1, "starts")
    ends = call.optional_numbers(2, "ends")
    axes = call.optional_numbers(3, "axes")
    return call.function(
        movement.crop, call.tensor(0), starts, ends, axes, call.optional_numbers(4)
    )


def _expand(call: OperatorCall) -> Result:
    return call.function(movement.expand, call.tensor(0), call.numbers(1))


def _tile(call: OperatorCall) -> Result:
    repeats = call.numbers(1)
    if isinstance(repeats, fx.Node):
        repeats = call.function(numbers.sizes, repeats)
    return call.function(torch.tile, call.tensor(0), repeats)


def _fill(call: OperatorCall) -> Result:
    value = call.attribute("value")
    held = np.zeros(1, np.float32) if value is None else np.asarray(getattr(value, "values", value))
    filler = call.builder.literal(held.reshape(()))
    return call.function(movement.expand, filler, call.numbers(0))


def _pad(call: OperatorCall) -> Result:
    mode = _text(call.attribute("mode", "constant"))
    pads = call.optional_numbers(1, "pads")
    value: Any = call.attribute("value", 0.0)
    if call.has(2):
        held = call.static(2)
        value = held.item() if held is not None else call.tensor(2)
    axes = call.optional_numbers(3)
    return call.function(movement.pad, call.tensor(0), pads, mode, value, axes)


def _depth_to_space(call: OperatorCall) -> Result:
    block = call.attribute("blocksize")
    if _text(call.attribute("mode", "DCR")) == "CRD":
        return call.module(nn.PixelShuffle(block), call.tensor(0))
    return call.function(movement.depth_to_space, call.tensor(0), block)


def _space_to_depth(call: OperatorCall) -> Result:
    outer = _text(call.attribute("mode", "DCR")) == "DCR"
    return call.function(
        movement.space_to_depth, call.tensor(0), call.attribute("blocksize"), outer
    )


def _range(call: OperatorCall) -> Result:
    return call.function(movement.arange, call.tensor(0), call.tensor(1), call.tensor(2))


def _trilu(call: OperatorCall) -> Result:
    diagonal = call.fixed(1) or (0,)
    target = torch.triu if call.attribute("upper", 1) else torch.tril
    return call.function(target, call.tensor(0), diagonal[0])


def _one_hot(call: OperatorCall) -> Result:
    axis = call.attribute("axis", -1)
    return call.function(movement.one_hot, call.tensor(0), call.numbers(1), call.tensor(2), axis)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


OPERATORS: dict[str, Handler] = {
    "Concat": _concat,
    "ConcatFromSequence": _concat_from_sequence,
    "ConstantOfShape": _fill,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _flatten,
    "OneHot": _one_hot,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "SequenceAt": _sequence_at,
    "SequenceConstruct": _sequence_construct,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "SplitToSequence": _split_to_sequence,
    "Squeeze": _squeeze,
    "Tile": _tile,
    "Transpose": _transpose,
    "Trilu": _trilu,
    "Unsqueeze": _unsqueeze,
}
