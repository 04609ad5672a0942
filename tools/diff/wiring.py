"""One scope of a graph as indices: who reads whom, and which constants."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.constant_nodes import dense_value_of_constant_node
from ...ir.core.dtypes import type_name
from ...ir.core.variables import dense_values
from ...ir.ops.traits.lookup import traits_of

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class HeldConstant:
    """A constant that a node reads, whether the file has it as an initializer or a Constant node.

    `values` is None of a sparse initializer, whose bytes are `raw`.
    """

    name: str
    values: Array | None
    raw: bytes = b""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of its axes."""
        return () if self.values is None else self.values.shape

    @property
    def type(self) -> str:
        """The name of its element type."""
        return "sparse" if self.values is None else type_name(self.values.dtype)

    @functools.cached_property
    def digest(self) -> bytes:
        """What is the same of constants with the same type, shape and bytes alone."""
        found = hashlib.blake2b(f"{self.type}{self.shape}".encode(), digest_size=16)
        if self.values is None:
            found.update(self.raw)
        elif self.values.dtype.kind in "OUS":
            found.update(repr(self.values.tolist()).encode())
        else:
            found.update(np.ascontiguousarray(self.values).view(np.uint8).data)
        return found.digest()


@dataclass(frozen=True)
class WireSource:
    """What stands at one input of a node.

    `index`: of the node that makes it, or of the graph input; `port`: which output of the node.
    """

    kind: Literal["node", "constant", "input", "outer", "absent"]
    index: int = -1
    port: int = 0
    constant: HeldConstant | None = None


class Wiring:
    """The nodes of a scope of `graph` in topological order, without those that hold a constant.

    - `sources[i]`: what node i reads, absent inputs at the end left out.
    - `commutes[i]`: whether the order of its inputs makes no difference; constants come last then.
    - `readers[i]`: the nodes that read a result of node i, each with the position, which is 0 for
      those that commute, and the port.
    - `shown[i]`: which outputs of the scope node i makes.
    """

    def __init__(self, scope: gs.Graph, graph: gs.Graph) -> None:
        self.scope, self.graph = scope, graph
        self._functions = {(f.domain, f.name): f for f in graph.functions}
        held: dict[int, HeldConstant] = {}
        self.nodes: list[gs.Node] = []
        for node in scope.nodes:
            value = dense_value_of_constant_node(node) if node.op == "Constant" else None
            if value is None:
                self.nodes.append(node)
            else:
                held[id(node.outputs[0])] = HeldConstant(node.outputs[0].name, value)
        made = {
            id(tensor): WireSource("node", index, port)
            for index, node in enumerate(self.nodes)
            for port, tensor in enumerate(node.outputs)
            if tensor.name
        }
        fed = {id(tensor): WireSource("input", index) for index, tensor in enumerate(scope.inputs)}
        self._known = fed | made
        self._held = held
        self.commutes = [traits_of(node, graph.opset).commutative for node in self.nodes]
        self.sources = [
            self._sources(node, commutes)
            for node, commutes in zip(self.nodes, self.commutes, strict=True)
        ]
        self.readers: list[list[tuple[int, int, int]]] = [[] for _ in self.nodes]
        for reader, sources in enumerate(self.sources):
            for position, source in enumerate(sources):
                if source.kind == "node":
                    place = 0 if self.commutes[reader] else position
                    self.readers[source.index].append((reader, place, source.port))
        self.shown: list[list[int]] = [[] for _ in self.nodes]
        for place, tensor in enumerate(scope.outputs):
            source = self._source(tensor)
            if source.kind == "node":
                self.shown[source.index].append(place)

    def __len__(self) -> int:
        return len(self.nodes)

    def constants(self, index: int) -> Iterator[tuple[int, HeldConstant]]:
        """Yield position and constant of each constant that node `index` reads."""
        for position, source in enumerate(self.sources[index]):
            if source.constant is not None:
                yield position, source.constant

    def function(self, index: int) -> gs.Function | None:
        """Return the local function that node `index` calls, None where it calls none."""
        node = self.nodes[index]
        return self._functions.get((node.domain or "", node.op))

    def producers(self, index: int) -> Iterator[int]:
        """Yield the nodes that node `index` reads."""
        return (source.index for source in self.sources[index] if source.kind == "node")

    def _sources(self, node: gs.Node, commutes: bool) -> tuple[WireSource, ...]:
        found = [self._source(tensor) for tensor in node.inputs]
        if commutes:
            found.sort(key=lambda source: source.constant is not None)
        while found and found[-1].kind == "absent":
            found.pop()
        return tuple(found)

    def _source(self, tensor: gs.Tensor) -> WireSource:
        if not tensor.name:
            return WireSource("absent")
        known = self._known.get(id(tensor))
        if known is not None:
            return known
        if isinstance(tensor, gs.Constant) and id(tensor) not in self._held:
            values = dense_values(tensor)
            raw = b"" if values is not None else repr(tensor._values).encode()
            self._held[id(tensor)] = HeldConstant(tensor.name, values, raw)
        if id(tensor) in self._held:
            return WireSource("constant", constant=self._held[id(tensor)])
        return WireSource("outer")
