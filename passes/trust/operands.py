"""Sums whose operands cancel: how large the operands of an output are beside the output."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.errors import ExecutionError
from ...ir.graph.clone import clone
from ...ir.ops.shapes.infer import infer_types
from ...ir.ops.traits import Homogeneous, Movement, traits_of
from ...ir.run.reference import Arrays, Reference


def summed_operands(
    graph: gs.Graph,
    feeds: Sequence[Mapping[str, np.ndarray[Any, Any]]],
    outputs: Sequence[Arrays],
) -> dict[str, float]:
    """Return, for each output that is a sum, the size of the largest of its operands.

    Outputs that are moved sums count as well; those of other operators are left out, and so is
    what cannot be run.
    """
    copy = clone(graph)
    operands = {t.name: _operands(t, copy.opset) for t in copy.outputs if t.name in outputs[0]}
    wanted = {t.name: t for found in operands.values() for t in found}
    sizes = _sizes(copy, list(wanted.values()), feeds)
    found = {}
    for name, tensors in operands.items():
        largest = max((sizes.get(tensor.name, 0.0) for tensor in tensors), default=0.0)
        if largest:
            found[name] = largest
    return found


def _operands(output: gs.Tensor, opset: int) -> list[gs.Tensor]:
    """Return the tensors that are summed into `output`, seen through what only moves elements."""
    tensor = output
    while tensor.inputs:
        node = tensor.inputs[0]
        if traits_of(node, opset).movement is Movement.NONE:
            return [t for t in node.inputs if t.name] if sums(node, opset) else []
        tensor = node.inputs[0]
    return []


def sums(node: gs.Node, opset: int) -> bool:
    """Say whether `node` adds up what it reads: rounding of what is read stays where it cancels."""
    traits = traits_of(node, opset)
    return traits.homogeneous is not Homogeneous.UNKNOWN and not traits.exact


def _sizes(
    copy: gs.Graph, tensors: Sequence[gs.Tensor], feeds: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    types, shown = infer_types(copy), []
    sizes: dict[str, float] = {}
    for tensor in tensors:
        found = types.of(tensor)
        if isinstance(tensor, gs.Constant):
            sizes[tensor.name] = largest_of(np.asarray(tensor.values))
        elif found is not None and dtypes.is_float(found.dtype):
            tensor.dtype, tensor.shape = found.dtype, None
            shown.append(tensor)
    inputs = {id(t) for t in copy.inputs}
    copy.outputs = [t for t in shown if id(t) not in inputs]
    for feed in feeds:
        arrays = dict(feed)
        with contextlib.suppress(ExecutionError):
            arrays.update(Reference(copy)(feed) if copy.outputs else {})
        for tensor in shown:
            if tensor.name in arrays:
                size = largest_of(arrays[tensor.name])
                sizes[tensor.name] = max(sizes.get(tensor.name, 0.0), size)
    return sizes


def largest_of(array: np.ndarray[Any, Any]) -> float:
    """Return the size of the largest element that is finite, 0 where there is none."""
    if array.dtype.kind in "OUSb":
        return 0.0
    values = np.abs(array.astype(np.float64))
    return float(values[np.isfinite(values)].max(initial=0.0))
