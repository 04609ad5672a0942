"""Which integers of 64 bits a graph may be fed, where they are computed in 32.

Each tensor has a range, from constants, from what feeds may be, and from operators on integers. The
largest power of two is taken up to which no result can leave 32 bits; feeds beyond it are refused
when they come. What only sizes decide is small by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.constant_nodes import dense_value_of_constant_node
from ...ir.core.errors import BackendError
from ...ir.core.variables import is_standard, label
from ...ir.graph.types import Types
from ...ir.graph.uses import Uses
from ...ir.graph.view import View
from ...ir.ops.clips import Range, limits
from ...ir.ops.integer_range import UNBOUNDED, integer_range
from ...ir.ops.traits.lookup import traits_of
from ...ir.ops.traits.schemas import schema_of
from ...passes.analysis.value_range import value_range

_INT32 = np.iinfo(np.int32)
_BITS = 31


@dataclass(frozen=True)
class FeedLimit:
    """How far from zero integers may be that are fed, and what would leave 32 bits beyond that."""

    largest: int
    node: str


def feed_limit(graph: gs.Graph, types: Types) -> FeedLimit:
    """Return the limit of `graph`. Raises BackendError naming a node that has none."""
    view = View(graph, Uses(graph), types.of)
    leaving = None
    for bits in range(_BITS, -1, -1):
        largest = (1 << bits) - 1
        found = _leaving(graph, view, largest)
        if found is None:
            return FeedLimit(largest, "" if leaving is None else f"node {label(leaving)}")
        leaving = found
    assert leaving is not None
    raise BackendError(
        f"OpenVINO computes int64 in int32, which the results of node {label(leaving)} may leave; "
        "lower it to 'onnxruntime', or Clip in front of it"
    )


def _leaving(graph: gs.Graph, view: View, largest: int) -> gs.Node | None:
    """Return the first node whose results may leave 32 bits where feeds are up to `largest`."""
    ranges: dict[int, Range] = {id(tensor): (-largest, largest) for tensor in graph.inputs}
    sized: set[int] = set()
    fixed: set[int] = set()
    for node in graph.nodes:
        read = [t for t in node.inputs if not isinstance(t, gs.Constant) and t.name]
        variable = [t for t in read if id(t) not in fixed]
        if node.op in ("Shape", "Size") or (variable and all(id(t) in sized for t in variable)):
            sized.update(map(id, node.outputs))
            continue
        if not variable:
            fixed.update(map(id, node.outputs))
        for tensor in node.outputs:
            if not _is_wide(tensor, view):
                continue
            found = ranges[id(tensor)] = _range(node, tensor, view, ranges, sized)
            if not (_INT32.min <= found[0] <= found[1] <= _INT32.max):
                # The end of a Slice may be any number.
                if (found != UNBOUNDED and variable) or _counts(tensor, view):
                    return node
                ranges[id(tensor)] = _INT32.min, _INT32.max
    return None


def _range(
    node: gs.Node, tensor: gs.Tensor, view: View, ranges: dict[int, Range], sized: set[int]
) -> Range:
    operands = [_operand(tensor, view, ranges, sized) for tensor in node.inputs]
    shape = view.shape(node.inputs[0]) if node.inputs else None
    whole = shape is not None and all(isinstance(size, int) for size in shape)
    elements = math.prod(shape) if whole else None  # type: ignore[arg-type]
    if "value" in node.attrs or not node.inputs:  # Constant, ConstantOfShape
        return _between(dense_value_of_constant_node(node))
    if _is_place(node, tensor, view):
        return 0, _INT32.max if elements is None else elements
    if any(each is not None for each in operands):
        return integer_range(node, view.opset, operands, elements)
    low, high = value_range(node.inputs[0], view)
    return (low, high) if math.isfinite(low) and math.isfinite(high) else UNBOUNDED


def _operand(
    tensor: gs.Tensor, view: View, ranges: dict[int, Range], sized: set[int]
) -> Range | None:
    values = view.constant(tensor)
    dtype = view.dtype(tensor)
    if dtype is None or dtype.kind not in "iub":
        return None
    if values is not None:
        return _between(values)
    if id(tensor) in sized:
        return 0, _INT32.max
    if id(tensor) in ranges and _is_wide(tensor, view):
        return ranges[id(tensor)]
    return (0, 1) if dtype.kind == "b" else limits(dtype)


def _between(values: np.ndarray[Any, Any] | None) -> Range:
    if values is None:
        return UNBOUNDED
    return (int(values.min()), int(values.max())) if values.size else (0, 0)


def _is_place(node: gs.Node, tensor: gs.Tensor, view: View) -> bool:
    """Say whether `tensor` is int64 whatever `node` reads: places in that, as ArgMax gives."""
    schema = schema_of(node.op, view.opset) if is_standard(node) else None
    if schema is None:
        return False
    place = next(i for i, each in enumerate(node.outputs) if each is tensor)
    # Also by a type of its own that allows nothing else, as that of the indices of TopK.
    return set(schema.outputs[min(place, len(schema.outputs) - 1)].types) == {"tensor(int64)"}


def _counts(tensor: gs.Tensor, view: View) -> bool:
    """Say whether the value of `tensor` is more than a place in another: data, or an output."""
    return view.is_output(tensor) or any(True for _ in _data_readers(tensor, view))


def _data_readers(tensor: gs.Tensor, view: View) -> Iterator[gs.Node]:
    for node in view.readers(tensor):
        data = traits_of(node, view.opset).data_of(len(node.inputs))
        if any(node.inputs[i] is tensor for i in data):
            yield node


def _is_wide(tensor: gs.Tensor, view: View) -> bool:
    dtype = view.dtype(tensor)
    return dtype is not None and dtypes.type_name(dtype) == "int64"
