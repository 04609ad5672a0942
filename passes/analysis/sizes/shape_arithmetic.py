"""What integer tensors that hold sizes contain, and which sizes a reshape gives.

Exporters compute shapes at run time (Shape, Gather, Unsqueeze, Concat, Mul, ...) even where all but
the batch is known. Evaluated with names for what is not, such arithmetic gives sizes of which most
are numbers; two that have one name are equal whatever the graph is fed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.types import Dim
from ....ir.graph.view import View
from ....ir.ops.parameters import read_parameter
from ....ir.ops.traits import attribute
from ....ir.ops.traits.groups import RESHAPES
from .elements import (
    MOST_ELEMENTS,
    RULES,
    Array,
    array_of,
    numbers_in,
    of_numbers,
    representable,
    split,
)
from .result_sizes import Shape, Size, result_sizes
from .symbolic import ONE, SymbolicDims, SymbolicSize, product

_DEEPEST = 64


class ShapeArithmetic:
    """Evaluates tensors and shapes of one graph; what it found once it remembers."""

    def __init__(self) -> None:
        self._atoms = SymbolicDims()
        self._held: dict[int, tuple[gs.Tensor, Array | None]] = {}
        self._shapes: dict[int, tuple[gs.Tensor, Shape | None]] = {}

    def shape(self, tensor: gs.Tensor, view: View, depth: int = 0) -> Shape | None:
        """Return the sizes of `tensor`, or None where even its rank is unknown."""
        if id(tensor) in self._shapes:
            return self._shapes[id(tensor)][1]
        dims = view.shape(tensor)
        found: Shape | None = None
        # Inference names what it does not know; what a size follows from says more than its name.
        if dims is None or not all(isinstance(dim, int) for dim in dims):
            found = self._followed(tensor, view, depth)
        if dims is not None:
            found = self._together(tensor, dims, found, view)
        if depth < _DEEPEST:
            self._shapes[id(tensor)] = (tensor, found)
        return found

    def _together(
        self, tensor: gs.Tensor, dims: Sequence[Dim], followed: Shape | None, view: View
    ) -> Shape:
        """Return the sizes of a tensor from what inference says and what they follow from."""
        if followed is None or len(followed) != len(dims):
            followed = (None,) * len(dims)
        for dim, size in zip(dims, followed, strict=True):
            if isinstance(dim, str) and size is not None:
                self._atoms.learn(dim, size)
        told = [None if isinstance(d, int) else s for d, s in zip(dims, followed, strict=True)]
        return tuple(
            self._atoms.of(tensor, axis, view) if size is None else size
            for axis, size in enumerate(told)
        )

    def _followed(self, tensor: gs.Tensor, view: View, depth: int) -> Shape | None:
        """Return the sizes of a tensor as they follow from those of what it is computed from."""
        node = view.producer(tensor)
        if node is None or not is_standard(node) or depth >= _DEEPEST:
            return None
        if node.outputs[0] is not tensor:
            return None
        if is_reshape(node):
            return self.reshaped(node, view, depth + 1)
        return result_sizes(node, view, _Known(self, node, view, depth + 1))

    def reshaped(self, node: gs.Node, view: View, depth: int = 0) -> Shape | None:
        """Return the sizes of the result of a Reshape, Flatten, Squeeze or Unsqueeze."""
        sizes = self.shape(node.inputs[0], view, depth)
        if node.op == "Reshape":
            return self._target(node, sizes, view, depth)
        if sizes is None:
            return None
        rank = len(sizes)
        if node.op == "Flatten":
            axis = attribute(node, "axis", view.opset)
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
        self, node: gs.Node, sizes: Sequence[Size] | None, view: View, depth: int
    ) -> Shape | None:
        asked = self.asked(node, view, depth)
        if asked is None:
            return None
        found: list[Size] = list(asked)
        rest: int | None = None
        for place, size in enumerate(found):
            number = None if size is None else size.number
            if number == 0 and not node.attrs.get("allowzero", 0):
                known = sizes is not None and place < len(sizes)
                found[place] = sizes[place] if known and sizes is not None else None
            elif number == -1:
                rest, found[place] = place, None
        pairs = () if node.attrs.get("allowzero", 0) else zip(asked, sizes or (), strict=False)
        if rest is not None and any(_copies_where_zero(*pair) for pair in pairs):
            return None
        if rest is not None and sizes is not None:
            whole, others = _product(sizes), _product(found[:rest] + found[rest + 1 :])
            found[rest] = None if whole is None or others is None else whole.over(others)
        return tuple(found)

    def asked(self, node: gs.Node, view: View, depth: int = 0) -> Shape | None:
        """Return the target of a Reshape as it is written, 0 and -1 in it."""
        target = read_parameter(node, "shape", view)
        if target.values is not None:
            held = of_numbers(target.values)
        else:
            held = None if target.position is None else self.held(node.inputs[1], view, depth)
        return None if held is None or held.ndim != 1 else tuple(held)

    def refused(self, node: gs.Node, view: View) -> frozenset[SymbolicSize]:
        """Return the sizes that a Reshape cannot do with where they are zero, beside its -1."""
        asked = self.asked(node, view) if node.op == "Reshape" else None
        numbers = [None if size is None else size.number for size in asked or ()]
        result = self.reshaped(node, view) if -1 in numbers else None
        pairs = zip(result or (), numbers, strict=False)
        return frozenset(s for s, number in pairs if number != -1 and s is not None and s.low <= 0)

    def numbers(self, tensor: gs.Tensor, view: View) -> Array | None:
        """Return what `tensor` holds where that follows from sizes, and none of them has a name."""
        found = numbers_in(self.held(tensor, view))
        dtype = None if found is None else view.dtype(tensor)
        return None if found is None or dtype is None else found.astype(dtype)

    def held(self, tensor: gs.Tensor, view: View, depth: int = 0) -> Array | None:
        """Return the elements of a small tensor of sizes; None where nothing is known of them."""
        if id(tensor) in self._held:
            return self._held[id(tensor)][1]
        if depth >= _DEEPEST:
            return None
        values = view.constant(tensor)
        found = self._computed(tensor, view, depth + 1) if values is None else of_numbers(values)
        self._held[id(tensor)] = (tensor, found)
        return found

    def _computed(self, tensor: gs.Tensor, view: View, depth: int) -> Array | None:
        node = view.producer(tensor)
        if node is None or not is_standard(node) or not may_hold_sizes(node):
            return None
        dtype = view.dtype(tensor)
        if dtype is None or dtype.kind not in "iufb":
            return None
        if not _is_small(view.shape(tensor)):
            return None
        found = self._evaluated(node, tensor, view, depth)
        if found is None or found.size > MOST_ELEMENTS:
            return None
        return representable(found, dtype)

    def _evaluated(self, node: gs.Node, tensor: gs.Tensor, view: View, depth: int) -> Array | None:
        known = _Known(self, node, view, depth)
        if node.op in _OF_SHAPES:
            sizes = known.shape(0)
            return None if sizes is None else _OF_SHAPES[node.op](node, sizes)
        if node.op == "Split":
            parts = split(node, view, known.elements)
            places = [place for place, made in enumerate(node.outputs) if made is tensor]
            return None if parts is None else parts[places[0]]
        return RULES[node.op](node, view, known.elements)


@dataclass(frozen=True)
class _Known:
    """What is known of the operands of one node."""

    arithmetic: ShapeArithmetic
    node: gs.Node
    view: View
    depth: int

    def shape(self, position: int) -> Shape | None:
        tensor = self._input(position)
        return None if tensor is None else self.arithmetic.shape(tensor, self.view, self.depth)

    def elements(self, position: int) -> Array | None:
        tensor = self._input(position)
        return None if tensor is None else self.arithmetic.held(tensor, self.view, self.depth)

    def _input(self, position: int) -> gs.Tensor | None:
        inputs = self.node.inputs
        return inputs[position] if position < len(inputs) and inputs[position].name else None


def is_reshape(node: gs.Node) -> bool:
    """Say whether `node` gives the elements of its first input, in order, another shape."""
    return node.op in RESHAPES and is_standard(node)


def _copies_where_zero(asked: Size, size: Size) -> bool:
    """Say whether a size that is asked for may be zero, and then copies one that is not."""
    if asked is None or asked.number is not None or asked.low > 0:
        return False
    return size is None or len(asked.terms) > 1 or not asked.atoms <= size.atoms


def _is_small(shape: Sequence[int | str | None] | None) -> bool:
    """Say whether a tensor of this shape may be one of few elements."""
    known = [size for size in shape or () if isinstance(size, int)]
    static = shape is None or len(known) == len(shape)
    return static and math.prod(known) <= MOST_ELEMENTS


def _elements_of_shape(node: gs.Node, sizes: Shape) -> Array:
    return array_of(sizes[node.attrs.get("start", 0) : node.attrs.get("end")])


def _number_of_elements(node: gs.Node, sizes: Shape) -> Array:
    return array_of([_product(sizes)], ())


_OF_SHAPES: dict[str, Callable[[gs.Node, Shape], Array]] = {
    "Shape": _elements_of_shape,
    "Size": _number_of_elements,
}


def may_hold_sizes(node: gs.Node) -> bool:
    """Say, from its operator alone, whether what a standard `node` gives may follow from sizes."""
    return node.op in RULES or node.op in _OF_SHAPES or node.op == "Split"


def _product(sizes: Sequence[Size]) -> Size:
    known = [size for size in sizes if size is not None]
    return product(known) if len(known) == len(sizes) else None
