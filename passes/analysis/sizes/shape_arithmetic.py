"""What a tensor of shape arithmetic holds, element by element: Shape -> Gather -> Concat -> ...

Exporters compute the target of a Reshape from the sizes of what it reshapes; the result is known
but for names as soon as every element is a product of sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.parameters import read_parameter
from ....ir.ops.slices import read_slice
from ....ir.ops.traits import Kind, operators_with, traits_of
from ....ir.ops.traits.groups import RESHAPES
from .symbolic import ONE, SymbolicDims, SymbolicSize, product

_MOST_ELEMENTS = 64
_DEEPEST = 64

Shape = tuple[SymbolicSize | None, ...]  # None: no product of sizes


@dataclass(frozen=True)
class ShapeElements:
    """The elements of a tensor of rank 0 or 1; None for one that is no product of sizes."""

    elements: Shape
    rank: int


class ShapeArithmetic:
    """Evaluates tensors and shapes of one graph; what it found once it remembers."""

    def __init__(self) -> None:
        self._atoms = SymbolicDims()
        self._held: dict[int, tuple[gs.Tensor, ShapeElements | None]] = {}
        self._shapes: dict[int, tuple[gs.Tensor, Shape | None]] = {}

    def shape(self, tensor: gs.Tensor, view: View, depth: int = 0) -> Shape | None:
        """Return the sizes of `tensor`, or None where even its rank is unknown."""
        if id(tensor) in self._shapes:
            return self._shapes[id(tensor)][1]
        dims = view.shape(tensor)
        found: Shape | None = None
        # Inference names what it does not know; what a size follows from says more than its name.
        if dims is None or not all(isinstance(dim, int) for dim in dims):
            node = view.producer(tensor)
            if node is not None and is_standard(node) and depth < _DEEPEST:
                found = self._followed(node, view, depth + 1)
        for dim, size in zip(dims or (), found or (), strict=False):
            if isinstance(dim, str) and size is not None:
                self._atoms.learn(dim, size)
        if found is None and dims is not None:
            found = tuple(self._atoms.of(tensor, axis, view) for axis in range(len(dims)))
        if depth < _DEEPEST:
            self._shapes[id(tensor)] = (tensor, found)
        return found

    def _followed(self, node: gs.Node, view: View, depth: int) -> Shape | None:
        """Return the sizes of the result of `node` as they follow from those of its operands."""
        if is_reshape(node):
            return self.reshaped(node, view, depth)
        if node.op == "Transpose":
            sizes = self.shape(node.inputs[0], view, depth)
            perm = node.attrs.get("perm")
            return (
                None if sizes is None else tuple(sizes[i] for i in perm or range(len(sizes))[::-1])
            )
        traits = traits_of(node, view.opset)
        if not traits.broadcasts:
            return None
        operands = [node.inputs[i] for i in traits.operands_of(len(node.inputs))]
        return _broadcast([self.shape(tensor, view, depth) for tensor in operands])

    def reshaped(self, node: gs.Node, view: View, depth: int = 0) -> Shape | None:
        """Return the sizes of the result of a Reshape, Flatten, Squeeze or Unsqueeze."""
        sizes = self.shape(node.inputs[0], view, depth)
        if node.op == "Reshape":
            return self._target(node, sizes, view, depth)
        if sizes is None:
            return None
        rank = len(sizes)
        if node.op == "Flatten":
            axis = node.attrs.get("axis", 1)
            axis += rank if axis < 0 else 0
            return _product(sizes[:axis]), _product(sizes[axis:])
        axes = read_parameter(node, "axes", view).ints()
        if axes is None or (node.op == "Squeeze" and not axes):
            return None
        if node.op == "Squeeze":
            gone = {axis % rank for axis in axes} if rank else set()
            return tuple(size for axis, size in enumerate(sizes) if axis not in gone)
        rank += len(axes)
        new = {axis % rank for axis in axes}
        left = iter(sizes)
        return tuple(ONE if axis in new else next(left) for axis in range(rank))

    def _target(
        self, node: gs.Node, sizes: Sequence[SymbolicSize | None] | None, view: View, depth: int
    ) -> Shape | None:
        target = read_parameter(node, "shape", view)
        if target.values is not None:
            held = _constant(target.values)
        else:
            held = None if target.position is None else self.held(node.inputs[1], view, depth)
        if held is None or held.rank != 1:
            return None
        asked: list[SymbolicSize | None] = list(held.elements)
        rest: int | None = None
        for place, size in enumerate(asked):
            number = None if size is None else size.number
            if number == 0 and not node.attrs.get("allowzero", 0):
                known = sizes is not None and place < len(sizes)
                asked[place] = sizes[place] if known and sizes is not None else None
            elif number == -1:
                rest, asked[place] = place, None
        if rest is not None and sizes is not None:
            whole, others = _product(sizes), _product(asked[:rest] + asked[rest + 1 :])
            asked[rest] = None if whole is None or others is None else whole.over(others)
        return tuple(asked)

    def held(self, tensor: gs.Tensor, view: View, depth: int = 0) -> ShapeElements | None:
        """Return the elements of an integer tensor of rank 0 or 1, or None."""
        if id(tensor) in self._held:
            return self._held[id(tensor)][1]
        if depth >= _DEEPEST:
            return None
        values = view.constant(tensor)
        node = view.producer(tensor)
        found = None
        if values is not None:
            found = _constant(values)
        elif node is not None and is_standard(node) and node.op in _OPERATORS:
            found = self._computed(node, view, depth + 1)
        self._held[id(tensor)] = (tensor, found)
        return found

    def _computed(self, node: gs.Node, view: View, depth: int) -> ShapeElements | None:
        if node.op in ("Shape", "Size"):
            sizes = self.shape(node.inputs[0], view, depth)
            if sizes is None or len(sizes) > _MOST_ELEMENTS:
                return None
            if node.op == "Size":
                return ShapeElements((_product(sizes),), 0)
            return ShapeElements(sizes[node.attrs.get("start", 0) : node.attrs.get("end")], 1)
        if node.op == "Concat":
            parts = [self.held(tensor, view, depth) for tensor in node.inputs]
            if any(part is None or part.rank != 1 for part in parts):
                return None
            joined = tuple(e for part in parts if part is not None for e in part.elements)
            return ShapeElements(joined, 1) if len(joined) <= _MOST_ELEMENTS else None
        x = self.held(node.inputs[0], view, depth)
        if x is None:
            return None
        if node.op in _AS_THEY_ARE:
            return x
        match node.op:
            case "Mul" | "Div":
                return _combined(node.op, x, self.held(node.inputs[1], view, depth))
            case "ReduceProd":
                keeps = bool(node.attrs.get("keepdims", 1))
                return ShapeElements((_product(x.elements),), 1 if keeps else 0) if x.rank else None
            case "Gather":
                return _gathered(x, node, view)
            case "Slice":
                return _sliced(x, node, view)
            case _:
                return _regrouped(x, node, view)


# Sizes are integers, and no type that holds sizes is too small for them.
_AS_THEY_ARE = operators_with(lambda t: t.gives_back == Kind.INTEGRAL) | {"Cast", "Identity"}
# What `_computed` evaluates: of all that takes integers, what exporters compute sizes with.
_OPERATORS = (
    _AS_THEY_ARE
    | RESHAPES
    | {"Shape", "Size", "Concat", "Mul", "Div", "ReduceProd", "Gather", "Slice"}
)


def is_reshape(node: gs.Node) -> bool:
    """Say whether `node` gives the elements of its first input, in order, another shape."""
    return node.op in RESHAPES and is_standard(node)


def _broadcast(shapes: Sequence[Shape | None]) -> Shape | None:
    """Return the sizes of what operands of one rank are broadcast to, where all are sure."""
    known = [shape for shape in shapes if shape is not None]
    if len(known) < len(shapes) or len({len(shape) for shape in known}) != 1:
        return None
    result = known[0]
    for shape in known[1:]:
        pairs = zip(result, shape, strict=True)
        result = tuple(a if b in (a, ONE) else b if a == ONE else None for a, b in pairs)
    return None if None in result else result


def _product(sizes: Sequence[SymbolicSize | None]) -> SymbolicSize | None:
    known = [size for size in sizes if size is not None]
    return product(known) if len(known) == len(sizes) else None


def _constant(values: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> ShapeElements | None:
    if values.ndim > 1 or values.size > _MOST_ELEMENTS or values.dtype.kind not in "iuf":
        return None
    whole = [float(v).is_integer() for v in values.reshape(-1)]
    if not all(whole):
        return None
    return ShapeElements(tuple(SymbolicSize(int(v)) for v in values.reshape(-1)), values.ndim)


def _combined(op: str, x: ShapeElements, y: ShapeElements | None) -> ShapeElements | None:
    if y is None or not x.elements or not y.elements:
        return None
    count = max(len(x.elements), len(y.elements))
    left, right = (held.elements * (count // len(held.elements)) for held in (x, y))
    if len(left) != len(right):
        return None
    both: list[SymbolicSize | None] = []
    for a, b in zip(left, right, strict=True):
        if a is None or b is None:
            both.append(None)
        else:
            both.append(a * b if op == "Mul" else a.over(b))
    return ShapeElements(tuple(both), max(x.rank, y.rank))


def _gathered(x: ShapeElements, node: gs.Node, view: View) -> ShapeElements | None:
    index = view.constant(node.inputs[1])
    if index is None or index.ndim > 1 or x.rank != 1:
        return None
    picks = [int(i) for i in index.reshape(-1)]
    if not all(-len(x.elements) <= i < len(x.elements) for i in picks):
        return None
    return ShapeElements(tuple(x.elements[i] for i in picks), index.ndim)


def _sliced(x: ShapeElements, node: gs.Node, view: View) -> ShapeElements | None:
    cut = read_slice(node, view)
    part = None if cut is None else cut.get(0)
    if x.rank != 1 or part is None or part.step != 1:
        return None
    return ShapeElements(x.elements[part], 1)


def _regrouped(x: ShapeElements, node: gs.Node, view: View) -> ShapeElements | None:
    """Squeeze, Unsqueeze or Reshape between a number and a list of one."""
    rank = view.rank(node.outputs[0])
    if rank is None or rank > 1 or (rank == 0 and len(x.elements) != 1):
        return None
    return ShapeElements(x.elements, rank)
