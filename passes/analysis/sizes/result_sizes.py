"""The sizes of an operator's result, as they follow from those of its operands.

What inference knows of a size is its number or a name of its own. These rules say more: that the
rows of a product are those of its left operand, that a Concat has as many as its parts together.
A size that does not follow is None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.axes.named import normal_axes
from ....ir.ops.axes.permutation import perm_of
from ....ir.ops.axes.reductions import read_reduction
from ....ir.ops.parameters import read_parameter
from ....ir.ops.slices import FARTHEST, AxisBounds, read_bounds
from ....ir.ops.traits import attribute, traits_of
from ....ir.ops.traits.groups import REDUCTIONS
from ....ir.ops.windows.attributes import window_attributes
from .elements import Array
from .symbolic import ONE, SymbolicSize

Size = SymbolicSize | None
Shape = tuple[Size, ...]


class Known(Protocol):
    """What is known of the operands of one node."""

    def shape(self, position: int) -> Shape | None:
        """Return the sizes of an operand."""

    def elements(self, position: int) -> Array | None:
        """Return the elements of an operand that holds sizes."""


Rule = Callable[[gs.Node, View, Known], Shape | None]


def result_sizes(node: gs.Node, view: View, known: Known) -> Shape | None:
    """Return the sizes of the first result of a standard `node`; None where there is no rule."""
    rule = _RULES.get(node.op)
    if rule is not None:
        return rule(node, view, known)
    traits = traits_of(node, view.opset)
    if traits.keeps_shape:
        return known.shape(0)
    if not traits.broadcasts:
        return None
    return broadcast([known.shape(i) for i in traits.operands_of(len(node.inputs))])


def broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    """Return the sizes of what operands are broadcast to; None for a size that is not sure."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes) or not known:
        return None
    rank = max(map(len, known))
    aligned = [(ONE,) * (rank - len(shape)) + tuple(shape) for shape in known]
    return tuple(_together(sizes) for sizes in zip(*aligned, strict=True))


def _together(sizes: Sequence[Size]) -> Size:
    """Return what sizes are broadcast to: one gives way, a number other than one is sure."""
    others = [size for size in sizes if size != ONE]
    if not others:
        return ONE
    numbers = [size for size in others if size is not None and size.number is not None]
    if numbers:
        return numbers[0]
    return others[0] if all(size == others[0] for size in others) else None


def _transposed(node: gs.Node, view: View, known: Known) -> Shape | None:
    sizes, perm = known.shape(0), perm_of(node, view)
    return None if sizes is None or perm is None else tuple(sizes[axis] for axis in perm)


def _multiplied(node: gs.Node, view: View, known: Known) -> Shape | None:
    a, b = known.shape(0), known.shape(1)
    if a is None or b is None or not a or not b:
        return None
    batch = broadcast([a[:-2], b[:-2]])
    if batch is None:
        return None
    return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


def _gathered(node: gs.Node, view: View, known: Known) -> Shape | None:
    data, indices = known.shape(0), known.shape(1)
    if data is None or indices is None:
        return None
    axes = normal_axes(attribute(node, "axis", view.opset), len(data))
    return None if axes is None else (*data[: axes[0]], *indices, *data[axes[0] + 1 :])


def _joined(node: gs.Node, view: View, known: Known) -> Shape | None:
    parts = [known.shape(position) for position in range(len(node.inputs))]
    shapes = [part for part in parts if part is not None]
    if not shapes or len(shapes) < len(parts):
        return None
    axes = normal_axes(attribute(node, "axis", view.opset), len(shapes[0]))
    if axes is None:
        return None
    (along,) = axes
    found = [_any_of([shape[axis] for shape in shapes]) for axis in range(len(shapes[0]))]
    found[along] = _sum_of([shape[along] for shape in shapes])
    return tuple(found)


def _any_of(sizes: Sequence[Size]) -> Size:
    """Return a size that all are: a number where one is known."""
    known = [size for size in sizes if size is not None]
    return next((s for s in known if s.number is not None), known[0] if known else None)


def _sum_of(sizes: Sequence[Size]) -> Size:
    known = [size for size in sizes if size is not None]
    return sum(known[1:], known[0]) if len(known) == len(sizes) else None


def _expanded(node: gs.Node, view: View, known: Known) -> Shape | None:
    target = known.elements(1)
    if target is None or target.ndim != 1:
        return None
    return broadcast([known.shape(0), tuple(target)])


def _filled(node: gs.Node, view: View, known: Known) -> Shape | None:
    target = known.elements(0)
    return tuple(target) if target is not None and target.ndim == 1 else None


