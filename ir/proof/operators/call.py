"""What the rule of an operator is given."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core import dtypes
from ...graph.declared import function_version
from ...ops.jumps import jumps
from ...ops.traits import attribute
from ..applications import Applications
from ..magnitudes import Magnitudes
from ..residues import Primes
from ..scales import Scale
from ..sparse import SparseDraw
from ..values import POINTS, Array, PointValues, UnsupportedError, require_few, spread

ResultType = tuple[tuple[int, ...], np.dtype[Any]]
Body = Callable[[gs.Graph, Sequence[PointValues]], list[PointValues]]


class Setting:
    """What evaluation of both sides of a window shares.

    - `applications`: of the functions of which nothing is known.
    - `primes`: of the fields in which integers are.
    - `free`: whether arithmetic of floats is among them. What is equal then is equal to the last
      bit, of infinities and NaN too.
    - `rounded`: whether each result is rounded to its type.
    - `scale`: of the numbers that enter, None for usual ones. At others, functions on pieces and
      quotients are computed.
    - `magnitudes`: where numbers are looked at by the size of their terms alone.
    - `affine`: whether nothing was multiplied by what varies as well: set by the rules.
    - `algebra`: whether laws of arithmetic may have been used: set by the rules.
    """

    def __init__(
        self,
        applications: Applications,
        primes: Primes,
        *,
        free: bool,
        rounded: bool = False,
        scale: Scale | SparseDraw | None = None,
        magnitudes: Magnitudes | None = None,
    ) -> None:
        self.applications = applications
        self.primes = primes
        self.free = free
        self.rounded = rounded
        self.scale = scale
        self.magnitudes = magnitudes
        self.algebra = False
        self.affine = True


@dataclass(frozen=True)
class Call:
    """A node with the values that it reads, None where an optional one is left out."""

    node: gs.Node
    inputs: Sequence[PointValues | None]
    opset: int
    setting: Setting
    _: KW_ONLY
    result_types: Callable[[], list[ResultType]] | None = None  # as inference finds them
    bodies: Body | None = None  # computes a graph inside the node from its inputs

    @property
    def op(self) -> str:
        """The operator."""
        return str(self.node.op)

    @property
    def x(self) -> PointValues:
        """The first input."""
        return self.value(0)

    def value(self, position: int) -> PointValues:
        """Return an input that has to be there."""
        found = self.given(position)
        if found is None:
            raise UnsupportedError(f"{self.op} without its input {position}")
        return found

    def given(self, position: int) -> PointValues | None:
        """Return an input, None where it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def values(self) -> list[PointValues]:
        """Return the inputs that are there."""
        return [value for value in self.inputs if value is not None]

    def attribute(self, name: str) -> Any:
        """Return an attribute, or its default: floats as a file holds them, in 32 bits."""
        found = attribute(self.node, name, self.opset)
        if isinstance(found, gs.Node.AttributeRef):
            raise UnsupportedError(f"attribute {name} that a caller decides")
        if isinstance(found, float):
            return float(np.float32(found))
        return found.decode() if isinstance(found, bytes) else found

    def ints(self, name: str, position: int | None = None) -> list[int] | None:
        """Return a list of integers, from an attribute or, since some opset, from an input."""
        given = None if position is None else self.given(position)
        if given is not None:
            return [int(each) for each in given.fixed().reshape(-1)]
        found = self.attribute(name) if name in self.node.attrs else None
        return None if found is None else [int(each) for each in found]

    def body(self, name: str, inputs: Sequence[PointValues]) -> list[PointValues]:
        """Compute the graph that an attribute holds."""
        held = self.node.attrs[name]
        if self.bodies is None or not isinstance(held, gs.Graph):
            raise UnsupportedError(f"{self.op}")
        return self.bodies(held, inputs)

    def multiplies(self, values: Sequence[PointValues]) -> None:
        """Note that the rule multiplies `values`, of which several may vary."""
        if sum(not value.is_fixed for value in values) > 1:
            self.setting.affine = False

    def uses_algebra(self) -> None:
        """Note that the rule relies on laws of arithmetic, if any of its operands varies."""
        if not all(value.is_fixed for value in self.values()):
            self.setting.algebra = True


def broadcast(values: Sequence[PointValues]) -> list[Array]:
    """Return the arrays with as many axes each, so that they broadcast to each other."""
    rank = max(value.rank for value in values)
    require_few(POINTS, *np.broadcast_shapes(*(value.shape for value in values)))
    return [
        value.array.reshape(
            value.array.shape[:1] + (1,) * (rank - value.rank) + value.array.shape[1:]
        )
        for value in values
    ]


def unknown_elementwise(
    call: Call,
    values: Sequence[PointValues],
    dtype: Any,
    *,
    symmetric: bool = False,
    name: str = "",
) -> PointValues:
    """Apply the operator of `call` to each element, as a function of which nothing is known.

    `symmetric`: the order of its operands makes no difference. `name`: what the function is called,
    by default by operator and attributes.
    """
    whole = np.broadcast_arrays(*map(spread, broadcast(values)))
    symmetric = symmetric and len(whole) > 1
    arrays = [part for each in whole for part in in_floats(each)]
    shape = arrays[0].shape[1:]
    rows = np.stack([rows_of(each) for each in arrays], axis=1)
    if symmetric and len(arrays) == len(values):
        rows = sorted_rows(rows)
    function = ((name,) if name else named(call), types_of(values))
    found = call.setting.applications.rows(
        function,
        rows.reshape(len(rows), math.prod(rows.shape[1:])),
        jumps=jumps(call.node, call.opset),
        numbers=bool(dtypes.is_float(dtypes.numpy_dtype(dtype))),
    )
    return PointValues(found[:, 0].T.reshape(POINTS, *shape), dtypes.numpy_dtype(dtype))


def types_of(values: Sequence[PointValues]) -> tuple[str, ...]:
    """Return the element types of operands, which decide where functions round and overflow."""
    return tuple(dtypes.type_name(value.dtype) for value in values)


def in_floats(array: Array) -> list[Array]:
    """Return integers as numbers that float64 holds: in two parts where it does not."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8 or not _is_large(array):
        return [array]
    return [array >> 32, array & 0xFFFFFFFF]


def _is_large(array: Array) -> bool:
    return bool(array.size) and max(abs(int(array.min())), abs(int(array.max()))) >= 1 << 53


def rows_of(array: Array) -> Array:
    """Return the elements of a tensor at all points, one a row."""
    return array.reshape(POINTS, math.prod(array.shape[1:])).T


def sorted_rows(rows: Array) -> Array:
    """Return `rows` [n, operands, points] with the operands of each in one order."""
    known = np.where(np.isfinite(rows), rows, 0.0)
    along = known @ np.cos(np.arange(1.0, rows.shape[2] + 1))
    along = np.where(np.isfinite(rows).all(axis=2), along, np.inf)  # what is no number comes last
    order = np.argsort(along, axis=1, kind="stable")
    return np.take_along_axis(rows, order[:, :, None], axis=1)


def named(call: Call) -> tuple[Any, ...]:
    """Return what two nodes have in common that compute the same function of the same operands."""
    attributes = tuple(sorted((k, repr(v)) for k, v in call.node.attrs.items()))
    given = tuple(place for place, value in enumerate(call.inputs) if value is not None)
    version = function_version(call.op, call.opset)
    return (call.node.domain or "", call.op, version, attributes, given)
