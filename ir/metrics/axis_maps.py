"""Where the axes of a node's result lie in its data, for nodes that keep axes or move them."""

from __future__ import annotations

import itertools

import onnx_graphsurgeon as gs

from ..graph.types import Shape
from ..graph.view import View
from ..ops.axes.named import axes_of
from ..ops.axes.permutation import perm_of
from ..ops.axes.reductions import keeps_dims
from ..ops.traits import traits_of

# The axis of the data that each axis of the result is, None where it is none of them.
AxisMap = tuple[int | None, ...]


def map_back(
    node: gs.Node, tensor: gs.Tensor, rank: int, view: View
) -> tuple[gs.Tensor, AxisMap] | None:
    """Return the data of `node`, and where the axes of its result `tensor` are there.

    `rank`: that of the result, which inference may not know. Of several operands that of the same
    rank which is not constant. None where axes are not kept.
    """
    known = traits_of(node, view.opset)
    if not known.known or not node.inputs:
        return None
    if node.op == "Transpose":
        perm = perm_of(node, view)
        return None if perm is None else (node.inputs[0], perm)
    if known.reduction:
        return _before_reduction(node, rank, view)
    if known.reshapes and not known.elementwise:
        return _before_reshape(node, tensor, view)
    if known.linear or known.arg_reduction or known.recurrent:
        return None
    data = _operand(node, rank, view)
    return None if data is None else (data, tuple(range(rank)))


def _operand(node: gs.Node, rank: int, view: View) -> gs.Tensor | None:
    """Return the first input with data that is not constant and has the rank of the result.

    One that is computed, if there is any: what a network adds to its input is its own.
    """
    positions = traits_of(node, view.opset).data_of(len(node.inputs))
    given = [node.inputs[position] for position in positions]
    # What only broadcasts has a lower rank; an unknown one is taken for that of the result.
    fitting = [t for t in given if not view.is_constant(t) and view.rank(t) in (rank, None)]
    return min(fitting, key=lambda t: view.producer(t) is None, default=None)


def _before_reduction(node: gs.Node, rank: int, view: View) -> tuple[gs.Tensor, AxisMap] | None:
    data = node.inputs[0]
    before = view.rank(data)
    if before is None:
        return None
    if keeps_dims(node):
        return data, tuple(range(rank))
    axes, known = axes_of(node, view, before)
    if not known or axes is None:
        return None
    return data, tuple(axis for axis in range(before) if axis not in axes)


def _before_reshape(
    node: gs.Node, tensor: gs.Tensor, view: View
) -> tuple[gs.Tensor, AxisMap] | None:
    data = node.inputs[0]
    before, after = view.shape(data), view.shape(tensor)
    if before is None or after is None:
        return None
    return data, matched(before, after)


def matched(before: Shape, after: Shape) -> AxisMap:
    """Return where the axes of a reshaped tensor were: equal sizes from either end, ones aside.

    >>> matched(("N", 10, 1, 1), ("N", 10))
    (0, 1)
    >>> matched((80, 97), ("N", 40, 97))
    (None, None, 1)
    """
    old = [axis for axis, size in enumerate(before) if size != 1]
    new = [axis for axis, size in enumerate(after) if size != 1]
    found: list[int | None] = [None] * len(after)

    def same(pair: tuple[int, int]) -> bool:
        size = before[pair[0]]
        return size == after[pair[1]] and (size is not None or len(old) == len(new))

    for pairs in (zip(old, new, strict=False), zip(old[::-1], new[::-1], strict=False)):
        for a, b in itertools.takewhile(same, pairs):
            if found[b] is None and a not in found:
                found[b] = a
    return tuple(found)
