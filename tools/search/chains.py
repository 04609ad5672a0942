"""What stands in the place of a layer in a graph where it was replaced, and that alone elsewhere.

A pass that replaces a layer keeps the tensors before and behind it, by name: what lies between is
the substitute.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core.variables import node_key
from ...ir.graph.clone import clone
from .sites import LayerSite


def tensors_made(graph: gs.Graph) -> frozenset[str]:
    """Return the names of what `graph` takes and what its nodes make."""
    made = (tensor.name for node in graph.nodes for tensor in node.outputs)
    return frozenset([*made, *(tensor.name for tensor in graph.inputs)])


def substitutes_in(
    graph: gs.Graph, layers: Sequence[LayerSite], known: Collection[str]
) -> dict[str, list[gs.Node]]:
    """Return the nodes in the place of each layer that was replaced, by the layer's name, in order.

    `known`: the names of tensors before the replacement.
    """
    makers = _makers(graph)
    found = {}
    for site in layers:
        nodes = _between(site, makers, known)
        if sum(node.op == site.op for node in nodes) > 1:
            found[site.name] = nodes
    return found


def layers_in(
    graph: gs.Graph, layers: Sequence[LayerSite], known: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Return the names of the nodes that stand for each layer: itself, or its substitute's layers.

    None where another layer has taken it in.
    """
    makers, nodes = _makers(graph), {node_key(node) for node in graph.nodes}
    found = {}
    for site in layers:
        between = _between(site, makers, known)
        names = tuple(node_key(node) for node in between if node.op == site.op)
        found[site.name] = names or ((site.name,) if site.name in nodes else ())
    return found


def _makers(graph: gs.Graph) -> dict[str, gs.Node]:
    return {tensor.name: node for node in graph.nodes for tensor in node.outputs}


def _between(
    site: LayerSite, makers: Mapping[str, gs.Node], known: Collection[str]
) -> list[gs.Node]:
    """Return the nodes between `known` tensors and what the layer gives, in order."""
    nodes: list[gs.Node] = []
    pending = [makers[site.result]] if site.result in makers else []
    while pending:
        node = pending.pop()
        nodes.append(node)
        for tensor in node.inputs:
            maker = makers.get(tensor.name)
            if maker is not None and tensor.name not in known and maker not in nodes:
                pending.append(maker)
    return nodes[::-1]


def parameters_of(nodes: Sequence[gs.Node]) -> int:
    """Return how many numbers the constants of `nodes` hold."""
    shapes = [t.shape for node in nodes for t in node.inputs if isinstance(t, gs.Constant)]
    return int(sum(np.prod(shape) for shape in shapes))


def with_substitute(base: gs.Graph, site: LayerSite, nodes: Sequence[gs.Node]) -> gs.Graph:
    """Return `base` with `nodes` of another graph in the place of one layer."""
    copy = clone(base)
    place = next(i for i, node in enumerate(copy.nodes) if node_key(node) == site.name)
    own = {tensor.name: tensor for node in copy.nodes for tensor in (*node.inputs, *node.outputs)}
    own |= {tensor.name: tensor for tensor in copy.inputs}
    (last,) = (n for n in copy.nodes if any(t.name == site.result for t in n.outputs))
    gone = [copy.nodes[place]] + ([last] if last is not copy.nodes[place] else [])
    for node in gone:
        node.outputs.clear()
    fresh: dict[str, gs.Tensor] = {}

    def tensor(given: gs.Tensor) -> gs.Tensor:
        if isinstance(given, gs.Constant):
            return gs.Constant(f"{given.name}_of_{site.name}", given.values)
        return own.get(given.name) or fresh.setdefault(
            given.name, gs.Variable(given.name, given.dtype, given.shape)
        )

    made = [
        gs.Node(
            node.op,
            f"{site.name}_substitute_{number}",
            dict(node.attrs),
            inputs=[tensor(t) for t in node.inputs],
            outputs=[tensor(t) for t in node.outputs],
        )
        for number, node in enumerate(nodes)
    ]
    kept = [node for node in copy.nodes if not any(node is each for each in gone)]
    copy.nodes = [*kept[:place], *made, *kept[place:]]
    return copy
