"""Which graph declares a constant: GraphSurgeon's constants belong to no graph."""

from __future__ import annotations

from collections.abc import Iterable

import onnx_graphsurgeon as gs

from ..core.variables import subgraphs_of
from .metadata import quantization_of


def constants_by_scope(graph: gs.Graph, *, annotated: bool) -> dict[int, list[gs.Constant]]:
    """Return the constants of `graph` and its subgraphs, by id of the graph that declares them.

    A constant belongs to the innermost graph that encloses all of its readers. `annotated`: those
    that quantization annotations alone name are among them.
    """
    homes: dict[int, tuple[gs.Constant, tuple[gs.Graph, ...]]] = {}

    def add_annotations(tensors: Iterable[gs.Tensor], path: tuple[gs.Graph, ...]) -> None:
        for tensor in tensors:
            for _, parameter in quantization_of(tensor):
                if isinstance(parameter, gs.Constant):
                    homes.setdefault(id(parameter), (parameter, path))

    def visit(scope: gs.Graph, path: tuple[gs.Graph, ...]) -> None:
        for tensor in (*scope.inputs, *scope.outputs):
            if isinstance(tensor, gs.Constant):
                homes.setdefault(id(tensor), (tensor, path))
        for node in scope.nodes:
            for tensor in node.inputs:
                if isinstance(tensor, gs.Constant):
                    _, known = homes.setdefault(id(tensor), (tensor, path))
                    if known is not path:
                        homes[id(tensor)] = (tensor, _common(known, path))
            for subgraph in subgraphs_of(node):
                visit(subgraph, (*path, subgraph))
        if annotated:
            made = (t for node in scope.nodes for t in (*node.outputs, *node.inputs))
            add_annotations((*scope.inputs, *made), path)

    visit(graph, (graph,))
    found: dict[int, list[gs.Constant]] = {}
    for constant, path in homes.values():
        found.setdefault(id(path[-1]), []).append(constant)
    return found


def _common(a: tuple[gs.Graph, ...], b: tuple[gs.Graph, ...]) -> tuple[gs.Graph, ...]:
    shared = [x for x, y in zip(a, b, strict=False) if x is y]
    return tuple(shared)
