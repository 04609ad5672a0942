"""Sizes and positions as tensors."""

from __future__ import annotations

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
