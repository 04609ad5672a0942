"""Blocks of networks: residual, separable, squeeze-and-excitation, attention, detection heads."""

from __future__ import annotations

from typing import Any

import numpy as np

from .draft import Draft, is_float, is_spatial
from .elementwise import activation


def _image(d: Draft) -> Any:
    return d.tensor(lambda v: is_spatial(v) and v.ndim == 4)


def _layer(
    d: Draft, x: str | None, outs: int, size: int = 1, group: int = 1, stride: int = 1
) -> str | None:
    if x is None:
        return None
    w = d.constant(d.normal(outs, d.values[x].shape[1] // group, size, size, scale=0.4))
    inputs = [x, w, *([d.constant(d.normal(outs))] if d.flip(0.8) else [])]
    pads = [size // 2] * 4
    made = d.add("Conv", inputs, group=group, pads=pads, strides=[stride, stride])
    return made[0] if made else None


def _after(d: Draft, op: str, *inputs: str | None, **attrs: Any) -> str | None:
    if any(name is None for name in inputs):
        return None
    made = d.add(op, [name for name in inputs if name is not None], **attrs)
    return made[0] if made else None


def residual(d: Draft) -> None:
    """Add what two convolutions make of a tensor to it; something else may read it as well."""
    x = _image(d)
    if x is None:
        return
    channels = d.values[x].shape[1]
    inner = _after(d, "Relu", _layer(d, x, d.pick(4, 8, 17), d.pick(1, 3)))
    other = _layer(d, inner, channels, d.pick(1, 3))
    pair = (x, other) if d.flip() else (other, x)
    op = d.pick("Add", "Add", "Mul", "Concat")
    found = _after(d, op, *pair, **({"axis": 1} if op == "Concat" else {}))
    if found and d.flip(0.7):
        activation(d, found)


def separable(d: Draft) -> None:
    """Add a depthwise and a pointwise convolution, with a stride now and then."""
    x = _image(d)
    if x is None:
        return
    channels, size, stride = d.values[x].shape[1], d.pick(3, 3, 5), d.pick(1, 1, 2)
    deep = _layer(d, x, channels, size, channels, stride)
    if deep and d.flip(0.7):
        deep = _after(d, d.pick("Relu", "HardSwish"), deep)
    _layer(d, deep, d.pick(3, 8, 16, 24))


def excitation(d: Draft) -> None:
    """Weigh the channels of a tensor by what they are on average."""
    x = _image(d)
    if x is None:
        return
    channels = d.values[x].shape[1]
    inner = _after(d, "Relu", _layer(d, _after(d, "GlobalAveragePool", x), d.pick(2, 5)))
    gate = _after(d, d.pick("Sigmoid", "HardSigmoid"), _layer(d, inner, channels))
    _after(d, "Mul", *((x, gate) if d.flip() else (gate, x)))


def heads(d: Draft) -> None:
    """Detect on several sizes, down to one: predictions of all of them in one list."""
    x = _image(d)
    found = []
    for _ in range(d.between(2, 3)):
        boxes = _layer(d, x, 8, d.pick(1, 3))
        last = _after(d, "Transpose", boxes, perm=[0, 2, 3, 1])
        shape = d.constant([0, -1, 4], np.int64)
        found.append(_after(d, "Reshape", last, shape) if last else None)
        x = _after(d, "Relu", _layer(d, x, d.pick(4, 9), 3, 1, 2))
    parts = [name for name in found if name]
    if len(parts) > 1:
        d.add("Concat", parts, axis=1)


def attention(d: Draft) -> None:
    """Attend from each row of a matrix to all others, in one or two heads."""
    x = d.tensor(lambda v: is_float(v) and v.ndim == 3 and v.size > 0)
    if x is None:
        return
    _, length, wide = d.values[x].shape
    count, deep = d.pick(1, 2), d.pick(2, 4)
    parts = [_split_heads(d, x, wide, count, deep) for _ in range(3)]
    query, key, value = parts
    scores = _after(d, "MatMul", query, _after(d, "Transpose", key, perm=[0, 1, 3, 2]))
    scale = d.constant(deep**-0.5, np.float32)
    weights = _after(d, "Softmax", _after(d, "Mul", scores, scale), axis=-1)
    found = _after(d, "Transpose", _after(d, "MatMul", weights, value), perm=[0, 2, 1, 3])
    _after(d, "Reshape", found, d.constant([-1, length, count * deep], np.int64))


def _split_heads(d: Draft, x: str, wide: int, count: int, deep: int) -> str | None:
    made = _after(d, "MatMul", x, d.constant(d.normal(wide, count * deep, scale=wide**-0.5)))
    made = _after(d, "Reshape", made, d.constant([0, 0, count, deep], np.int64))
    return _after(d, "Transpose", made, perm=[0, 2, 1, 3])
