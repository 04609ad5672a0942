"""Pairs of QuantizeLinear and DequantizeLinear, around convolutions and joins."""

from __future__ import annotations

from typing import Any

import numpy as np

from .draft import Draft, is_float, is_spatial

_BYTES = (np.int8, np.uint8)


def _pair(d: Draft, x: str, dtype: Any, scale: float, zero: int) -> str | None:
    step, offset = d.constant(scale, np.float32), d.constant(zero, dtype)
    made = d.add("QuantizeLinear", [x, step, offset], exact=True)
    made = made and d.add("DequantizeLinear", [made[0], step, offset], exact=True)
    return made[0] if made else None


def quantized(d: Draft) -> None:
    x = d.tensor(lambda v: is_float(v) and v.ndim > 0 and v.size > 0, exact=True)
    if x is None:
        return
    dtype = d.pick(*_BYTES)
    scale = d.pick(0.02, 0.05)
    zero = d.pick(0, 3, -5) if dtype is np.int8 else d.pick(128, 0, 100)
    made = _pair(d, x, dtype, scale, zero)
    if made is None or not is_spatial(d.values[made]) or d.flip(0.6):
        return
    shape = d.values[made].shape
    outs, rank = d.pick(3, 8, 16), len(shape) - 2
    kernel = [d.pick(1, 3) for _ in range(rank)]
    w = d.constant(d.numbers.integers(-20, 20, (outs, shape[1], *kernel)), np.int8)
    step, offset = d.constant(0.05, np.float32), d.constant(0, np.int8)
    weight = d.add("DequantizeLinear", [w, step, offset], exact=True)
    if weight:
        pads = [k // 2 for k in kernel] * 2
        d.add("Conv", [made, weight[0]], kernel_shape=kernel, pads=pads)


def joined(d: Draft) -> None:
    """Join one tensor quantized in two ways, or beside itself."""
    x = d.tensor(lambda v: is_float(v) and v.ndim >= 2 and v.size > 0, exact=True)
    if x is None:
        return
    first = _pair(d, x, np.int8, 0.02, d.pick(0, 3))
    second = d.pick(x, _pair(d, x, np.uint8, 0.02, d.pick(128, 0)))
    if first is None or second is None:
        return
    op = d.pick("Concat", "Concat", "Add", "Mul", "Max", "Sum")
    d.add(op, [first, second], axis=d.pick(0, 1) if op == "Concat" else None)


def byte_layers(d: Draft) -> None:
    """Add layers in a row whose inputs and weights are bytes, as a quantized network has them."""
    x = d.tensor(lambda v: is_spatial(v) and v.ndim < 5, exact=True)
    made = x and _pair(d, x, *_bytes(d))
    for _ in range(d.between(1, 2)):
        if not made or not is_spatial(d.values[made]):
            return
        kind = d.pick("conv", "conv", "depthwise", "pool", "add")
        made = _BYTE_LAYERS[kind](d, made)
        made = made and _pair(d, made, *_bytes(d))


def _bytes(d: Draft) -> tuple[Any, float, int]:
    dtype = d.pick(*_BYTES)
    return dtype, d.pick(0.021, 0.053), d.pick(0, 3, -5) if dtype is np.int8 else d.pick(128, 100)


def _byte_convolution(d: Draft, x: str, group: int = 1) -> str | None:
    channels, rank = d.values[x].shape[1], d.values[x].ndim - 2
    outs = channels if group > 1 else d.pick(3, 8, 17)
    kernel = [d.pick(1, 3)] * rank
    values = d.numbers.integers(-20, 20, (outs, channels // group, *kernel))
    w = d.constant(values, np.int8)
    steps = d.constant(np.full(outs, 0.031, np.float32) + d.numbers.random(outs) * 0.01, np.float32)
    many = d.opset >= 13 and d.flip()
    step = steps if many else d.constant(0.031, np.float32)
    zero = d.constant(np.zeros(outs if many else ()), np.int8)
    weight = d.add("DequantizeLinear", [w, step, zero], axis=0 if many else None, exact=True)
    inputs = weight and [x, weight[0], *([d.constant(d.normal(outs))] if d.flip() else [])]
    attrs = {"pads": [k // 2 for k in kernel] * 2, "strides": [d.pick(1, 1, 2)] * rank}
    made = inputs and d.add("Conv", inputs, kernel_shape=kernel, group=group, **attrs)
    if made and d.flip():
        made = d.add("Relu", made)
    return made[0] if made else None


def _byte_depthwise(d: Draft, x: str) -> str | None:
    return _byte_convolution(d, x, d.values[x].shape[1])


def _byte_pool(d: Draft, x: str) -> str | None:
    if d.flip(0.3):
        made = d.add("GlobalAveragePool", [x])
    else:
        size = [2] * (d.values[x].ndim - 2)
        made = d.add(d.pick("MaxPool", "AveragePool"), [x], kernel_shape=size, strides=size)
    return made[0] if made else None


def _byte_sum(d: Draft, x: str) -> str | None:
    other = _pair(d, x, *_bytes(d))
    made = other and d.add("Add", [x, other])
    return made[0] if made else None


_BYTE_LAYERS = {
    "conv": _byte_convolution,
    "depthwise": _byte_depthwise,
    "pool": _byte_pool,
    "add": _byte_sum,
}
