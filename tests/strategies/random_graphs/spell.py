"""Operators whose axes, sizes or bounds moved from attributes to inputs, as each opset has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .builder import Builder


def squeeze(b: Builder, x: str, axes: Sequence[int] | None) -> str | None:
    """Squeeze `axes`, or all of size 1."""
    return _axes(b, "Squeeze", x, axes, since=13)


def unsqueeze(b: Builder, x: str, axes: Sequence[int]) -> str | None:
    """Unsqueeze `axes`."""
    if b.opset < 11:
        rank = b.arrays[x].ndim + len(axes)
        axes = sorted({axis % rank for axis in axes})
    return _axes(b, "Unsqueeze", x, axes, since=13)


def reduce(b: Builder, op: str, x: str, axes: Sequence[int] | None, **attrs: Any) -> str | None:
    """Reduce `axes`, or all; `noop_with_empty_axes` only where it exists."""
    since = 13 if op == "ReduceSum" else 18
    if b.opset < since:
        attrs.pop("noop_with_empty_axes", None)
    if b.opset < 11 and axes is not None:
        axes = [axis % max(b.arrays[x].ndim, 1) for axis in axes]
    return _axes(b, op, x, axes, since=since, **attrs)


def _axes(
    b: Builder, op: str, x: str, axes: Sequence[int] | None, *, since: int, **attrs: Any
) -> str | None:
    if axes is None:
        return b.one(op, x, *([""] if b.opset >= since and b.chance(0.2) else []), **attrs)
    if b.opset >= since:
        return b.one(op, x, b.ints(list(axes)), **attrs)
    return b.one(op, x, axes=list(axes), **attrs)


def slice_(
    b: Builder,
    x: str,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> str | None:
    """Slice; before opset 10 without steps."""
    if b.opset < 10:
        return b.one("Slice", x, starts=list(starts), ends=list(ends), axes=axes)
    narrow = b.chance(0.2) and all(abs(v) < 2**31 for v in (*starts, *ends))
    dtype = np.int32 if narrow else np.int64

    def listed(numbers: Sequence[int] | None) -> str:
        return "" if numbers is None else b.constant(np.array(numbers, dtype))

    inputs = [x, listed(starts), listed(ends), listed(axes), listed(steps)]
    while not inputs[-1]:
        inputs.pop()
    return b.one("Slice", *inputs)


def split(b: Builder, x: str, axis: int, sizes: Sequence[int], *, even: bool) -> list[str]:
    """Split into `sizes`, or evenly without saying them."""
    count = len(sizes)
    if even:
        attrs = {"num_outputs": count} if b.opset >= 18 else {}
        return b.node("Split", [x], outputs=count, axis=axis, **attrs)
    if b.opset >= 13:
        return b.node("Split", [x, b.ints(list(sizes))], outputs=count, axis=axis)
    return b.node("Split", [x], outputs=count, axis=axis, split=list(sizes))


def pad(b: Builder, x: str, pads: Sequence[int], mode: str, value: Any) -> str | None:
    """Pad; `value` is a number or None."""
    if b.opset < 11:
        number = None if value is None else float(value)
        return b.one("Pad", x, pads=list(pads), mode=mode, value=number)
    inputs = [x, b.ints(list(pads))]
    if value is not None:
        inputs.append(b.constant(np.asarray(value, b.arrays[x].dtype)))
    return b.one("Pad", *inputs, mode=mode)


def clip(b: Builder, x: str, low: Any, high: Any) -> str | None:
    """Clip; a bound may be None."""
    if b.opset < 11:
        low, high = (None if v is None else float(v) for v in (low, high))
        return b.one("Clip", x, min=low, max=high)
    dtype = b.arrays[x].dtype
    bounds = ["" if v is None else b.constant(np.asarray(v, dtype)) for v in (low, high)]
    while bounds and not bounds[-1]:
        bounds.pop()
    return b.one("Clip", x, *bounds)
