"""Attributes back to their defaults, and operands that an operator can do without."""

from __future__ import annotations

import onnx

from .case import Case, graphs_of
from .search import DeltaSearch


def reduce_attributes(search: DeltaSearch) -> None:
    """Leave the attributes and the last operands without which the fault does not show."""
    places = [
        (g, n, attribute.name)
        for g, graph in enumerate(graphs_of(search.best.model.graph))
        for n, node in enumerate(graph.node)
        for attribute in node.attribute
        if not _is_required(search.best.model, node, attribute.name)
    ]
    for g, n, name in places:
        search.attempt(_without_attribute(search.best, g, n, name), "default attribute")
    for place in range(len(search.best.model.graph.node)):
        while _drop_last_input(search, place):
            pass


def _is_required(model: onnx.ModelProto, node: onnx.NodeProto, name: str) -> bool:
    versions = {each.domain: each.version for each in model.opset_import}
    domain = "" if node.domain == "ai.onnx" else node.domain
    try:
        schema = onnx.defs.get_schema(node.op_type, versions.get(domain, 1), domain)
    except onnx.defs.SchemaError:
        return False
    return name in schema.attributes and bool(schema.attributes[name].required)


def _without_attribute(case: Case, g: int, n: int, name: str) -> Case:
    made = case.copy()
    node = list(graphs_of(made.model.graph))[g].node[n]
    kept = [each for each in node.attribute if each.name != name]
    copies = [onnx.AttributeProto.FromString(each.SerializeToString()) for each in kept]
    del node.attribute[:]
    node.attribute.extend(copies)
    return made.with_graph(made.model.graph.node, made.model.graph.output)


def _drop_last_input(search: DeltaSearch, place: int) -> bool:
    nodes = search.best.model.graph.node
    if place >= len(nodes) or len(nodes[place].input) < 2:
        return False
    made = search.best.copy()
    del made.model.graph.node[place].input[-1]
    graph = made.model.graph
    return search.attempt(made.with_graph(graph.node, graph.output), "fewer operands")
