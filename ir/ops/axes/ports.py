"""How the axes of an operator's inputs and outputs correspond, for operators free of any layout.

f(transpose(x, p), ...) = transpose(f'(x, ...), p')   with f' the same operator, its axes renamed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...graph.view import View
from ..opsets import aligns, of_one_type
from ..parameters import input_of, spell
from .permutation import Order

Array = np.ndarray[Any, Any]
Axes = tuple[int, ...]


@dataclass(frozen=True)
class LayoutChange:
    """What an operator needs to work on permuted tensors, where it differs from what it has.

    `weights` are constants of the readers of its result, to be permuted along one axis: (reader,
    input, axis, order). `operands` is the order in which it takes its inputs, where that changes.
    """

    attrs: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[int, Array] = field(default_factory=dict)
    weights: tuple[tuple[gs.Node, int, int, Array], ...] = ()
    operands: tuple[int, ...] | None = None


Rebuild = Callable[[Order], LayoutChange | None]


@dataclass(frozen=True, kw_only=True)
class Ports:
    """The tensors of a node that a permutation of its `rank` axes permutes.

    `inputs` and `outputs` give, by position, which of the axes each tensor has, ascending. `loose`
    are the operands that broadcasting aligns with the last axes. `rebuild(order)` is what changes
    in the node where axis i becomes what axis order[i] was; None where it cannot be done.
    `free` are axes of size one that may stand anywhere: what lacks them alone tells all the rest.
    `wants_last` is the axis that runtimes work on without copying only where it is the last;
    `repeated` are those that they repeat one element at a time where it is the last.
    """

    rank: int
    inputs: Mapping[int, Axes]
    outputs: Mapping[int, Axes]
    rebuild: Rebuild
    loose: tuple[int, ...] = ()
    free: frozenset[int] = frozenset()
    wants_last: int | None = None
    repeated: frozenset[int] = frozenset()

    def whole(self, axes: Axes, order: Order) -> Order | None:
        """Return the order of all axes that permutes a tensor with `axes` by `order`.

        None where there is none, as for a tensor that keeps its layout and has no `axes` here.
        """
        if len(axes) != len(order):
            return None
        found = [axes[place] for place in order]
        for axis in range(self.rank):
            if axis in axes:
                continue
            if axis not in self.free:
                return None
            found.insert(found.index(axis - 1) + 1 if axis else 0, axis)
        return tuple(found)


def unchanged(order: Order) -> LayoutChange:
    """Rebuild an operator that knows nothing of axes."""
    return LayoutChange()


def alike(node: gs.Node, rank: int, rebuild: Rebuild, *inputs: int, **more: Any) -> Ports:
    """Return ports of one rank throughout: the given inputs (default: the first), all outputs."""
    axes = tuple(range(rank))
    outputs = {i: axes for i, tensor in enumerate(node.outputs) if not tensor.is_empty()}
    return Ports(
        rank=rank,
        inputs=dict.fromkeys(inputs or (0,), axes),
        outputs=outputs,
        rebuild=rebuild,
        **more,
    )


def elementwise(node: gs.Node, view: View, operands: int) -> Ports | None:
    """Return the ports of an operator that aligns its first `operands` inputs (opset 7 on)."""
    tensors = node.inputs[:operands]
    rank = view.rank(node.outputs[0])
    ranks = [view.rank(tensor) for tensor in tensors]
    aligned = len(tensors) == 1 or aligns(node.op, view.opset)
    if rank is None or None in ranks or not aligned:
        return None
    full = [i for i, r in enumerate(ranks) if r == rank]
    loose = tuple(i for i, r in enumerate(ranks) if r != rank)
    return alike(node, rank, unchanged, *full, loose=loose) if full else None


def int64(values: Sequence[int]) -> Array:
    """Return shapes, axes or pads as the operators take them."""
    return np.array(values, np.int64)


def renamed_axes(node: gs.Node, axes: list[int], order: Order, view: View) -> LayoutChange:
    """Return the change that names the same axes after the permutation, in the same order."""
    place = int64([order.index(axis) for axis in axes])
    position = input_of(node.op, "axes", view.opset)
    if position is not None:
        # A Slice has its axes in the type of its starts, which may be int32.
        others = of_one_type(node.op, position, view.opset)
        held = (view.dtype(node.inputs[i]) for i in others if i < len(node.inputs))
        place = place.astype(next(filter(None, held), place.dtype))
    return LayoutChange(*spell(node.op, view.opset, {"axes": place}))


def renamed_axis(axis: int, order: Order) -> LayoutChange:
    """Return the change that names the same axis after the permutation."""
    return LayoutChange(attrs={"axis": order.index(axis)})
