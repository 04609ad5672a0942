"""Sizes and positions as tensors."""

from __future__ import annotations

import numpy as np

from .draft import Draft


def shapes(d: Draft) -> None:
    x = d.tensor()
    if x is None:
        return
    kind = d.between(0, 3)
    if kind == 0:
        d.add("Shape", [x], exact=True)
    elif kind == 1:
        d.add("Size", [x], exact=True)
    elif kind == 2:
        made = d.add("Shape", [x], exact=True)
        if made:
            d.add("ConstantOfShape", made, exact=True)
    elif d.values[x].ndim:
        d.add("NonZero", [x], exact=True)


def computed_reshape(d: Draft) -> None:
    """Reshape to sizes computed at run time, as exporters write a view of a dynamic batch."""
    x = d.tensor(lambda v: v.ndim > 1 and v.size > 0)
    if x is None:
        return
    shape = d.add("Shape", [x], exact=True)
    at = d.constant([0], np.int64)
    rows = shape and d.add("Gather", [shape[0], at], axis=0, exact=True)
    wanted = rows and d.add("Concat", [rows[0], d.constant([-1], np.int64)], axis=0, exact=True)
    if wanted:
        d.add("Reshape", [x, wanted[0]], exact=True)
