"""What a local function computes, whatever its tensors and nodes are called.

Two bodies mean the same where the expressions of their outputs are the same trees: operators (of
one version), attributes with defaults filled in, constants by value, inputs by position.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx import AttributeProto

from ..core.constant_nodes import value_of_constant_node
from ..core.variables import dense_values, is_standard
from .declared import declared

_Names = Mapping[int, str]
_PLAIN = (int, float, str, bytes, gs.Node.AttributeRef)


def same_meaning(a: gs.Function, b: gs.Function) -> bool:
    """Say whether two local functions have the same inputs, attributes and outputs by meaning.

    False for some that compute the same in another way: algebra is not looked at.
    """
    return a is b or _same_text(a, b) or meaning(a) == meaning(b)


def _same_text(a: gs.Function, b: gs.Function) -> bool:
    """Say whether one is plainly a copy of the other, node by node, which is quick to see."""
    known = (a.opset, a.attrs.keys(), len(a.nodes)), (b.opset, b.attrs.keys(), len(b.nodes))
    if known[0] != known[1] or any(v is not None for f in (a, b) for v in f.attrs.values()):
        return False
    pairing = _Pairing()
    nodes = zip(a.nodes, b.nodes, strict=True)
    return (
        pairing.joins(a.inputs, b.inputs)
        and all(
            (x.op, x.domain) == (y.op, y.domain)
            and _same_attributes(x.attrs, y.attrs)
            and pairing.joins(x.inputs, y.inputs)
            and pairing.joins(x.outputs, y.outputs)
            for x, y in nodes
        )
        and pairing.joins(a.outputs, b.outputs)
    )


def _same_attributes(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return a.keys() == b.keys() and all(
        _is_plain(value) and repr(value) == repr(b[name]) for name, value in a.items()
    )


def _is_plain(value: Any) -> bool:
    return isinstance(value, _PLAIN) or (isinstance(value, list) and all(map(_is_plain, value)))


class _Pairing:
    """Which tensor of one body is which of another, constants by the array that both share."""

    def __init__(self) -> None:
        self._there: dict[int, int] = {}
        self._back: dict[int, int] = {}

    def joins(self, a: Sequence[gs.Tensor], b: Sequence[gs.Tensor]) -> bool:
        """Say whether the tensors of `a` can be those of `b`, as far as these are known."""
        return len(a) == len(b) and all(map(self._join, a, b))

    def _join(self, a: gs.Tensor, b: gs.Tensor) -> bool:
        if not a.name or not b.name:
            return bool(a.name) == bool(b.name)
        if isinstance(a, gs.Constant) or isinstance(b, gs.Constant):
            values = dense_values(a)
            return values is not None and values is dense_values(b)
        there = self._there.setdefault(id(a), id(b)) == id(b)
        return there and self._back.setdefault(id(b), id(a)) == id(a)


def meaning(function: gs.Function) -> tuple[Any, ...]:
    """Return what is equal for functions that mean the same, and differs for all others."""
    names = {id(t): f"input {at}" for at, t in enumerate(function.inputs)}
    attributes = sorted((name, _value(value, {}, 0)) for name, value in function.attrs.items())
    opset = int(function.opset)
    outputs = _Expressions(function, names, opset).of_outputs()
    return (len(function.inputs), tuple(attributes), outputs)


class _Expressions:
    """The tensors of one scope, each as the digest of the expression that gives it."""

    def __init__(self, scope: gs.Graph, names: _Names, opset: int) -> None:
        self._scope = scope
        self._opset = opset
        self._known = dict(names)
        self._producer = {id(t): node for node in scope.nodes for t in node.outputs if t.name}

    def of_outputs(self) -> tuple[str, ...]:
        """Return the expressions of the outputs; nodes that none of them needs do not count."""
        for node in self._in_order():
            constant = _constant_of(node)
            whole = "" if constant is not None else _digest(self._node(node))
            for at, tensor in enumerate(node.outputs):
                self._known[id(tensor)] = constant or f"{whole} {at}"
        return tuple(self._of(tensor) for tensor in self._scope.outputs)

    def _in_order(self) -> list[gs.Node]:
        found: list[gs.Node] = []
        seen: set[int] = set()
        pending = [(node, False) for node in reversed(self._scope.nodes)]
        while pending:
            node, entered = pending.pop()
            if entered:
                found.append(node)
            elif id(node) not in seen:
                seen.add(id(node))
                pending.append((node, True))
                made = (self._producer.get(id(t)) for t in node.inputs)
                pending += [(producer, False) for producer in made if producer is not None]
        return found

    def _node(self, node: gs.Node) -> tuple[Any, ...]:
        inputs = [self._of(tensor) for tensor in node.inputs]
        while inputs and not inputs[-1]:
            inputs.pop()
        version, defaults = _declared(node, self._opset)
        attributes = {name: _value(v, self._known, self._opset) for name, v in node.attrs.items()}
        stated = sorted((k, v) for k, v in attributes.items() if defaults.get(k) != v)
        return (node.op, node.domain or "", version, inputs, stated)

    def _of(self, tensor: gs.Tensor) -> str:
        if not tensor.name:
            return ""
        values = dense_values(tensor)
        if values is not None:
            return _of_values(values)
        return self._known.get(id(tensor), f"outside {tensor.name}")


def _declared(node: gs.Node, opset: int) -> tuple[int, Mapping[str, str]]:
    return _schema(str(node.op), opset) if is_standard(node) else (0, {})


@functools.lru_cache(maxsize=512)
def _schema(op: str, opset: int) -> tuple[int, Mapping[str, str]]:
    """Return the version of an operator at `opset`, and the defaults of its attributes."""
    version, defaults = declared(op, opset)
    return version, {name: _value(value, {}, opset) for name, value in defaults.items()}


def _constant_of(node: gs.Node) -> str | None:
    """Return the expression of a Constant node: that of the constant itself, where it is dense."""
    is_constant = node.op == "Constant" and is_standard(node)
    values = value_of_constant_node(node) if is_constant else None
    return None if values is None else _of_values(values)


def _of_values(values: np.ndarray[Any, Any]) -> str:
    data = tuple(values.flat) if values.dtype.kind == "O" else values.tobytes()
    return _digest((values.dtype.name, values.shape, data))


def _value(value: Any, known: _Names, opset: int) -> str:
    if isinstance(value, gs.Graph):
        names = dict(known) | {id(t): f"inner input {at}" for at, t in enumerate(value.inputs)}
        return _digest((len(value.inputs), _Expressions(value, names, opset).of_outputs()))
    if isinstance(value, gs.Node.AttributeRef):
        return f"@{value.name}: {value.type}"
    if isinstance(value, gs.Tensor):
        values = dense_values(value)
        return repr(value) if values is None else _of_values(values)
    if isinstance(value, AttributeProto):
        return _digest(value.SerializeToString(deterministic=True))
    if isinstance(value, bytes):
        return repr(value.decode(errors="backslashreplace"))
    if isinstance(value, list | tuple):
        return repr([_value(item, known, opset) for item in value])
    return repr(float(np.float32(value)) if isinstance(value, float) else value)


def _digest(value: Any) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
