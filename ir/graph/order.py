"""Topological order, stable and in linear time (Kahn's algorithm)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ..core.errors import GraphError
from ..core.variables import label, subgraphs_of

_SHOWN = 6  # nodes of a cycle that an error names


def reads(node: gs.Node) -> list[gs.Tensor]:
    """Return what `node` reads: its inputs and what its subgraphs capture from outside."""
    found = [tensor for tensor in node.inputs if tensor.name]
    for subgraph in subgraphs_of(node):
        inside = {id(t) for inner in subgraph.nodes for t in inner.outputs}
        inside.update(id(t) for t in subgraph.inputs)
        for inner in subgraph.nodes:
            found += [tensor for tensor in reads(inner) if id(tensor) not in inside]
        found += [tensor for tensor in subgraph.outputs if id(tensor) not in inside]
    return found


def sort(graph: gs.Graph) -> None:
    """Sort `graph.nodes` topologically in place; nodes keep their order where they may.

    Raises GraphError naming the nodes of a cycle.
    """
    nodes = graph.nodes
    if _is_sorted(nodes):
        return
    index = {id(node): i for i, node in enumerate(nodes)}
    after: list[list[int]] = [[] for _ in nodes]
    waiting = [0] * len(nodes)
    sorted_already = True
    for i, node in enumerate(nodes):
        for tensor in reads(node):
            for producer in tensor.inputs:
                j = index.get(id(producer))
                if j is not None:
                    after[j].append(i)
                    waiting[i] += 1
                    sorted_already &= j < i
    if sorted_already:
        return
    ready = [i for i, count in enumerate(waiting) if count == 0]
    order: list[int] = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for j in after[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                heapq.heappush(ready, j)
    if len(order) < len(nodes):
        cycle = _cycle(waiting, after)
        shown = [label(nodes[i]) for i in cycle[:_SHOWN]]
        if len(cycle) > _SHOWN:
            shown.append("...")
        names = " -> ".join([*shown, label(nodes[cycle[0]])])
        raise GraphError(
            f"the graph has a cycle of {len(cycle)} nodes: {names}; a network must not read its "
            "own results, unroll it or use Loop or Scan"
        )
    graph.nodes = [nodes[i] for i in order]


def _is_sorted(nodes: Sequence[gs.Node]) -> bool:
    """Say whether nothing is made at or after the first node that reads it."""
    read: set[int] = set()
    for node in nodes:
        nests = node.attrs and subgraphs_of(node)
        read.update(map(id, reads(node) if nests else node.inputs))
        if not read.isdisjoint(map(id, node.outputs)):
            return False
    return True


def _cycle(waiting: list[int], after: list[list[int]]) -> list[int]:
    """Return one cycle among the nodes that still wait."""
    before = {j: i for i, count in enumerate(waiting) if count for j in after[i] if waiting[j]}
    node = next(iter(before))
    seen: dict[int, int] = {}
    walk: list[int] = []
    while node not in seen:
        seen[node] = len(walk)
        walk.append(node)
        node = before[node]
    return walk[seen[node] :][::-1]
