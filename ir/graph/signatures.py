"""Whether the nodes of a graph are what their operators' schemas ask for: inputs, attributes.

Passes read inputs by position and attributes by name. A runtime refuses a node that lacks what its
operator needs, so a model that has one is refused when it is read, and not where a pass trips.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class _Counts:
    """How many an operator takes or gives, and which of them it needs, with their names."""

    least: int
    most: int
    names: tuple[str, ...]
    needed: tuple[int, ...]


@dataclass(frozen=True)
class _Declared:
    """What a schema says, which costs more to ask than to keep."""

    inputs: _Counts
    outputs: _Counts
    attributes: Mapping[str, Any]  # their kinds
    required: tuple[str, ...]


@functools.lru_cache(maxsize=4096)
def _declared(op: str, opset: int) -> _Declared | None:
    if not onnx.defs.has(op, max_inclusive_version=opset):
        return None
    found = onnx.defs.get_schema(op, opset)
    if found.deprecated:
        return None
    needed = tuple(at for at, port in enumerate(found.inputs) if port.option == _SINGLE)
    names = tuple(port.name for port in found.inputs)
    return _Declared(
        _Counts(found.min_input, found.max_input, names, needed),
        _Counts(found.min_output, found.max_output, (), ()),
        {name: declared.type for name, declared in found.attributes.items()},
        tuple(name for name, declared in found.attributes.items() if declared.required),
    )


def _check(node: gs.Node, opset: int) -> None:
    signature = _declared(node.op, opset) if is_standard(node) else None
    if signature is not None:
        _check_ports(node, "input", node.inputs, signature.inputs)
        _check_ports(node, "output", node.outputs, signature.outputs)
        _check_attributes(node, signature)


def _check_ports(node: gs.Node, word: str, tensors: Sequence[gs.Tensor], ports: _Counts) -> None:
    count, least, most = len(tensors), ports.least, ports.most
    if not least <= count <= most:
        takes = least if least == most else f"{least} or more"
        takes = f"at most {most}" if count > most else takes
        raise GraphError(f"node {label(node)} has {count} {word}s; its operator has {takes}")
    for at in ports.needed:
        if at < count and tensors[at].is_empty():
            raise GraphError(
                f"node {label(node)} lacks its {word} '{ports.names[at]}', which its operator needs"
            )


def _check_attributes(node: gs.Node, signature: _Declared) -> None:
    for name in signature.required:
        if name not in node.attrs:
            raise GraphError(
                f"node {label(node)} lacks attribute '{name}', which its operator needs"
            )
    for name, value in node.attrs.items():
        kind = signature.attributes.get(name)
        if kind is not None and not _fits(value, kind):
            raise GraphError(
                f"attribute '{name}' of node {label(node)} is {value!r:.60}; its "
                f"operator takes {kind.name}"
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
