"""What tells a node from others, from everything to its operator alone."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ...ir.core.variables import STANDARD_DOMAINS
from ...ir.ops.traits.lookup import traits_of
from ...ir.ops.traits.schemas import default, schema_of
from ...ir.ops.windows.attributes import window_attributes
from .wiring import HeldConstant, Wiring

# From operator, attributes and weights down to the operator alone.
LEVELS = ("same", "shape", "sizes", "operator")


class Interned:
    """Small numbers for keys, the same for equal ones: hashes without collisions."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}

    def of(self, key: Hashable) -> int:
        """Return the number of `key`."""
        return self._known.setdefault(key, len(self._known))


class Signatures:
    """Numbers of the nodes of graphs, by level; see `LEVELS`.

    `same`: operator, attributes with their defaults, and constants by content; `shape`: those by
    shape and type; `sizes`: operator and shapes of constants; `operator`: that alone.
    """

    def __init__(self, interned: Interned) -> None:
        self._interned = interned

    def of(self, wiring: Wiring, level: str) -> list[int]:
        """Return the number of each node of `wiring`."""
        return [self._interned.of(self._key(wiring, i, level)) for i in range(len(wiring))]

    def _key(self, wiring: Wiring, index: int, level: str) -> Hashable:
        node, graph = wiring.nodes[index], wiring.graph
        operator = (domain_of(node), node.op)
        if level == "operator":
            return operator
        constants = tuple(
            (position, held.digest if level == "same" else held.shape)
            for position, held in wiring.constants(index)
        )
        if level == "sizes":
            return operator, constants
        attributes = tuple(
            (name, self._value(value, graph))
            for name, value in sorted(attributes_of(node, graph.opset).items())
        )
        if level == "shape":
            return operator, constants, attributes
        called = wiring.function(index)
        body = None if called is None else self.body(called, graph)
        return operator, constants, attributes, body

    def _value(self, value: Any, graph: gs.Graph) -> Hashable:
        if isinstance(value, gs.Graph):
            return self.body(value, graph)
        if isinstance(value, gs.Tensor):
            return _constant(value).digest
        return attribute_key(value)

    def body(self, scope: gs.Graph, graph: gs.Graph) -> int:
        """Return the number of a body or function of `graph`: all that it computes."""
        wiring = Wiring(scope, graph)
        own = self.of(wiring, "same")
        wires = tuple(
            (number, tuple((s.kind, s.index, s.port) for s in wiring.sources[index]))
            for index, number in enumerate(own)
        )
        shown = tuple(tuple(places) for places in wiring.shown)
        return self._interned.of(("body", wires, shown, len(scope.inputs)))


def _constant(tensor: gs.Tensor) -> HeldConstant:
    values = getattr(tensor, "values", None)
    return HeldConstant(tensor.name, values if isinstance(values, np.ndarray) else None)


def domain_of(node: gs.Node) -> str:
    """Return the domain of an operator; "" for the standard's, however it is spelled."""
    return "" if node.domain in STANDARD_DOMAINS else str(node.domain)


def attributes_of(node: gs.Node, opset: int) -> dict[str, Any]:
    """Return the attributes of a node, those that are left out with their defaults."""
    found = dict(node.attrs)
    if domain_of(node):
        return found
    schema = schema_of(node.op, opset)
    for name in () if schema is None else schema.attributes:
        value = None if name in found else default(node.op, name, opset)
        if value is not None:
            found[name] = value
    return found | _window(node, opset)


def _window(node: gs.Node, opset: int) -> dict[str, Any]:
    """Return the window of a convolution or pooling, whose defaults follow from its rank."""
    if any(isinstance(value, gs.Node.AttributeRef) for value in node.attrs.values()):
        return {}  # of a function's body: it depends on the call
    kernel = node.attrs.get("kernel_shape")
    if kernel is None and len(node.inputs) > 1 and isinstance(node.inputs[1], gs.Constant):
        kernel = node.inputs[1].shape[2:]
    if kernel is None or not traits_of(node, opset).windowed:
        return {}
    window = window_attributes(str(node.op), node.attrs, kernel)
    return {
        "kernel_shape": window.kernel,
        "strides": window.strides,
        "dilations": window.dilations,
        "pads": (*window.begins, *window.ends),
        "auto_pad": window.auto_pad,
    }


def attribute_key(value: Any) -> Hashable:
    """Return what is the same of equal values of an attribute."""
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.name, value.shape, value.tobytes())
    if isinstance(value, list | tuple):
        return tuple(attribute_key(each) for each in value)
    if isinstance(value, gs.Node.AttributeRef):
        return ("reference", value.name)
    if isinstance(value, onnx.AttributeProto):
        return bytes(value.SerializeToString(deterministic=True))
    if isinstance(value, bool | int | float | str | bytes):
        return float(value) if isinstance(value, int) else value
    return repr(value)
