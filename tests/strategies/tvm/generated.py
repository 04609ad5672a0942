"""What is made of sizes and positions: triangles, ranges, one-hot vectors, Constant nodes."""

from __future__ import annotations

import numpy as np
from onnx import numpy_helper

from .draft import Draft


def triangle(d: Draft) -> None:
    x = d.tensor(lambda v: v.ndim > 1 and v.dtype in (np.float32, np.int64, np.bool_))
    if x is None or d.opset < 14:
        return
    shift = [d.constant(d.between(-2, 3), np.int64)] if d.flip() else []
    d.add("Trilu", [x, *shift], upper=d.pick(0, 1), exact=True)


def ranges(d: Draft) -> None:
    """Count up to a size of a tensor, and use what was counted."""
    x = d.tensor(lambda v: v.ndim > 0 and v.shape[-1] > 0)
    if x is None or d.opset < 11:
        return
    shape = d.add("Shape", [x], exact=True)
    last = shape and d.add("Gather", [shape[0], d.constant(-1, np.int64)], exact=True)
    first, step = d.constant(0, np.int64), d.constant(d.pick(1, 1, 2), np.int64)
    made = last and d.add("Range", [first, last[0], step], exact=True)
    if made and d.flip():
        d.add("Gather", [x, made[0]], axis=-1, exact=True)


def one_hot(d: Draft) -> None:
    x = d.tensor(lambda v: v.dtype == np.int64)
    if x is None:
        return
    depth, values = d.constant(5, np.int64), d.constant([0.0, 1.0], np.float32)
    d.add("OneHot", [x, depth, values], axis=d.pick(-1, 0), exact=True)


def stated(d: Draft) -> None:
    """Add a Constant node and what reads it."""
    x = d.tensor(lambda v: v.dtype == np.float32)
    if x is None:
        return
    array = d.normal(*d.values[x].shape[-1:])
    made = d.add("Constant", [], value=numpy_helper.from_array(array), exact=True)
    if made:
        d.add(d.pick("Add", "Mul"), [x, made[0]])
