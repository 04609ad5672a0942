"""Element types that operands say, of results that inference says nothing of.

An operator's type variable (`T`) takes one type at a time: a result of that variable has the type
of an operand of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core.variables import is_standard
from ...graph.uses import scopes
from ..traits.schemas import schema_of

DType = np.dtype[Any]
Known = Callable[[gs.Tensor], DType | None]


def element_types(graph: gs.Graph, known: Known) -> dict[int, DType]:
    """Return by id the element types of results in `graph` and its bodies that `known` lacks."""
    found: dict[int, DType] = {}

    def dtype(tensor: gs.Tensor) -> DType | None:
        return found.get(id(tensor)) or known(tensor)

    for scope in scopes(graph):
        for node in filter(is_standard, scope.nodes):
            if all(dtype(tensor) is not None for tensor in node.outputs if tensor.name):
                continue
            for tensor, like in _tied(node, scope.opset):
                kind = dtype(like)
                if kind is not None and dtype(tensor) is None:
                    found[id(tensor)] = kind
    return found


def _tied(node: gs.Node, opset: int) -> Iterator[tuple[gs.Tensor, gs.Tensor]]:
    """Yield results with operands of the same type variable."""
    schema = schema_of(node.op, opset)
    if schema is None:
        return
    operands = list(_variables(schema, schema.inputs, node.inputs))
    for variable, tensor in _variables(schema, schema.outputs, node.outputs):
        yield from ((tensor, like) for same, like in operands if same == variable)


def _variables(
    schema: Any, ports: Sequence[Any], tensors: Sequence[gs.Tensor]
) -> Iterator[tuple[str, gs.Tensor]]:
    """Yield `tensors` with their type variables; each element of a mixed list has its own type."""
    names = {constraint.type_param_str for constraint in schema.type_constraints}
    for position, tensor in enumerate(tensors if ports else ()):
        port = ports[min(position, len(ports) - 1)]
        if tensor.name and port.is_homogeneous and port.type_str in names:
            yield port.type_str, tensor
