"""An attribute as GraphSurgeon holds it -> AttributeProto."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto
from onnx_graphsurgeon.util.misc import convert_to_onnx_attr_type

from ..core.errors import GraphError
from ..core.variables import EmptyList, label


def write_attribute(
    name: str,
    value: Any,
    proto: AttributeProto,
    node: gs.Node | None,
    opset: int,
    write_graph: Callable[[gs.Graph, onnx.GraphProto], None],
    write_tensor: Callable[[gs.Constant, onnx.TensorProto], None],
) -> None:
    """Write one attribute of `node`, or a default of a function (None), into `proto`.

    `write_graph` and `write_tensor` write a graph or a tensor that is the value. Raises GraphError
    for what ONNX cannot hold.
    """
    proto.name = name
    if type(value) is int:
        proto.type, proto.i = AttributeProto.INT, value
    elif type(value) is float:
        proto.type, proto.f = AttributeProto.FLOAT, value
    elif type(value) is str:
        proto.type, proto.s = AttributeProto.STRING, value.encode()
    elif type(value) is list and set(map(type, value)) == {int}:
        proto.type = AttributeProto.INTS
        proto.ints.extend(value)
    elif isinstance(value, AttributeProto):
        proto.CopyFrom(value)
    elif isinstance(value, gs.Graph):
        proto.type = AttributeProto.GRAPH
        write_graph(value, proto.g)
    elif isinstance(value, gs.Tensor):
        proto.type = AttributeProto.TENSOR
        write_tensor(value, proto.t)
    elif isinstance(value, gs.Node.AttributeRef):
        proto.type = convert_to_onnx_attr_type(value.type)
        proto.ref_attr_name = value.name
    else:
        try:
            kind = _empty_kind(node, name, value, opset) if _is_empty_list(value) else None
            made = onnx.helper.make_attribute(name, _plain(value), attr_type=kind)
        except (TypeError, ValueError) as error:
            where = "a function's default" if node is None else f"node {label(node)}"
            raise GraphError(
                f"attribute '{name}' of {where} is {value!r}, which ONNX cannot hold: {error}"
            ) from error
        proto.CopyFrom(made)


def _empty_kind(node: gs.Node | None, name: str, value: Any, opset: int) -> int:
    """Return the kind of an empty list attribute: its own, or what the operator declares."""
    if isinstance(value, EmptyList):
        return value.kind
    if node is not None and onnx.defs.has(node.op, node.domain or ""):
        declared = onnx.defs.get_schema(node.op, opset, node.domain or "").attributes
        if name in declared:
            return int(declared[name].type.value)
    return int(AttributeProto.INTS)


def _is_empty_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and not value


def _plain(value: Any) -> Any:
    """Return numpy scalars and arrays, which scripts like to set, as plain Python values."""
    return value.tolist() if hasattr(value, "tolist") else value
