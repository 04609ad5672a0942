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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import onnx_graphsurgeon as gs

from ..graph.types import TensorType
from ..ops.traits import attribute, traits_of
from ..ops.windows.attributes import window_attributes
from .windows import ProofWindow

_Key = tuple[int, int]  # a tensor, by id, and an axis
Types = Mapping[str, TensorType]


class _Classes:
    """Disjoint sets of axes, each with the ratio of its step to that of the root."""

    def __init__(self) -> None:
        self._parent: dict[_Key, tuple[_Key, Fraction]] = {}
        self.kept: set[_Key] = set()  # roots of classes whose sizes stay
        self.reach: dict[_Key, list[Fraction]] = {}  # of both sides, in positions of the root

    def find(self, key: _Key) -> tuple[_Key, Fraction]:
        """Return the root of an axis, and its step in steps of the root."""
        ratio, path = Fraction(1), []
        while key in self._parent:
            path.append(key)
            key, step = self._parent[key]
            ratio *= step
        return key, ratio

    def tie(self, a: _Key, b: _Key, ratio: Fraction = Fraction(1)) -> None:
        """Have the step of `a` be `ratio` times that of `b`."""
        (x, of_a), (y, of_b) = self.find(a), self.find(b)
        step = ratio * of_b / of_a  # of root x, in steps of y
        if x == y:
            if step != 1:
                self.kept.add(x)
            return
        self._parent[x] = (y, step)
        if x in self.kept:
            self.kept.add(y)
        for side, reach in enumerate(self.reach.pop(x, [])):
            self.add_reach(y, side, reach / step)

    def keep(self, key: _Key) -> None:
        """Keep the sizes of the class of an axis."""
        self.kept.add(self.find(key)[0])

    def add_reach(self, key: _Key, side: int, reach: Fraction) -> None:
        """Note that an operator of a side has `reach` more positions of `key` see begin or end."""
        root, ratio = self.find(key)
        self.reach.setdefault(root, [Fraction(0), Fraction(0)])[side] += reach / ratio


@dataclass(frozen=True)
class _Node:
    """A node, the types of its tensors, and the classes to enter them in."""

    node: gs.Node
    opset: int
    side: int
    types: Types
    classes: _Classes

    def shape(self, tensor: gs.Tensor) -> tuple[int, ...] | None:
        if isinstance(tensor, gs.Constant):
            return tuple(tensor.shape)
        found = self.types.get(tensor.name)
        shape = None if found is None else found.shape
        if shape is None or not all(isinstance(size, int) for size in shape):
            return None
        return tuple(size for size in shape if isinstance(size, int))

    def keep(self, tensors: Sequence[gs.Tensor] | None = None) -> None:
        """Keep all sizes of `tensors`, by default of all that the node reads and gives."""
        for tensor in (*self.node.inputs, *self.node.outputs) if tensors is None else tensors:
            for axis in range(len(self.shape(tensor) or ())):
                self.classes.keep((id(tensor), axis))

    def tie(self, x: gs.Tensor, axis: int, y: gs.Tensor, to: int) -> None:
        self.classes.tie((id(x), axis), (id(y), to))

    def keep_axis(self, tensor: gs.Tensor, axis: int) -> None:
        self.classes.keep((id(tensor), axis))


def smaller_shapes(
    window: ProofWindow, types: tuple[Types, Types], opsets: tuple[int, int]
) -> dict[str, tuple[int, ...]]:
    """Return shapes of the inputs of `window`, by their names before, that stand for their own.

    Those whose sizes are not known are left out.
    """
    own = {a.name: sizes for a, b in window.inputs if (sizes := _own(a, b, types)) is not None}
    classes, known = _Classes(), _sizes(window, types, opsets)
    if known is None:
        return own
    for a, b in window.inputs:
        for axis in range(len(own.get(a.name, ()))):
            classes.tie((id(a), axis), (id(b), axis))
    for side, nodes in enumerate((window.before, window.after)):
        for node in nodes:
            each = _Node(node, opsets[side], side, types[side], classes)
            for tensor in (*node.inputs, *node.outputs):
                constant = isinstance(tensor, gs.Constant)
                for axis, size in enumerate(each.shape(tensor) or ()):
                    if constant or size <= 1:
                        classes.keep((id(tensor), axis))
            _rule_of(each)(each)
    times = _times(classes, known)
    shapes = {}
    for a, _ in window.inputs:
        if a.name in own:
            steps = (classes.find((id(a), axis)) for axis in range(len(own[a.name])))
            shapes[a.name] = tuple(
                size - int(times.get(root, Fraction(0)) * ratio)
                for size, (root, ratio) in zip(own[a.name], steps, strict=True)
            )
    return shapes


