"""Permutations of axes, as the attribute `perm` of Transpose holds them.

transpose(x, p) has the axis p[i] of x as its axis i, so that
transpose(transpose(x, p), q) = transpose(x, after(p, q))   with after(p, q)[i] = p[q[i]]
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ...core.variables import is_standard
from ...graph.types import Shape
from ...graph.view import View

Order = tuple[int, ...]


def then(first: Order, second: Order) -> Order:
    """Return the one permutation that does `first` and then `second`."""
    return tuple(first[axis] for axis in second)


def inverse(order: Order) -> Order:
    """Return the permutation that undoes `order`."""
    undone = [0] * len(order)
    for position, axis in enumerate(order):
        undone[axis] = position
    return tuple(undone)


def is_identity(order: Sequence[int]) -> bool:
    """Say whether `order` moves nothing."""
    return all(position == axis for position, axis in enumerate(order))


def induced(order: Order, axes: Sequence[int]) -> Order:
    """Return how a tensor that has only `axes` (ascending) of a permuted one is permuted."""
    place = {axis: i for i, axis in enumerate(axes)}
    return tuple(place[axis] for axis in order if axis in place)


def permuted(shape: Shape, order: Order) -> Shape:
    """Return the shape after the permutation."""
    return tuple(shape[axis] for axis in order)


def moves_only_ones(shape: Shape | None, order: Order) -> bool:
    """Say whether all axes but those of size one keep their order, so that no element moves."""
    if shape is None:
        return False
    rest = [axis for axis in order if shape[axis] != 1]
    return rest == sorted(rest)


def perm_of(node: gs.Node | None, view: View) -> Order | None:
    """Return the permutation of a standard Transpose (default: reversed), else None."""
    if node is None or node.op != "Transpose" or not is_standard(node):
        return None
    perm = node.attrs.get("perm")
    if perm:
        return tuple(perm)
    rank = view.rank(node.inputs[0])
    return None if rank is None else tuple(reversed(range(rank)))
