"""Nodes on which ONNX Runtime ends the process, which no `except` survives: they are refused.

Seen in ONNX Runtime 1.32: kernels read and write all of any number of tensors, of which one may be
left out; a GatherND counts its batch from behind, and reads before the begin of a shape; an STFT
takes the length of its window from the first axis, which a scalar has not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
import onnx_graphsurgeon as gs

from ..core.errors import ExecutionError
from ..core.variables import dense_values, is_standard, label
from ..graph.uses import scopes
from ..ops.axes.batch import batch_is_counted_from_behind
from ..ops.traits.schemas import schema_of

_VARIADIC = onnx.defs.OpSchema.FormalParameterOption.Variadic
_WINDOW = 2


def refuse_fatal(graph: gs.Graph) -> None:
    """Raise ExecutionError for a node that would end the process, in any body of `graph`."""
    for body in (graph, *graph.functions):
        for scope in scopes(body):
            for node in scope.nodes:
                problem = _problem(node, graph.opset) if is_standard(node) else ""
                if problem:
                    raise ExecutionError(f"ONNX Runtime does not run {label(node)}, {problem}")


def _problem(node: gs.Node, opset: int) -> str:
    if node.op == "GatherND" and batch_is_counted_from_behind(node):
        return "whose batch_dims is below 0; count from the first axis"
    if node.op == "STFT" and len(node.inputs) > _WINDOW and _is_scalar(node.inputs[_WINDOW]):
        return "whose window is a scalar; give it one axis"
    if _leaves_out(node, opset):
        return "of which one of any number of tensors is left out; name it"
    return ""


def _is_scalar(tensor: gs.Tensor) -> bool:
    values = dense_values(tensor)
    shape = tensor.shape if values is None else values.shape
    return not tensor.is_empty() and shape is not None and len(shape) == 0


def _leaves_out(node: gs.Node, opset: int) -> bool:
    if all(tensor.name for tensor in (*node.inputs, *node.outputs)):
        return False
    schema = schema_of(node.op, opset)
    return schema is not None and (
        _omits(node.inputs, schema.inputs) or _omits(node.outputs, schema.outputs)
    )


def _omits(tensors: Sequence[gs.Tensor], ports: Sequence[Any]) -> bool:
    """Say whether one of those is left out that the last of `ports` takes any number of."""
    last = len(ports) - 1
    if last < 0 or ports[last].option != _VARIADIC:
        return False
    return any(tensor.is_empty() for tensor in tensors[last:])
