"""A Reshape to a matrix that only linear layers read works in any layout: their rows move along.

flatten(transpose(x, p)) W = flatten(x) W'   with W' the rows of W, permuted, if p keeps axis 0
flatten(transpose(x, p)) = flatten(x)        if p moves axes of size one alone
"""

from __future__ import annotations

import math

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.axes.permutation import Order, moves_only_ones
from ....ir.ops.axes.ports import LayoutChange, Ports
from ....ir.ops.linear.operators import MATRIX_OPS, input_axis, reads_transposed
from ....ir.ops.parameters import read_parameter

_MOST_READERS = 4


def flattened(node: gs.Node, view: View) -> Ports | None:
    """Return the ports of a Flatten or Reshape from [N, ...] to [N, K] before constant weights."""
    shape, result = view.shape(node.inputs[0]), view.rank(node.outputs[0])
    if shape is None or len(shape) < 3 or result != 2:
        return None
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    rows = math.prod(sizes)
    # A target of zero would copy another size in another layout.
    if rows == 0 or len(sizes) != len(shape) - 1 or not _is_flatten(node, view, rows):
        return None
    layers = _layers(node.outputs[0], rows, view)
    if not layers and sum(size != 1 for size in sizes) > 1:
        return None

    def rebuild(order: Order) -> LayoutChange | None:
        if order[0] != 0:
            return None
        if moves_only_ones(shape, order):
            return LayoutChange()
        moved = [axis - 1 for axis in order[1:]]
        now = np.arange(rows).reshape(sizes).transpose(moved).reshape(-1)
        return LayoutChange(weights=tuple((r, 1, input_axis(r), now) for r in layers))

    return Ports(
        rank=len(shape), inputs={0: tuple(range(len(shape)))}, outputs={0: ()}, rebuild=rebuild
    )


def _layers(flat: gs.Tensor, rows: int, view: View) -> list[gs.Node]:
    """Return the readers of `flat` if they are linear layers of constant weight, else none."""
    readers = view.readers(flat)
    if view.is_output(flat) or len(readers) > _MOST_READERS:
        return []
    return readers if all(_is_layer(reader, flat, rows, view) for reader in readers) else []


def _is_flatten(node: gs.Node, view: View, rows: int) -> bool:
    if node.op == "Flatten":
        rank = view.rank(node.inputs[0])
        return node.attrs.get("axis", 1) in (1, 1 - (rank or 0))
    target = read_parameter(node, "shape", view).values
    if target is None or target.size != 2:
        return False
    batch = view.shape(node.inputs[0])
    first, second = (int(size) for size in target)
    whole = second == rows or (second == -1 and first != -1)
    return whole and (first in (0, -1) or first == (batch or (None,))[0])


def _is_layer(reader: gs.Node, x: gs.Tensor, rows: int, view: View) -> bool:
    inside = view.producer(reader.outputs[0]) is not None  # not in a body inside this graph
    if not inside or reader.op not in MATRIX_OPS or not is_standard(reader):
        return False
    if reads_transposed(reader) or [t is x for t in reader.inputs].index(True) != 0:
        return False
    weight = view.constant(reader.inputs[1])
    if weight is None or weight.ndim != 2 or any(t is x for t in reader.inputs[1:]):
        return False
    return bool(weight.shape[input_axis(reader)] == rows)
