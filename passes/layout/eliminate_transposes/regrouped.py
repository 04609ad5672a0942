"""A Reshape that splits axes, joins neighbours, adds and removes ones works in many layouts.

reshape(transpose(x, p), [..., h * w, ...]) = transpose(reshape(x, ...), q)   where p keeps h, w
                                                                             beside each other
Both shapes are cut into their common factors, the atoms: an axis is a run of atoms.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from ....ir.graph.types import Dim, Shape
from ....ir.graph.view import View
from ....ir.ops.axes.permutation import Order, induced
from ....ir.ops.axes.ports import Array, Axes, LayoutChange, Ports, int64
from ....ir.ops.parameters import read_parameter, spell

Runs = list[list[int]]


def regrouped(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Reshape to a constant target, if its shapes have common factors."""
    shape, result = view.shape(node.inputs[0]), view.shape(node.outputs[0])
    if shape is None or result is None or read_parameter(node, "shape", view).values is None:
        return None
    atoms = _CommonFactors(shape, result)
    if not atoms.found():
        return None
    source, target = _leading(atoms.source), _leading(atoms.target)
    shared = set(source) & set(target)

    def rebuild(order: Order) -> LayoutChange | None:
        if not (_stay_together(atoms.source, order) and _stay_together(atoms.target, order)):
            return None
        sizes = [result[axis] for axis in induced(order, target)]
        before = [atom for atom in order if atom in source]
        after = [atom for atom in order if atom in target]
        asked = target_of(sizes, before, after)
        if asked is None:
            return None
        return LayoutChange(*spell("Reshape", view.opset, {"shape": asked}))

    free = frozenset(atom for atom in range(atoms.count) if atom not in shared)
    return Ports(
        rank=atoms.count, inputs={0: source}, outputs={0: target}, rebuild=rebuild, free=free
    )


@dataclass
class _CommonFactors:
    """The common factors of two shapes, numbered from the front, and the axes as runs of them."""

    shape: Shape
    result: Shape
    count: int = 0
    source: Runs = field(default_factory=list)
    target: Runs = field(default_factory=list)

    def found(self) -> bool:
        """Cut the shapes; a size that is not known must stand for itself on both sides."""
        i = j = unnamed = 0
        left: list[Dim] = [*(self.shape or (1,))[:1], *(self.result or (1,))[:1]]
        self.source, self.target = [[] for _ in self.shape], [[] for _ in self.result]
        while i < len(self.shape) or j < len(self.result):
            a: Dim = left[0] if i < len(self.shape) else 1
            b: Dim = left[1] if j < len(self.result) else 1
            if isinstance(a, int) and isinstance(b, int) and a > 0 and b > 0:
                common: Dim = min(a, b) if max(a, b) % min(a, b) == 0 else 0
            elif 1 in (a, b):
                common = 1
            elif isinstance(a, int) or isinstance(b, int):
                return False
            else:
                unnamed += a != b or a is None
                common = a
            if common == 0:
                return False
            # Where only one side has a one left, the other keeps what it has.
            take, give = i < len(self.shape), j < len(self.result)
            if common == 1:
                take, give = take and a == 1, give and b == 1
            if not take and not give:
                return False  # the sizes do not multiply to the same number
            if take:
                self.source[i].append(self.count)
                i, left[0] = _next(self.shape, i, a, common)
            if give:
                self.target[j].append(self.count)
                j, left[1] = _next(self.result, j, b, common)
            self.count += 1
        # One size without a name is the same on both sides where all others agree.
        return unnamed <= 1


def _next(shape: Shape, place: int, left: Dim, common: Dim) -> tuple[int, Dim]:
    """Return the axis to go on with, and what is left of it."""
    if isinstance(left, int) and isinstance(common, int) and left != common:
        return place, left // common
    return place + 1, shape[place + 1] if place + 1 < len(shape) else 1


def _leading(runs: Runs) -> Axes:
    return tuple(run[0] for run in runs)


def _stay_together(runs: Runs, order: Order) -> bool:
    """Say whether the atoms of each run follow one another in `order`, others left aside."""
    own = [atom for atom in order if any(atom in run for run in runs)]
    place = {atom: i for i, atom in enumerate(own)}
    return all(place[b] == place[a] + 1 for run in runs for a, b in itertools.pairwise(run))


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
