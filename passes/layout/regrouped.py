"""A Reshape that only adds and removes axes of size one works in any layout, as Squeeze does."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ...ir.infer import Dim, Shape
from ...ir.view import View
from .permutation import Order, induced
from .ports import Array, Axes, Change, Ports, int64


def squeezed(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Reshape to a constant target with the same sizes but for ones."""
    shape, result = view.shape(node.inputs[0]), view.shape(node.outputs[0])
    if shape is None or result is None or view.opset < 5 or not view.is_constant(node.inputs[1]):
        return None
    axes = _matched(shape, result)
    if axes is None:
        return None
    source, target, free = axes
    rank = max((*source, *target), default=-1) + 1

    def rebuild(order: Order) -> Change | None:
        sizes = [result[axis] for axis in induced(order, target)]
        before = [axis for axis in order if axis in source]
        after = [axis for axis in order if axis in target]
        asked = target_of(sizes, before, after)
        return None if asked is None else Change(constants={1: asked})

    return Ports(rank, {0: source}, {0: target}, rebuild, free=free)


def _matched(shape: Shape, result: Shape) -> tuple[Axes, Axes, frozenset[int]] | None:
    """Return the common numbering of the axes of both shapes, and which of them have size one.

    A size without a name is the same as another where all others agree.
    """
    unnamed = 0
    source: list[int] = []
    target: list[int] = []
    free: list[int] = []
    i = j = axis = 0
    while i < len(shape) or j < len(result):
        a: Dim = shape[i] if i < len(shape) else 1
        b: Dim = result[j] if j < len(result) else 1
        one = a == 1 or b == 1
        take = i < len(shape) and (not one or a == 1)
        give = j < len(result) and (not one or b == 1)
        if not one and (a != b or a is None):
            unnamed += 1
            if isinstance(a, int) and isinstance(b, int):
                return None
        if not take and not give:
            return None
        if take:
            source.append(axis)
        if give:
            target.append(axis)
        if one:
            free.append(axis)
        i, j, axis = i + take, j + give, axis + 1
    if unnamed > 1 or len(free) == axis:
        return None
    return tuple(source), tuple(target), frozenset(free)


def target_of(sizes: Sequence[Dim], before: Sequence[int], after: Sequence[int]) -> Array | None:
    """Return the target of a Reshape to `sizes`; `before` and `after` say which axis is where.

    0 copies an unknown size that stays in its place, -1 is what is left; None where two are left.
    """
    asked: list[int] = []
    for place, size in enumerate(sizes):
        if isinstance(size, int):
            asked.append(size)
        else:
            stays = place < len(before) and before[place] == after[place]
            asked.append(0 if stays else -1)
    return int64(asked) if asked.count(-1) <= 1 and 0 not in sizes else None
