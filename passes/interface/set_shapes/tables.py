"""Tables with a value for each place of a map, written anew where they count places.

[1, 2, 80, 80]: the x and the y of each cell   |   [1, 2, 8400] of 80 x 80, 40 x 40 and 20 x 20

An axis over the cells of one map, or of several behind each other, is taken apart by the maps that
tensors before had; `ramps` says what each row becomes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .ramps import IsOwn, grown_row

Array = np.ndarray[Any, Any]
Map = tuple[int, int]
Maps = Sequence[tuple[Map, Map]]  # before and now
Axes = Sequence[tuple[int, int]]  # and their sizes now

_MOST_ALIKE = 3  # numbers, each the same all over a map
_MOST_ROWS = 4096
_MOST_MAPS = 16
_MOST_LEVELS = 5
_MOST_ANCHORS = 9


def grown_table(values: Array, axes: Axes, maps: Maps, is_own: IsOwn) -> Array | None:
    """Return `values` with other sizes on `axes`; None where they hold more than places."""
    found = _grown(values, axes, is_own)
    if found is not None or len(axes) != 1:
        return found
    axis, size = axes[0]
    made: list[Array] = []
    for levels, anchors in _levels(values.shape[axis], size, maps):
        for inner in (True, False) if anchors > 1 else (True,):
            table = _of_levels(values, axis, levels, (anchors, inner), is_own)
            if table is not None and not any(np.array_equal(table, other) for other in made):
                made.append(table)
    return made[0] if len(made) == 1 else None


def _grown(values: Array, axes: Axes, is_own: IsOwn) -> Array | None:
    """Write rows along one axis, or two of which each value depends on one, anew."""
    if not 1 <= len(axes) <= 2:
        return None
    places = [axis for axis, _ in axes]
    blocks = np.moveaxis(values, places, range(-len(axes), 0))
    kept = blocks.shape[: -len(axes)]
    rows = blocks.reshape(-1, *blocks.shape[-len(axes) :])
    if not 0 < len(rows) <= _MOST_ROWS or 0 in rows.shape:
        return None
    made: list[Array] = []
    flat = rows.reshape(len(rows), -1)
    alike = flat[(flat == flat[:, :1]).all(1), 0]
    along_another = np.unique(alike).size > _MOST_ALIKE
    asked: IsOwn = (lambda number: True) if along_another else is_own
    known: dict[bytes, Array] = {}
    for row in rows:
        grown = known.get(row.tobytes())
        if grown is None:
            grown = _grown_map(row, [size for _, size in axes], asked)
        if grown is None:
            return None
        made.append(known.setdefault(row.tobytes(), grown))
    whole = np.stack(made).reshape(*kept, *(size for _, size in axes))
    return np.ascontiguousarray(np.moveaxis(whole, range(-len(axes), 0), places))


def _grown_map(block: Array, sizes: Sequence[int], is_own: IsOwn) -> Array | None:
    if len(sizes) == 1:
        return grown_row(block, sizes[0], is_own)
    if (block == block[:1]).all():
        grown = grown_row(block[0], sizes[1], is_own)
        return None if grown is None else np.broadcast_to(grown, tuple(sizes))
    if (block == block[:, :1]).all():
        grown = grown_row(block[:, 0], sizes[0], is_own)
        return None if grown is None else np.broadcast_to(grown[:, None], tuple(sizes))
    return None


def _levels(was: int, now: int, maps: Maps) -> Iterator[tuple[Maps, int]]:
    """Yield maps, and how many places a cell has, that are `was` places together, and now `now`."""
    known = list(dict.fromkeys(maps))[-_MOST_MAPS:]
    for count in range(1, min(_MOST_LEVELS, len(known)) + 1):
        for chosen in itertools.combinations(known, count):
            before = sum(math.prod(old) for old, _ in chosen)
            after = sum(math.prod(new) for _, new in chosen)
            anchors = was // before
            if was % before or not 0 < anchors <= _MOST_ANCHORS or anchors * after != now:
                continue
            for order in (chosen, chosen[::-1]) if count > 1 else (chosen,):
                yield order, anchors


def _of_levels(
    values: Array, axis: int, levels: Maps, anchors: tuple[int, bool], is_own: IsOwn
) -> Array | None:
    """Write the part of each map anew; `anchors`: how many a cell has, and whether side by side."""
    count, inner = anchors
    parts: list[Array] = []
    start = 0
    for (high, wide), (higher, wider) in levels:
        part = np.take(values, range(start, start + high * wide * count), axis)
        start += high * wide * count
        cell = (high, wide, count) if inner else (count, high, wide)
        at = axis if inner else axis + 1
        split = part.reshape(*part.shape[:axis], *cell, *part.shape[axis + 1 :])
        grown = _grown(split, [(at, higher), (at + 1, wider)], is_own)
        if grown is None:
            return None
        parts.append(grown.reshape(*part.shape[:axis], -1, *part.shape[axis + 1 :]))
    return np.concatenate(parts, axis)