def _own(before: gs.Tensor, after: gs.Tensor, types: tuple[Types, Types]) -> tuple[int, ...] | None:
    """Return the sizes of an input, which either side may know: both tensors are equal."""
    for found in (types[0].get(before.name), types[1].get(after.name)):
        if found is not None and found.shape is not None:
            sizes = tuple(size for size in found.shape if isinstance(size, int))
            if len(sizes) == len(found.shape):
                return sizes
    return None


def _sizes(
    window: ProofWindow, types: tuple[Types, Types], opsets: tuple[int, int]
) -> dict[_Key, int] | None:
    """Return the sizes of all tensors of a window; None where one is not known."""
    known: dict[_Key, int] = {}
    for side, nodes in enumerate((window.before, window.after)):
        for node in nodes:
            each = _Node(node, opsets[side], side, types[side], _Classes())
            for tensor in (*node.inputs, *node.outputs):
                shape = each.shape(tensor) if tensor.name else ()
                if shape is None:
                    return None
                known.update(((id(tensor), axis), size) for axis, size in enumerate(shape))
    return known


def _times(classes: _Classes, known: Mapping[_Key, int]) -> dict[_Key, Fraction]:
    """Return by how much the root of each class shrinks."""
    members: dict[_Key, list[tuple[Fraction, int]]] = {}
    for key, size in known.items():
        root, ratio = classes.find(key)
        members.setdefault(root, []).append((ratio, size))
    found = {}
    for root, sizes in members.items():
        if root in classes.kept:
            continue
        unit = Fraction(math.lcm(*(ratio.denominator for ratio, _ in sizes)))
        reach = max(classes.reach.get(root, [Fraction(0)]))
        # What sees the begin, what sees the end, and a position between; two where all are alike.
        least = [max(reach * ratio + 1, Fraction(2)) for ratio, _ in sizes]
        most = min(
            (size - fewest) / (ratio * unit)
            for (ratio, size), fewest in zip(sizes, least, strict=True)
        )
        if most >= 1:
            found[root] = unit * math.floor(most)
    return found


_Rule = Callable[[_Node], None]


def _rule_of(each: _Node) -> _Rule:
    if each.node.op in _RULES:
        return _RULES[each.node.op]
    traits = traits_of(each.node, each.opset)
    if traits.elementwise:
        return _elementwise
    if traits.windowed:
        return _windowed
    return _Node.keep


def _elementwise(each: _Node) -> None:
    """Sizes of operands are those of the result, but for those that are broadcast."""
    result = each.node.outputs[0]
    shape = each.shape(result) or ()
    operands = traits_of(each.node, each.opset).operands_of(len(each.node.inputs))
    for tensor in (each.node.inputs[position] for position in operands):
        own = each.shape(tensor) or ()
        for axis, size in enumerate(own):
            to = axis + len(shape) - len(own)
            if size == shape[to] and not isinstance(tensor, gs.Constant):
                each.tie(tensor, axis, result, to)
            elif size != 1:
                each.keep_axis(result, to)


def _windowed(each: _Node) -> None:
    node = each.node
    x, result = node.inputs[0], node.outputs[0]
    shape = each.shape(x) or ()
    kernel = node.attrs.get("kernel_shape")
    if kernel is None:
        kernel = (each.shape(node.inputs[1]) or ())[2:]
    window = window_attributes(str(node.op), node.attrs, kernel)
    if len(node.outputs) > 1 or len(shape) != window.rank + 2 or window.output_shape is not None:
        return each.keep()
    each.tie(x, 0, result, 0)
    each.keep_axis(x, 1)
    each.keep_axis(result, 1)
    each.keep([t for t in node.inputs[1:] if t.name])
    if window.ceil or window.is_same:
        return each.keep()
    for axis in range(window.rank):
        stride = Fraction(window.strides[axis])
        finer = (id(x), axis + 2)
        coarser = (id(result), axis + 2)
        if window.transposed:
            finer, coarser = coarser, finer
        each.classes.tie(finer, coarser, stride)
        pads = window.begins[axis] + window.ends[axis]
        # Of the result, so many positions see the begin or the end of what the input is.
        each.classes.add_reach(finer, each.side, Fraction(2 * (window.reaches[axis] - 1) + pads))
    return None


