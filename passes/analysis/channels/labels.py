"""Labels: which cell each element of a tensor belongs to, without a word about operators.

A tensor of shape [N, C, H, W] whose channels are cells has labels of shape [1, C, 1, 1]: an axis
along which they do not differ has size one. Whatever moves elements moves labels in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ....ir.graph.types import Dim
from .cells import Array, Cells

# Labels of more elements are made the same along the axes that a Reshape merges.
MOST_LABELS = 1 << 20


@dataclass(frozen=True)
class Segment:
    """Axes before a Reshape that hold the same elements as axes after it, in the same order."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    known: bool = True


def varying(labels: Array) -> tuple[int, ...]:
    """Return the axes along which labels differ."""
    return tuple(axis for axis, size in enumerate(labels.shape) if size > 1)


def project(labels: Array, axis: int, size: int, cells: Cells) -> Array:
    """Return the cells [size] along `axis`; those that differ along other axes are united."""
    rows = np.moveaxis(labels, axis, 0).reshape(labels.shape[axis], -1)
    unite_pairs(np.broadcast_to(rows[:, :1], rows.shape), rows, cells)
    first = rows[:, 0]
    return first if len(first) == size else np.broadcast_to(first, (size,))


def unite_pairs(a: Array, b: Array, cells: Cells) -> None:
    """Unite what stands in the same place, each pair once; `a` and `b` broadcast."""
    a, b = np.broadcast_arrays(a, b)
    differ = a != b
    if differ.any():
        pairs = np.unique(np.stack([a[differ], b[differ]]), axis=1)
        cells.unite(pairs[0], pairs[1])


def collapse(labels: Array, axes: Sequence[int], cells: Cells) -> Array:
    """Unite what differs along `axes`; the result has size one there."""
    for axis in axes:
        if labels.shape[axis] > 1:
            first = labels.take([0], axis)
            unite_pairs(first, labels, cells)
            labels = first
    return labels


def segments(before: Sequence[Dim], after: Sequence[Dim]) -> list[Segment]:
    """Match the axes of two shapes of the same elements, as finely as sizes tell.

    Sizes that are unknown match only where both have the same name; what cannot be matched is one
    segment that is not known.
    """
    before, after = _same_unknown(before, after)
    i, j, head = _forward(before, after)
    if i == len(before) and j == len(after):
        return head
    back_i, back_j, tail = _forward(before[i:][::-1], after[j:][::-1])
    n, m = len(before), len(after)
    rear = [
        Segment(
            tuple(sorted(n - 1 - a for a in part.before)),
            tuple(sorted(m - 1 - a for a in part.after)),
        )
        for part in reversed(tail)
    ]
    middle = Segment(tuple(range(i, n - back_i)), tuple(range(j, m - back_j)), known=False)
    return [*head, middle, *rear]


def _same_unknown(
    before: Sequence[Dim], after: Sequence[Dim]
) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
    """Name the one unknown size of either shape alike, where the others have one product."""
    unknown = [[d for d in shape if not isinstance(d, int)] for shape in (before, after)]
    products = [math.prod(d for d in s if isinstance(d, int)) for s in (before, after)]
    if [len(u) for u in unknown] == [1, 1] and products[0] == products[1] > 0:
        same: list[tuple[Dim, ...]] = [
            tuple(d if isinstance(d, int) else "same" for d in shape) for shape in (before, after)
        ]
        return same[0], same[1]
    return tuple(before), tuple(after)


def _forward(before: Sequence[Dim], after: Sequence[Dim]) -> tuple[int, int, list[Segment]]:
    """Match from the front; return where matching ended."""
    i = j = 0
    found: list[Segment] = []
    while i < len(before) or j < len(after):
        a, b = i, j
        left: int = 1
        right: int = 1
        if i < len(before) and j < len(after) and before[i] is not None and before[i] == after[j]:
            found.append(Segment((i,), (j,)))
            i, j = i + 1, j + 1
            continue
        while True:
            if (a > i or b > j) and left == right:
                break
            if left <= right and a < len(before):
                size = before[a]
                a += 1
                if not isinstance(size, int):
                    return i, j, found
                left *= size
            elif b < len(after) and left >= right:
                size = after[b]
                b += 1
                if not isinstance(size, int):
                    return i, j, found
                right *= size
            else:
                return i, j, found
        found.append(Segment(tuple(range(i, a)), tuple(range(j, b))))
        i, j = a, b
    return i, j, found


def reshape(labels: Array, before: Sequence[Dim], after: Sequence[Dim], cells: Cells) -> Array:
    """Return the labels after a Reshape from shape `before` to `after`.

    Where sizes are unknown, or there would be too many labels, those that differ are united.
    """
    parts = segments(before, after)
    for part in parts:
        inner = [axis for axis in part.before if labels.shape[axis] > 1]
        if inner and not part.known:
            labels = collapse(labels, inner, cells)
    grown = [
        math.prod(_size(before[a]) for a in part.before)
        if any(labels.shape[a] > 1 for a in part.before)
        else 1
        for part in parts
    ]
    for part, size in zip(parts, grown, strict=True):
        if math.prod(grown) > MOST_LABELS and len(part.before) > 1 and size > 1:
            labels = collapse(labels, part.before, cells)
            grown[parts.index(part)] = 1
    shape: list[int] = []
    full = list(labels.shape)
    for part in parts:
        moves = any(labels.shape[axis] > 1 for axis in part.before)
        for axis in part.before:
            full[axis] = _size(before[axis]) if moves else 1
        shape += [_size(after[axis]) if moves else 1 for axis in part.after]
    return _moved(labels, full, shape)


def _moved(labels: Array, full: Sequence[int], shape: Sequence[int]) -> Array:
    return np.ascontiguousarray(np.broadcast_to(labels, full)).reshape(shape)


def _size(size: Any) -> int:
    return size if isinstance(size, int) else 1
