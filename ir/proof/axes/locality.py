"""Smaller sizes at which a window is looked at in place of those that it has.

Where all that a window does along an axis is local, and the same at every position, its sides are
equal at all sizes if they are at one that is large enough: an element of the result reads positions
within a reach, so that it sees the begin of the axis, the end, or neither, and has a counterpart at
the small size that sees the same. Along strided axes, sizes keep their remainder.

Each axis of each tensor of the window is a member of a class; the sizes in a class shrink together,
by multiples of their steps: twice as fast before a stride of two. What an operator does along an
axis that is not known to be local, such as summing it, keeps the size of its class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import onnx_graphsurgeon as gs

from ..windows import ProofWindow, reads_shape
from .classes import Axis, AxisClasses, Ratio, over
from .fixed_values import FixedValues
from .node import NodeAxes, Types, is_open
from .rules import enter


class WindowAxes:
    """The axes of the tensors of a window, in classes that shrink together.

    `types`: before and after, at sizes that were chosen; `opened`: the same with names for the
    sizes that are open. `own`: the shapes of the inputs, by their names before; inputs whose sizes
    are not known are left out. `is_known`: whether all sizes are known at those that were chosen.
    """

    def __init__(
        self,
        window: ProofWindow,
        types: tuple[Types, Types],
        opened: tuple[Types, Types],
        opsets: tuple[int, int],
    ) -> None:
        self.window = window
        self.own = {
            a.name: sizes for a, b in window.inputs if (sizes := own_sizes(a, b, types)) is not None
        }
        self.classes = AxisClasses()
        self._nodes = [
            NodeAxes(
                node=node,
                opset=opsets[side],
                side=side,
                types=types[side],
                opened=opened[side],
                classes=self.classes,
                values=values,
            )
            for side, nodes in enumerate((window.before, window.after))
            for values in (FixedValues(nodes, opsets[side]),)
            for node in nodes
        ]
        self.is_known = all(
            each.shape(tensor) is not None
            for each in self._nodes
            for tensor in (*each.node.inputs, *each.node.outputs)
            if tensor.name
        )
        self._times: dict[Axis, Ratio] = {}
        if self.is_known:
            self._tie()
        self._members = self._grouped() if self.is_known else {}

    def _tie(self) -> None:
        for a, b in self.window.inputs:
            for axis in range(len(self.own.get(a.name, ()))):
                self.classes.tie((id(a), axis), (id(b), axis))
        for each in self._nodes:
            enter(each)

    def _grouped(self) -> dict[Axis, dict[Ratio, list[int]]]:
        """Return the sizes of each class, by ratio."""
        found: dict[Axis, dict[Ratio, list[int]]] = {}
        seen: set[int] = set()
        for each in self._nodes:
            for tensor in (*each.node.inputs, *each.node.outputs):
                if not tensor.name or id(tensor) in seen:
                    continue
                seen.add(id(tensor))
                for axis, size in enumerate(each.shape(tensor) or ()):
                    root, ratio = self.classes.find((id(tensor), axis))
                    found.setdefault(root, {}).setdefault(ratio, []).append(size)
        return found

    def open_axes(self) -> Iterator[Axis]:
        """Yield the axes, of all tensors of the window, whose sizes are open.

        Not those of tensors of which the shape alone is read.
        """
        for each in self._nodes:
            if reads_shape(each.node):
                continue
            for tensor in (*each.node.inputs, *each.node.outputs):
                if tensor.name and not isinstance(tensor, gs.Constant):
                    for axis in range(len(each.shape(tensor) or ())):
                        if is_open(each.dim(tensor, axis)):
                            yield id(tensor), axis

    def unit(self, root: Axis) -> Ratio:
        """Return by how many steps of its root a class shrinks at a time."""
        return math.lcm(*(ratio.denominator for ratio in self._members.get(root, {1: []})))

    def times(self, root: Axis) -> Ratio:
        """Return by how many steps of its root a class may shrink; below 0 it has to grow."""
        if root in self._times:
            return self._times[root]
        members, unit = self._members.get(root, {}), self.unit(root)
        reach = max(self.classes.reach.get(root, [0]))
        most = min(
            (
                # What sees the begin, what sees the end, and one between; two where all are alike.
                over(min(sizes) - max(reach * ratio + 1, 2), ratio * unit)
                for ratio, sizes in members.items()
            ),
            default=0,
        )
        found = self._times[root] = unit * math.floor(most)
        return found

    def smaller(self) -> Mapping[str, tuple[int, ...]]:
        """Return shapes of the inputs that stand for their own."""
        if not self.is_known:
            return self.own
        found = {}
        for tensor, _ in self.window.inputs:
            if tensor.name in self.own:
                found[tensor.name] = tuple(
                    size - self._shrinks((id(tensor), axis))
                    for axis, size in enumerate(self.own[tensor.name])
                )
        return found

    def _shrinks(self, axis: Axis) -> int:
        root, ratio = self.classes.find(axis)
        if root in self.classes.kept:
            return 0
        return int(max(self.times(root), 0) * ratio)


def own_sizes(
    before: gs.Tensor, after: gs.Tensor, types: tuple[Types, Types]
) -> tuple[int, ...] | None:
    """Return the sizes of an input, which either side may know: both tensors are equal."""
    for found in (types[0].get(before.name), types[1].get(after.name)):
        if found is not None and found.shape is not None:
            sizes = tuple(size for size in found.shape if isinstance(size, int))
            if len(sizes) == len(found.shape):
                return sizes
    return None
