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
