"""Whether the nodes of a graph are what their operators' schemas ask for: inputs, attributes.

Passes read inputs by position and attributes by name. A runtime refuses a node that lacks what its
operator needs, so a model that has one is refused when it is read, and not where a pass trips.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..core.errors import GraphError
from ..core.variables import EmptyList, is_standard, label
from .uses import scopes

_SINGLE = onnx.defs.OpSchema.FormalParameterOption.Single
_KINDS = onnx.defs.OpSchema.AttrType
_NUMBERS = (int, float, np.integer, np.floating)
_WHOLE = (int, np.integer)
# What GraphSurgeon holds for an attribute of each type that passes read.
_HELD: dict[Any, tuple[type, ...]] = {
    _KINDS.FLOAT: _NUMBERS,
    _KINDS.INT: _WHOLE,
    _KINDS.STRING: (str, bytes),
    _KINDS.GRAPH: (gs.Graph,),
}
_LISTED: dict[Any, tuple[type, ...]] = {
    _KINDS.FLOATS: _NUMBERS,
    _KINDS.INTS: _WHOLE,
    _KINDS.STRINGS: (str, bytes),
}


def check_signatures(graph: gs.Graph) -> None:
    """Raise GraphError, naming node and operator, where a standard node lacks what it needs.

    Subgraphs and local functions are included. Operators that the opset does not have, and those of
    other domains, are left to the runtime.
    """
    for scope in scopes(graph):
        for node in scope.nodes:
            _check(node, graph.opset)
    for function in graph.functions:
        opset = next((e.version for e in function.import_domains or () if not e.domain), None)
        for scope in scopes(function):
            for node in scope.nodes:
                _check(node, graph.opset if opset is None else opset)


@functools.lru_cache(maxsize=4096)
def _schema(op: str, opset: int) -> Any | None:
    if not onnx.defs.has(op, max_inclusive_version=opset):
        return None
    found = onnx.defs.get_schema(op, opset)
    return None if found.deprecated else found


def _check(node: gs.Node, opset: int) -> None:
    schema = _schema(node.op, opset) if is_standard(node) else None
    if schema is not None:
        _check_inputs(node, schema)
        _check_attributes(node, schema)


def _check_inputs(node: gs.Node, schema: Any) -> None:
    for word, tensors, ports, least, most in (
        ("input", node.inputs, schema.inputs, schema.min_input, schema.max_input),
        ("output", node.outputs, schema.outputs, schema.min_output, schema.max_output),
    ):
        count = len(tensors)
        if not least <= count <= most:
            takes = least if least == most else f"{least} or more"
            takes = f"at most {most}" if count > most else takes
            raise GraphError(f"node {label(node)} has {count} {word}s; its operator has {takes}")
        for tensor, port in zip(tensors, ports, strict=False):
            if port.option == _SINGLE and word == "input" and tensor.is_empty():
                raise GraphError(
                    f"node {label(node)} lacks its input '{port.name}', which its operator needs"
                )


def _check_attributes(node: gs.Node, schema: Any) -> None:
    for name, declared in schema.attributes.items():
        if name not in node.attrs:
            if declared.required:
                raise GraphError(
                    f"node {label(node)} lacks attribute '{name}', which its operator needs"
                )
        elif not _fits(node.attrs[name], declared.type):
            raise GraphError(
                f"attribute '{name}' of node {label(node)} is {node.attrs[name]!r:.60}; its "
                f"operator takes {declared.type.name}"
            )


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(value, gs.Node.AttributeRef):
        return True
    if isinstance(value, onnx.AttributeProto):  # a string that is no text
        return (kind not in _HELD and kind not in _LISTED) or value.type == int(kind)
    if kind in _LISTED:
        listed = isinstance(value, list | tuple)
        return isinstance(value, EmptyList) or (
            listed and all(isinstance(v, _LISTED[kind]) for v in value)
        )
    return kind not in _HELD or isinstance(value, _HELD[kind])
