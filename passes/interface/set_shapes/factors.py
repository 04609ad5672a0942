"""Axes as products of the sizes that they are made of, before and now.

[1, 64, 32, 32]  ->  [1024, 2, 16, 2]  ->  [1, 64, 256, 4]     1024 = 64 * 16,   256 = 16 * 16

Elements keep their order in a Reshape, so that each axis of the result is a run of such sizes; a
Transpose moves them along with their axis. What was put together is taken apart where it was.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.axes.named import normal_axes
from ....ir.ops.axes.permutation import perm_of
from ....ir.ops.traits import attribute, traits_of
from ....ir.ops.traits.model import Movement
from .seen import Sizes

Factor = tuple[int, int]  # before, now
Axis = tuple[Factor, ...]
Pair = tuple[Sizes, Sizes]


def plain(pair: Pair) -> list[Axis]:
    """Return axes of which nothing is known but their sizes."""
    return [((was, now),) for was, now in zip(*pair, strict=True)]


class Factors:
    """The axes of tensors, as far as they are known."""

    def __init__(self) -> None:
        self._known: dict[int, list[Axis]] = {}

    def of(self, tensor: gs.Tensor, pair: Pair) -> list[Axis]:
        """Return the axes of a tensor with the sizes of `pair`."""
        found = self._known.get(id(tensor))
        return plain(pair) if found is None else found

    def enter(
        self, node: gs.Node, view: View, inputs: Sequence[Pair | None], outputs: Sequence[Pair]
    ) -> None:
        """Note the axes of the results of `node`."""
        held = [
            None if pair is None else self.of(tensor, pair)
            for tensor, pair in zip(node.inputs, inputs, strict=True)
        ]
        if not any(axes is not None and any(len(axis) > 1 for axis in axes) for axes in held) and (
            traits_of(node, view.opset).movement is not Movement.RESHAPE
        ):
            return  # nothing to hand on
        for tensor, pair in zip(node.outputs, outputs, strict=True):
            made = _made(node, view, held, pair)
            if any(len(axis) > 1 for axis in made):
                self._known[id(tensor)] = made


def _made(node: gs.Node, view: View, held: Sequence[list[Axis] | None], pair: Pair) -> list[Axis]:
    data = held[0] if held else None
    if data is not None and traits_of(node, view.opset).movement is Movement.RESHAPE:
        return regrouped_factors([one for axis in data for one in axis], pair) or plain(pair)
    order = perm_of(node, view)
    if data is not None and order is not None:
        return [data[axis] for axis in order]
    return _aligned(node, view, held, pair)


def regrouped_factors(factors: Sequence[Factor], pair: Pair) -> list[Axis] | None:
    """Return the axes of a Reshape to `pair`; None where these are no runs of `factors`."""
    left, found = list(factors), []
    for was, now in zip(*pair, strict=True):
        axis: list[Factor] = []
        if (was, now) == (1, 1) and left[:1] == [(1, 1)]:
            axis.append(left.pop(0))
        while (was, now) != (1, 1):
            if not left:
                return None
            old, new = left[0]
            if was % old == 0 and now % new == 0:
                taken, rest = (old, new), (1, 1)
            elif old % was == 0 and new % now == 0 and (old == was) == (new == now):
                taken, rest = (was, now), (old // was, new // now)
            else:
                return None
            left[:1] = [rest] if rest != (1, 1) else []
            was, now = was // taken[0], now // taken[1]
            if not axis or taken != (1, 1):  # one of those is enough, before the others
                axis.append(taken)
        found.append(tuple(axis) or ((1, 1),))
    return found if all(factor == (1, 1) for factor in left) else None


def _aligned(
    node: gs.Node, view: View, held: Sequence[list[Axis] | None], pair: Pair
) -> list[Axis]:
    """Return axes as those of inputs in the same place, counted from behind, of the same size."""
    found, rank = plain(pair), len(pair[0])
    lined = [_without_axis(node, view, axes, rank) for axes in held if axes is not None]
    for back in range(1, rank + 1):
        size = found[-back]
        ways = {
            axes[-back]
            for axes in lined
            if len(axes) >= back and _whole(axes[-back]) == size[0] and len(axes[-back]) > 1
        }
        if len(ways) == 1:
            found[-back] = ways.pop()
    return found


def _without_axis(node: gs.Node, view: View, axes: list[Axis], rank: int) -> list[Axis]:
    """Return the axes that are left where one is picked out of, as by Gather."""
    if len(axes) != rank + 1 or "axis" not in node.attrs:
        return axes
    place = normal_axes([attribute(node, "axis", view.opset)], len(axes))
    return axes if place is None else [a for i, a in enumerate(axes) if i != place[0]]


def _whole(axis: Axis) -> Factor:
    was = now = 1
    for old, new in axis:
        was, now = was * old, now * new
    return was, now