def _tiled(node: gs.Node, view: View, known: Known) -> Shape | None:
    sizes, repeats = known.shape(0), known.elements(1)
    if sizes is None or repeats is None or repeats.shape != (len(sizes),):
        return None
    pairs = zip(sizes, repeats, strict=True)
    return tuple(None if a is None or b is None else a * b for a, b in pairs)


def _sliced(node: gs.Node, view: View, known: Known) -> Shape | None:
    sizes, bounds = known.shape(0), read_bounds(node, view)
    if sizes is None or bounds is None:
        return None
    found = list(sizes)
    for each in bounds:
        found[each.axis] = _taken(each, found[each.axis])
    return tuple(found)


def _taken(bounds: AxisBounds, size: Size) -> Size:
    """Return how many are taken, of a size with a name where the bounds are known to be inside."""
    if size is None or size.number is not None:
        taken = bounds.taken(None if size is None else size.number)
        return SymbolicSize.of(taken) if isinstance(taken, int) else None
    if bounds.step != 1:
        return None
    start, end = _bound(bounds.start, size), _bound(bounds.end, size)
    if start is None or end is None or (end - start).low < 0:
        return None
    return end - start


def _bound(bound: int, size: SymbolicSize) -> Size:
    """Return a bound counted from the begin, where it is known to lie inside."""
    if bound >= FARTHEST:
        return size
    place = SymbolicSize.of(bound) if bound >= 0 else size + SymbolicSize.of(bound)
    inside = place.low >= 0 and (size - place).low >= 0
    return place if inside else None


def _divided(node: gs.Node, view: View, known: Known) -> Shape | None:
    """Return the sizes of the first part."""
    sizes, first = known.shape(0), view.shape(node.outputs[0])
    if sizes is None or first is None:
        return None
    axes = normal_axes(attribute(node, "axis", view.opset), len(sizes))
    if axes is None:
        return None
    size = first[axes[0]]
    found = list(sizes)
    found[axes[0]] = SymbolicSize.of(size) if isinstance(size, int) else None
    return tuple(found)


def _padded(node: gs.Node, view: View, known: Known) -> Shape | None:
    sizes, pads = known.shape(0), read_parameter(node, "pads", view).ints()
    named = read_parameter(node, "axes", view)
    if sizes is None or pads is None or not named.known:
        return None
    axes = normal_axes(range(len(sizes)) if named.values is None else named.values, len(sizes))
    if axes is None or len(pads) != 2 * len(axes):
        return None
    found = list(sizes)
    for place, axis in enumerate(axes):
        size, more = found[axis], pads[place] + pads[place + len(axes)]
        found[axis] = None if size is None else size + SymbolicSize.of(more)
    return tuple(found)


def _reduced(node: gs.Node, view: View, known: Known) -> Shape | None:
    sizes, found = known.shape(0), read_reduction(node, view)
    if sizes is None or found is None:
        return None
    if found.keepdims:
        return tuple(ONE if axis in found.axes else size for axis, size in enumerate(sizes))
    return tuple(size for axis, size in enumerate(sizes) if axis not in found.axes)


def _convolved(node: gs.Node, view: View, known: Known) -> Shape | None:
    """Return the sizes of windows that move by one; the channels are a number."""
    x, weight = known.shape(0), view.shape(node.inputs[1])
    kernel = [size for size in (weight or ())[2:] if isinstance(size, int)]
    if x is None or weight is None or len(kernel) != len(x) - 2 or not isinstance(weight[0], int):
        return None
    window = window_attributes("Conv", node.attrs, kernel)
    pads = window.fixed_pads()
    if pads is None:
        return (x[0], SymbolicSize.of(weight[0]), *[None] * len(kernel))
    axes = zip(x[2:], window.strides, window.reaches, *pads, strict=True)
    return (x[0], SymbolicSize.of(weight[0]), *(_moved_by_one(*axis) for axis in axes))


def _moved_by_one(size: Size, stride: int, reach: int, begin: int, end: int) -> Size:
    if size is None or stride != 1:
        return None
    return size + SymbolicSize.of(begin + end + 1 - reach)


_RULES: dict[str, Rule] = {
    "Transpose": _transposed,
    "MatMul": _multiplied,
    "Gather": _gathered,
    "Concat": _joined,
    "Expand": _expanded,
    "ConstantOfShape": _filled,
    "Tile": _tiled,
    "Slice": _sliced,
    "Split": _divided,
    "Pad": _padded,
    "Conv": _convolved,
    **dict.fromkeys(REDUCTIONS, _reduced),
}
