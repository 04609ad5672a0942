"""Masks of shifted windows, one for each window of a map: Swin.

rows and columns of a map are of one part up to the last window, of a second up to the shift, of a
third behind it; two places of a window attend to each other where they are of the same part
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def grown_mask(
    values: Array, axis: int, maps: list[tuple[tuple[int, int], tuple[int, int]]], size: int
) -> Array | None:
    """Return the mask [..., windows, ..., places, places] for `size` windows; None if it is none.

    `maps`: heights and widths, before and now.
    """
    places = values.shape[-1]
    window = math.isqrt(places)
    others = math.prod(values.shape) // max(values.shape[axis] * places * places, 1)
    if axis >= values.ndim - 2 or values.shape[-2] != places or window**2 != places or others != 1:
        return None
    table = values.reshape(-1, places, places)
    low = table.min()
    found: list[Array] = []
    for old, new in maps:
        if any(side % window for side in (*old, *new)):
            continue
        if math.prod(old) // places != len(table) or math.prod(new) // places != size:
            continue
        for shift in range(1, window):
            if np.array_equal(table, np.where(_mask(old, window, shift), low, 0)):
                made = np.where(_mask(new, window, shift), low, 0).astype(values.dtype)
                if not any(np.array_equal(made, other) for other in found):
                    found.append(made)
    if len(found) != 1 or low == 0:
        return None
    return found[0].reshape(*values.shape[:axis], size, *values.shape[axis + 1 :])


def _mask(sides: tuple[int, int], window: int, shift: int) -> Array:
    """Say of each two places of a window, [windows, places, places], whether parts differ."""
    # Windows end where the second part begins, so only the third is of others within a window.
    rows, columns = (np.arange(side) >= side - shift for side in sides)
    parts = rows[:, None] * 2 + columns
    high, wide = (side // window for side in sides)
    split = parts.reshape(high, window, wide, window).transpose(0, 2, 1, 3)
    cells = split.reshape(high * wide, window * window)
    apart: Array = cells[:, None, :] != cells[:, :, None]
    return apart
