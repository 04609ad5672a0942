"""Layers that stay float have the weights that they had before rounding, bit for bit.

Rounded weights are worth their error for integers alone. The graph with float weights takes every
rewrite that the rounded one takes, so that its constants stand where those of the other do.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.core.variables import is_standard, node_key
from ....ir.graph.clone import clone
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.linear.layer import Layer, read_with_bias
from ....ir.ops.linear.operators import bias_of
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ...engine.float_layers import LayerWeights


def with_float_layers(graph: gs.Graph, context: Context) -> gs.Graph | None:
    """Return a copy of `graph` whose layers are as before rounding; None where none was rounded."""
    if not context.float_layers:
        return None
    copy = clone(graph)
    inner = context.on(copy).quietly()
    with inner.editing() as edit:
        view = inner.view()
        for node in list(copy.nodes):
            if node.op in LAYERS and is_standard(node):
                _restore(node, view, edit, context)
    return copy if inner.changed else None


def take_float_layers(
    graph: gs.Graph, context: Context, floats: gs.Graph, chosen: Collection[str]
) -> None:
    """Give the layers of `graph` that are not `chosen` for integers the constants of `floats`."""
    layers = [n for n in graph.nodes if n.op in LAYERS and node_key(n) not in chosen]
    _take_layers(graph, context, floats, layers)


def take_rounded_layer(graph: gs.Graph, context: Context, rounded: gs.Graph, chosen: str) -> None:
    """Give `graph`, whose layers are as before rounding, that called `chosen` of `rounded`."""
    layers = [n for n in graph.nodes if n.op in LAYERS and node_key(n) == chosen]
    _take_layers(graph, context, rounded, layers)


def _take_layers(
    graph: gs.Graph, context: Context, source: gs.Graph, layers: Iterable[gs.Node]
) -> None:
    theirs = {node_key(node): node for node in source.nodes}
    with context.editing() as edit:
        view = context.view()
        for layer in layers:
            for node in _nodes_with_constants(layer, view):
                twin = theirs.get(node_key(node))
                if twin is not None and twin.op == node.op:
                    _take_constants(node, twin, view, edit)


def _restore(node: gs.Node, view: View, edit: Edit, context: Context) -> None:
    try:
        layer = read_with_bias(node, view)
    except DeclinedError:
        return
    now = LayerWeights(layer.weight, layer.bias)
    before = context.float_layers.before(layer.result.name, now)
    if before is None or not edit.begin():
        return
    edit.set_input(node, 1, edit.constant(before.weight, node.inputs[1].name))
    place = _bias_place(layer)
    if place is not None:
        reader, position = place
        held = view.constant(reader.inputs[position])
        assert held is not None, "the layer was read"
        zeros = np.zeros(layer.outputs, held.dtype)
        bias = zeros if before.bias is None else before.bias
        shape = held.shape if held.size == bias.size else bias.shape
        edit.set_input(
            reader, position, edit.constant(bias.reshape(shape), reader.inputs[position].name)
        )


def _bias_place(layer: Layer) -> tuple[gs.Node, int] | None:
    """Return the node that reads the bias, and as which input; None where there is none."""
    if layer.added is not None:
        return layer.added, 1 if layer.added.inputs[0] is layer.node.outputs[0] else 0
    return None if bias_of(layer.node) is None else (layer.node, 2)


def _nodes_with_constants(layer: gs.Node, view: View) -> Iterator[gs.Node]:
    yield layer
    reader = view.only_reader(layer.outputs[0]) if layer.op == "MatMul" else None
    if reader is not None and reader.op == "Add":
        yield reader


def _take_constants(node: gs.Node, twin: gs.Node, view: View, edit: Edit) -> None:
    for position, (own, other) in enumerate(zip(node.inputs, twin.inputs, strict=False)):
        values = view.constant(own)
        if values is None or not isinstance(other, gs.Constant):
            continue
        if not np.array_equal(values, other.values) and edit.begin():
            edit.set_input(node, position, edit.constant(other.values, own.name))
