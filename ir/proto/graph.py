"""The graphs that planish makes: GraphSurgeon's, shown in a line, pickled and copied at any depth.

GraphSurgeon's objects link to one another in both directions, which recurses as deep as a network
is and does not pickle. A graph is therefore taken apart into a flat list of its parts.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, SupportsIndex

import onnx_graphsurgeon as gs

from ..core.counted import counted
from ..core.shown import Shown, Summary
from ..core.variables import subgraphs_of
from .parts import Flat, restore, take_apart

_MOST_OPS = 4


class Graph(Shown, gs.Graph):  # type: ignore[misc]  # untyped
    """An `onnx_graphsurgeon.Graph` that a notebook, `pickle` and `copy` can handle."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what others ask of any object is no name of an operator
            raise AttributeError(f"graph '{self.__dict__.get('name')}' has no attribute '{name}'")
        return super().__getattr__(name)

    def __str__(self) -> str:
        """Return the line of `repr`; `gs.Graph.__str__(graph)` lists every node and tensor."""
        return repr(self)

    def _summary(self) -> Summary:
        ops = Counter(node.op for node in self.nodes)
        shown = [op if n == 1 else f"{n} {op}" for op, n in ops.most_common(_MOST_OPS)]
        rest = len(ops) - _MOST_OPS
        inner = ", ".join(shown + ([f"{rest} other operators"] if rest > 0 else []))
        nodes = counted(len(self.nodes), "node") + (inner and f" ({inner})")
        ports = f"{_ports(self.inputs)} -> {_ports(self.outputs)}"
        line = f"{self.name!r}: {ports}, {nodes}, opset {self.opset}"
        return Summary(line, [(str(n), op) for op, n in ops.most_common()], ("nodes", "operator"))

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Return what `pickle` and `copy` make another graph of, without recursion."""
        return _together, (take_apart([self]),)


def make_graph(nodes: list[gs.Node], *ports: list[gs.Tensor], **facts: Any) -> Graph:
    """Return `Graph(nodes, *ports, **facts)`, without a walk over nodes that hold no graphs."""
    if any(map(subgraphs_of, nodes)):
        return Graph(nodes, *ports, **facts)
    made = Graph([], *ports, **facts)
    made.nodes = nodes
    return made


def _together(flat: Flat) -> Any:
    return restore(flat)[0]


def _ports(tensors: list[gs.Tensor]) -> str:
    return ", ".join(
        t.name + ("" if t.shape is None else str(list(t.shape)).replace("'", ""))
        for t in tensors
        if isinstance(t, gs.Variable)
    )
