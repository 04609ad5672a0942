"""Where a weight stands in its network, told without names or the order of nodes.

place(w) = (what leads to its layer, what the layer is, what the layer leads to)

Only layers with weights, and operators where paths meet, count; activations, poolings and reshapes
do not, which exporters spell differently. Two weights of one place cannot be told apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

import onnx_graphsurgeon as gs

from ....ir.core import dtypes
from ....ir.graph.types import Types
from ....ir.ops.shapes.infer import infer_types
from ....ir.ops.traits import operators_with
from .parameters import NamedWeight

_COMMUTATIVE = operators_with(lambda traits: traits.commutative)
Place = tuple[int, str, int]


class Places:
    """Numbers for the places of several graphs: equal where the surroundings are equal."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}

    def of(self, graph: gs.Graph, parameters: Sequence[NamedWeight]) -> dict[Place, NamedWeight]:
        """Return the parameters of the main graph whose place no other one shares."""
        layers: dict[int, list[str]] = {}
        for each in parameters:
            if each.values.size == 1:
                continue  # a bound, or another number of an activation
            layers.setdefault(id(each.reader), []).append(each.kind)
        numbering = _ValueNumbering(graph, layers, self._numbers)
        places = [
            (numbering.place(each), each) for each in parameters if numbering.has(each.reader)
        ]
        times = Counter(place for place, _ in places)
        return {place: each for place, each in places if times[place] == 1}


class _ValueNumbering:
    def __init__(
        self, graph: gs.Graph, layers: dict[int, list[str]], numbers: dict[Hashable, int]
    ) -> None:
        self._numbers = numbers
        self._types: Types = infer_types(graph)
        self._before: dict[int, int] = {}  # by tensor: what leads to it
        self._behind: dict[int, set[int]] = {}  # by tensor: what reads it
        self._nodes = {id(node): node for node in graph.nodes}
        self._layers = layers
        for place, tensor in enumerate(graph.inputs):
            self._before[id(tensor)] = self._number(("input", place))
        for node in graph.nodes:
            self._forward(node)
        for tensor in graph.outputs:
            self._behind.setdefault(id(tensor), set()).add(self._number("output"))
        for node in reversed(graph.nodes):
            self._backward(node)

    def has(self, node: gs.Node) -> bool:
        return id(node) in self._nodes

    def place(self, parameter: NamedWeight) -> Place:
        node = parameter.reader
        before = self._number(("data", *(self._before[id(t)] for t in self._data(node))))
        return before, parameter.kind, self._after(node)

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))

    def _data(self, node: gs.Node) -> list[gs.Tensor]:
        """Return the inputs that carry data: known to come from a graph input, and no sizes."""
        found = []
        for tensor in node.inputs:
            if id(tensor) in self._before:
                kind = self._types.of(tensor)
                if kind is None or dtypes.is_float(kind.dtype):
                    found.append(tensor)
        return found

    def _name(self, node: gs.Node, before: Sequence[int]) -> Hashable | None:
        """Return what `node` is, or None where it changes nothing about the place."""
        kinds = self._layers.get(id(node))
        if kinds is not None:
            return kinds[0].partition(" of ")[2] or kinds[0]
        if len(before) == 1 or (node.op == "Mul" and len(set(before)) == 1):
            return None  # x * sigmoid(x) is an activation, spelled out
        return str(node.op)

    def _forward(self, node: gs.Node) -> None:
        before = [self._before[id(t)] for t in self._data(node)]
        if not before:
            return
        name = self._name(node, before)
        known = sorted(before) if node.op in _COMMUTATIVE else before
        number = before[0] if name is None else self._number((name, *known))
        for place, tensor in enumerate(node.outputs):
            self._before[id(tensor)] = number if not place else self._number((number, place))

    def _after(self, node: gs.Node) -> int:
        after = [tuple(sorted(self._behind.get(id(t), ()))) for t in node.outputs if t.name]
        return self._number(("after", *after))

    def _backward(self, node: gs.Node) -> None:
        data = self._data(node)
        name = self._name(node, [self._before[id(t)] for t in data])
        for place, tensor in enumerate(data):
            behind = self._behind.setdefault(id(tensor), set())
            if name is None:
                for result in node.outputs:
                    behind |= self._behind.get(id(result), set())
            else:
                slot = 0 if node.op in _COMMUTATIVE else place
                behind.add(self._number(("behind", name, slot, self._after(node))))
