"""What operators make of sizes: arithmetic over arrays whose elements are symbolic.

Exporters write shapes as small integer tensors (Shape, Gather, Concat, Mul, Equal, Where, ...).
Each rule computes one operator as numpy would, over arrays of `SymbolicSize`; an element that is
not known is None. Truth is 0 or 1.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.axes.permutation import perm_of
from ....ir.ops.axes.reductions import read_reduction
from ....ir.ops.slices import read_slice
from ....ir.ops.traits import attribute, operators_with
from ....ir.ops.traits.groups import RESHAPES
from ....ir.ops.traits.model import Kind
from .symbolic import ONE, ZERO, SymbolicSize

Array = np.ndarray[Any, Any]
Size = SymbolicSize | None
MOST_ELEMENTS = 64


class Operands(Protocol):
    """The elements of the operands of one node; None for those that are not known."""

    def __call__(self, position: int) -> Array | None:
        """Return the elements of the input at `position`."""


Rule = Callable[[gs.Node, View, Operands], Array | None]


def array_of(elements: Sequence[Size], shape: Sequence[int] | None = None) -> Array:
    """Return an array of sizes, a list of them by default."""
    made = np.empty(len(elements), object)
    made[:] = elements
    return made if shape is None else made.reshape(shape)


def of_numbers(values: Array) -> Array | None:
    """Return the elements of a constant, None where they are many or no whole numbers."""
    if values.size > MOST_ELEMENTS or values.dtype.kind not in "iufb":
        return None
    if not all(float(v).is_integer() for v in values.reshape(-1)):
        return None
    return array_of([SymbolicSize.of(int(v)) for v in values.reshape(-1)], values.shape)


def numbers_in(elements: Array | None) -> Array | None:
    """Return the elements as integers where all of them are numbers."""
    if elements is None:
        return None
    numbers = [None if size is None else size.number for size in elements.reshape(-1)]
    if any(number is None or abs(number) >= 1 << 63 for number in numbers):
        return None
    return np.array(numbers, np.int64).reshape(elements.shape)


def _each(make: Callable[..., Size], *operands: Array | None) -> Array | None:
    """Apply `make` to the elements of operands that are broadcast; it sees known ones alone."""
    if any(operand is None for operand in operands):
        return None
    shapes = [operand.shape for operand in operands if operand is not None]
    shape = np.broadcast_shapes(*shapes)
    flat = [np.broadcast_to(o, shape).reshape(-1) for o in operands if o is not None]
    found = [None if None in each else make(*each) for each in zip(*flat, strict=True)]
    return array_of(found, shape)


def _pairwise(make: Callable[[SymbolicSize, SymbolicSize], Size]) -> Rule:
    def rule(node: gs.Node, view: View, operands: Operands) -> Array | None:
        return _folded(make, [operands(position) for position in range(len(node.inputs))])

    return rule


def _folded(
    make: Callable[[SymbolicSize, SymbolicSize], Size], operands: Sequence[Array | None]
) -> Array | None:
    total = operands[0]
    for operand in operands[1:]:
        total = _each(make, total, operand)
    return total


def _divided(node: gs.Node, view: View, operands: Operands) -> Array | None:
    dtype = view.dtype(node.outputs[0])
    whole = dtype is not None and dtype.kind in "iu"
    return _each(_quotient if whole else SymbolicSize.over, operands(0), operands(1))


def _quotient(a: SymbolicSize, b: SymbolicSize) -> Size:
    """Return the quotient of integers, rounded towards zero."""
    if a.number is not None and b.number:
        whole = abs(a.number) // abs(b.number)
        return SymbolicSize.of(whole if (a.number < 0) == (b.number < 0) else -whole)
    return a.over(b)


def _remainder(a: SymbolicSize, b: SymbolicSize) -> Size:
    if a.number is not None and a.number >= 0 and b.number is not None and b.number > 0:
        return SymbolicSize.of(a.number % b.number)
    return None if a.over(b) is None else ZERO


def _larger(a: SymbolicSize, b: SymbolicSize) -> Size:
    difference = a - b
    return a if difference.low >= 0 else b if difference.high <= 0 else None


def _smaller(a: SymbolicSize, b: SymbolicSize) -> Size:
    difference = a - b
    return b if difference.low >= 0 else a if difference.high <= 0 else None


def _truth(yes: bool, no: bool) -> Size:
    return ONE if yes else ZERO if no else None


def _equal(a: SymbolicSize, b: SymbolicSize) -> Size:
    difference = a - b
    return _truth(difference == ZERO, difference.low > 0 or difference.high < 0)


def _greater(a: SymbolicSize, b: SymbolicSize) -> Size:
    difference = a - b
    return _truth(difference.low > 0, difference.high <= 0)


def _no_less(a: SymbolicSize, b: SymbolicSize) -> Size:
    difference = a - b
    return _truth(difference.low >= 0, difference.high < 0)


def _both(a: SymbolicSize, b: SymbolicSize) -> Size:
    return _truth(a == b == ONE, ZERO in (a, b))


def _either(a: SymbolicSize, b: SymbolicSize) -> Size:
    return _truth(ONE in (a, b), a == b == ZERO)


def _unary(make: Callable[[SymbolicSize], Size]) -> Rule:
    return lambda node, view, operands: _each(make, operands(0))


def _absolute(a: SymbolicSize) -> Size:
    return a if a.low >= 0 else -a if a.high <= 0 else None


def _where(node: gs.Node, view: View, operands: Operands) -> Array | None:
    found = [operands(position) for position in range(3)]
    if any(elements is None for elements in found):
        return None
    shape = np.broadcast_shapes(*(e.shape for e in found if e is not None))
    flat = [np.broadcast_to(e, shape).reshape(-1) for e in found if e is not None]
    picked = [
        yes if chosen == ONE or yes == no else no if chosen == ZERO else None
        for chosen, yes, no in zip(*flat, strict=True)
    ]
    return array_of(picked, shape)


def _cast(node: gs.Node, view: View, operands: Operands) -> Array | None:
    dtype = view.dtype(node.outputs[0])
    if dtype is None or dtype.kind != "b":
        return operands(0)
    return _each(lambda a: _truth(a.low > 0 or a.high < 0, a == ZERO), operands(0))


def _same(node: gs.Node, view: View, operands: Operands) -> Array | None:
    return operands(0)


def _concat(node: gs.Node, view: View, operands: Operands) -> Array | None:
    parts = [operands(position) for position in range(len(node.inputs))]
    known = [part for part in parts if part is not None]
    axis = attribute(node, "axis", view.opset)
    if len(known) < len(parts) or not all(-part.ndim <= axis < part.ndim for part in known):
        return None
    return np.concatenate(known, axis)


def _gather(node: gs.Node, view: View, operands: Operands) -> Array | None:
    data, indices = operands(0), numbers_in(operands(1))
    axis = attribute(node, "axis", view.opset)
    if data is None or indices is None or not -data.ndim <= axis < data.ndim:
        return None
    size = data.shape[axis]
    inside = bool(np.all((-size <= indices) & (indices < size)))
    return np.asarray(np.take(data, indices, axis), object) if inside else None


def _slice(node: gs.Node, view: View, operands: Operands) -> Array | None:
    data, cut = operands(0), read_slice(node, view)
    if data is None or cut is None or any(axis >= data.ndim for axis in cut):
        return None
    return data[tuple(cut.get(axis, slice(None)) for axis in range(data.ndim))]


def split(node: gs.Node, view: View, operands: Operands) -> list[Array] | None:
    """Return the parts of a Split, whose sizes inference knows."""
    data = operands(0)
    axis = attribute(node, "axis", view.opset)
    if data is None or not -data.ndim <= axis < data.ndim:
        return None
    shapes = [view.shape(tensor) for tensor in node.outputs]
    sizes = [None if shape is None else shape[axis] for shape in shapes]
    known = [size for size in sizes if isinstance(size, int)]
    if len(known) < len(sizes) or sum(known) != data.shape[axis]:
        return None
    return np.split(data, list(itertools.accumulate(known))[:-1], axis)


def _static_shape(node: gs.Node, view: View) -> tuple[int, ...] | None:
    shape = view.shape(node.outputs[0])
    known = [size for size in shape or () if isinstance(size, int)]
    if shape is None or len(known) < len(shape) or np.prod(known, dtype=float) > MOST_ELEMENTS:
        return None
    return tuple(known)


def _regrouped(node: gs.Node, view: View, operands: Operands) -> Array | None:
    data, shape = operands(0), _static_shape(node, view)
    if data is None or shape is None or data.size != np.prod(shape, dtype=int):
        return None
    return data.reshape(shape)


def _transpose(node: gs.Node, view: View, operands: Operands) -> Array | None:
    data, perm = operands(0), perm_of(node, view)
    return None if data is None or perm is None else data.transpose(perm)


def _expand(node: gs.Node, view: View, operands: Operands) -> Array | None:
    data, shape = operands(0), _static_shape(node, view)
    return None if data is None or shape is None else np.broadcast_to(data, shape)


def _tile(node: gs.Node, view: View, operands: Operands) -> Array | None:
    data, repeats = operands(0), numbers_in(operands(1))
    if data is None or repeats is None or data.size * np.prod(repeats) > MOST_ELEMENTS:
        return None
    return np.tile(data, repeats.tolist())


def _filled(node: gs.Node, view: View, operands: Operands) -> Array | None:
    shape, value = _static_shape(node, view), node.attrs.get("value")
    one = np.zeros(1, np.int64) if value is None else np.asarray(value.values).reshape(-1)
    element = of_numbers(one)
    if shape is None or element is None:
        return None
    return np.broadcast_to(element.reshape(()), shape)


def _range(node: gs.Node, view: View, operands: Operands) -> Array | None:
    bounds = [numbers_in(operands(position)) for position in range(3)]
    values = [int(bound) for bound in bounds if bound is not None and bound.ndim == 0]
    if len(values) < 3 or not values[2]:
        return None
    counted = range(*values)
    return of_numbers(np.array(counted)) if len(counted) <= MOST_ELEMENTS else None


def _reduced(make: Callable[[SymbolicSize, SymbolicSize], Size]) -> Rule:
    def rule(node: gs.Node, view: View, operands: Operands) -> Array | None:
        data, found = operands(0), read_reduction(node, view)
        if data is None or not data.size or found is None or found.rank != data.ndim:
            return None
        if not found.axes:
            return data
        moved = np.moveaxis(data, found.axes, range(-len(found.axes), 0))
        rows = moved.reshape(*moved.shape[: -len(found.axes)], -1)
        columns = [np.asarray(rows[..., column], object) for column in range(rows.shape[-1])]
        total = _folded(make, columns)
        kept = [1 if axis in found.axes else size for axis, size in enumerate(data.shape)]
        return total.reshape(kept) if found.keepdims and total is not None else total

    return rule


# Nothing that rounds up or down to whole numbers changes one.
_AS_THEY_ARE = operators_with(lambda t: t.gives_back == Kind.INTEGRAL) | {"Identity"}

# Of all that takes integers, what exporters compute sizes with.
RULES: dict[str, Rule] = {
    **dict.fromkeys(_AS_THEY_ARE, _same),
    **dict.fromkeys(RESHAPES, _regrouped),
    "Cast": _cast,
    "Add": _pairwise(SymbolicSize.__add__),
    "Sub": _pairwise(SymbolicSize.__sub__),
    "Mul": _pairwise(SymbolicSize.__mul__),
    "Div": _divided,
    "Mod": _pairwise(_remainder),
    "Max": _pairwise(_larger),
    "Min": _pairwise(_smaller),
    "Neg": _unary(SymbolicSize.__neg__),
    "Abs": _unary(_absolute),
    "Equal": _pairwise(_equal),
    "Greater": _pairwise(_greater),
    "GreaterOrEqual": _pairwise(_no_less),
    "Less": _pairwise(lambda a, b: _greater(b, a)),
    "LessOrEqual": _pairwise(lambda a, b: _no_less(b, a)),
    "And": _pairwise(_both),
    "Or": _pairwise(_either),
    "Not": _unary(lambda a: ONE - a),
    "Where": _where,
    "Concat": _concat,
    "Gather": _gather,
    "Slice": _slice,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
    "ConstantOfShape": _filled,
    "Range": _range,
    "ReduceSum": _reduced(SymbolicSize.__add__),
    "ReduceProd": _reduced(SymbolicSize.__mul__),
    "ReduceMax": _reduced(_larger),
    "ReduceMin": _reduced(_smaller),
}


def representable(elements: Array, dtype: np.dtype[Any]) -> Array:
    """Return the elements that a tensor of `dtype` holds exactly; None for the others.

    Names stand for sizes of tensors, which integers of 32 bits hold; a product of two in a float
    may have been rounded.
    """
    return array_of([_fitting(e, dtype) for e in elements.reshape(-1)], elements.shape)


def _fitting(size: Size, dtype: np.dtype[Any]) -> Size:
    if size is None or size.number is None:
        wide = dtype.itemsize >= 4 and (size is None or dtype.kind in "iu" or size.degree < 2)
        return size if wide or dtype.kind == "b" else None
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return size if limits.min <= size.number <= limits.max else None
    exact = dtype.kind == "b" or float(np.asarray(size.number).astype(dtype)) == size.number
    return size if exact else None
