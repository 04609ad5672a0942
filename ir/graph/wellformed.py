"""What makes a graph well-formed: one producer a tensor, unique names, sorted, opsets declared."""

from __future__ import annotations

from collections import ChainMap

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
    nested = any(map(bool, outer.maps))

    def look_up(name: str) -> gs.Tensor | None:
        found = local.get(name)
        return outer.get(name) if found is None and nested else found

    for tensor in graph.inputs:
        if tensor.name in local:
            raise _second(tensor, "a graph input")
        if tensor.name:
            local[tensor.name] = tensor
    for node in graph.nodes:
        if node.domain not in domains:
            raise GraphError(
                f"node {label(node)} is of domain '{node.domain}', which the model's opset imports "
                "do not declare"
            )
        for tensor in node.inputs:
            name = tensor.name
            # The usual case first: this runs over all nodes after every pass that edits.
            if not name or local.get(name) is tensor:
                continue
            found = look_up(name)
            if found is None and isinstance(tensor, gs.Constant):
                local[name] = tensor
            elif found is not tensor:
                raise _misread(tensor, node, found)
        for subgraph in subgraphs_of(node) if node.attrs else ():
            _check_scope(subgraph, known, sorting, domains)
        for tensor in node.outputs:
            name = tensor.name
            if name in local:
                raise _second(tensor, f"an output of node {label(node)}")
            if name:
                local[name] = tensor
    for tensor in graph.outputs:
        if look_up(tensor.name) is not tensor and not isinstance(tensor, gs.Constant):
            raise GraphError(f"graph output '{tensor.name}' is produced by no node")


def _second(tensor: gs.Tensor, what: str) -> GraphError:
    return GraphError(f"two tensors are named '{tensor.name}'; the second is {what}")


def _misread(tensor: gs.Tensor, node: gs.Node, found: gs.Tensor | None) -> GraphError:
    """Return what is wrong with `node`, which reads `tensor`; `found` is what has its name."""
    if found is not None:
        return GraphError(
            f"node {label(node)} reads a tensor named '{tensor.name}', and another tensor "
            "has that name"
        )
    return GraphError(
        f"node {label(node)} reads tensor '{tensor.name}', which no node before it produces"
    )
