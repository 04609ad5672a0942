"""Descriptions for a number of images that is told at run time, and for a number that is known.

A kernel of planish's own computes the first axis of its tensors image by image: what it makes of
some in a row is what it would make of those alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .convolution import ConvolutionForm
from .matmul import MatMul
from .normalization import Normalization

_COUNTS = ("batch", "rows", "outer")  # what descriptions call the number of images


def for_images(op: Any, count: int) -> Any | None:
    """Return `op`, of a number of images that is not known, for `count` of them in a row.

    None where more at once are not so many times the same: operands that are read again begin in
    the middle, or so few rows of a product read its matrix again and again.
    """
    if isinstance(op, ConvolutionForm):
        conv = for_images(op.conv, count)
        return None if conv is None else replace(op, conv=conv)
    if isinstance(op, Normalization) and count % op.period:
        return None
    if isinstance(op, MatMul) and op.shared and count < op.tile:
        return None
    epilogue = getattr(op, "epilogue", None)
    operands = () if epilogue is None else epilogue.operands
    if any(spec.repeat and count % spec.repeat for spec in operands):
        return None
    (name,) = (name for name in _COUNTS if getattr(op, name, 0) is None)
    return replace(op, **{name: count})
