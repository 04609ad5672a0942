"""What makes a graph well-formed: one producer a tensor, unique names, sorted, opsets declared."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable

import onnx_graphsurgeon as gs

from ..core.errors import GraphError
from ..core.variables import label, subgraphs_of
from .order import sort


def check(graph: gs.Graph, *, sort: bool = False) -> None:
    """Raise GraphError, naming node and tensor, where `graph` is not well-formed.

    Checked in linear time: every tensor that is read has exactly one producer in its scope or an
    outer one, names are unique in their scope, nodes are sorted topologically (`sort=True` sorts
    them first) and every operator domain is imported. Subgraphs are included.
    """
    domains = {entry.domain for entry in graph.import_domains or ()}
    _check_scope(graph, ChainMap(), sort, domains | {"", None, "ai.onnx"})


def _check_scope(
    graph: gs.Graph,
    outer: ChainMap[str, gs.Tensor],
    sorting: bool,
    domains: set[str | None],
) -> None:
    if sorting:
        sort(graph)
    known = outer.new_child()
    local = known.maps[0]

    def declare(tensors: Iterable[gs.Tensor], node: gs.Node | None) -> None:
        for tensor in tensors:
            name = tensor.name
            if not name:
                continue
            if name in local:
                by = "a graph input" if node is None else f"an output of node {label(node)}"
                raise GraphError(f"two tensors are named '{name}'; the second is {by}")
            local[name] = tensor

    declare(graph.inputs, None)
    for node in graph.nodes:
        if node.domain not in domains:
            raise GraphError(
                f"node {label(node)} is of domain '{node.domain}', which the model's opset imports "
                "do not declare"
            )
        for tensor in node.inputs:
            name = tensor.name
            if not name or local.get(name) is tensor or known.get(name) is tensor:
                continue
            if isinstance(tensor, gs.Constant) and tensor.name not in known:
                local[tensor.name] = tensor
                continue
            if tensor.name in known:
                raise GraphError(
                    f"node {label(node)} reads a tensor named '{tensor.name}', and another tensor "
                    "has that name"
                )
            raise GraphError(
                f"node {label(node)} reads tensor '{tensor.name}', which no node before it produces"
            )
        for subgraph in subgraphs_of(node):
            _check_scope(subgraph, known, sorting, domains)
        declare(node.outputs, node)
    for tensor in graph.outputs:
        if known.get(tensor.name) is not tensor and not isinstance(tensor, gs.Constant):
            raise GraphError(f"graph output '{tensor.name}' is produced by no node")