def _along(each: _Node, kept: set[int]) -> None:
    """Have the result have the axes of the first input, of which `kept` are not local."""
    x = each.node.inputs[0]
    each.keep([t for t in each.node.inputs[1:] if t.name])
    for result in each.node.outputs:
        for axis in range(len(each.shape(x) or ())):
            each.tie(x, axis, result, axis)
            if axis in kept:
                each.keep_axis(x, axis)


def _normalization(each: _Node) -> None:
    _along(each, {1})


def _softmax(each: _Node) -> None:
    rank = len(each.shape(each.node.inputs[0]) or ())
    axis = int(attribute(each.node, "axis", each.opset)) % max(rank, 1)
    _along(each, {axis} if each.opset >= 13 else set(range(rank)))


def _concat(each: _Node) -> None:
    result = each.node.outputs[0]
    rank = len(each.shape(result) or ())
    at = int(attribute(each.node, "axis", each.opset)) % max(rank, 1)
    for tensor in each.node.inputs:
        _tie_beside(each, tensor, result, rank, at)


def _split(each: _Node) -> None:
    x = each.node.inputs[0]
    rank = len(each.shape(x) or ())
    at = int(attribute(each.node, "axis", each.opset) or 0) % max(rank, 1)
    each.keep([t for t in each.node.inputs[1:] if t.name])
    for result in each.node.outputs:
        _tie_beside(each, x, result, rank, at)


def _tie_beside(each: _Node, x: gs.Tensor, result: gs.Tensor, rank: int, at: int) -> None:
    """Tie the axes of `x` and `result` but `at`, which both keep whole."""
    for axis in range(rank):
        if axis == at:
            each.keep_axis(x, axis)
            each.keep_axis(result, axis)
        else:
            each.tie(x, axis, result, axis)


def _transpose(each: _Node) -> None:
    x, result = each.node.inputs[0], each.node.outputs[0]
    rank = len(each.shape(x) or ())
    order = each.node.attrs.get("perm") or list(range(rank))[::-1]
    for axis, source in enumerate(order):
        each.tie(x, int(source), result, axis)


def _pad(each: _Node) -> None:
    x, result = each.node.inputs[0], each.node.outputs[0]
    pads = each.node.inputs[1] if len(each.node.inputs) > 1 else None
    rank = len(each.shape(x) or ())
    if not isinstance(pads, gs.Constant) or len(pads.values) != 2 * rank:
        return each.keep()
    for axis in range(rank):
        each.tie(x, axis, result, axis)
        reach = abs(int(pads.values[axis])) + abs(int(pads.values[axis + rank]))
        each.classes.add_reach((id(x), axis), each.side, Fraction(reach))
    each.keep([t for t in each.node.inputs[2:] if t.name])
    return None


def _global_pool(each: _Node) -> None:
    x, result = each.node.inputs[0], each.node.outputs[0]
    for axis in range(len(each.shape(x) or ())):
        if axis < 2:
            each.tie(x, axis, result, axis)
        else:
            each.keep_axis(x, axis)
            each.keep_axis(result, axis)


def _matmul(each: _Node) -> None:
    """Rows are independent of each other, where the right operand is one matrix."""
    x, y = each.node.inputs
    result = each.node.outputs[0]
    rank, right = len(each.shape(x) or ()), len(each.shape(y) or ())
    if rank < 2 or right != 2:
        return each.keep()
    each.keep([y])
    each.keep_axis(x, rank - 1)
    each.keep_axis(result, rank - 1)
    for axis in range(rank - 1):
        each.tie(x, axis, result, axis)
    return None


def _gemm(each: _Node) -> None:
    node = each.node
    x, result = node.inputs[0], node.outputs[0]
    each.keep(list(node.inputs[1:]))
    if node.attrs.get("transA", 0) or (len(node.inputs) > 2 and not _is_row(each, node.inputs[2])):
        return each.keep()
    each.tie(x, 0, result, 0)
    each.keep_axis(x, 1)
    each.keep_axis(result, 1)
    return None


def _is_row(each: _Node, tensor: gs.Tensor) -> bool:
    shape = each.shape(tensor)
    return shape is not None and (len(shape) < 2 or shape[0] == 1)


_RULES: dict[str, _Rule] = {
    "BatchNormalization": _normalization,
    "Concat": _concat,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "Pad": _pad,
    "Softmax": _softmax,
    "Split": _split,
    "Transpose": _transpose,
}
