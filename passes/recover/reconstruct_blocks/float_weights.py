"""The float values that the integer weights of a graph were rounded from."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.variables import dense_values, node_key
from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import dequantizer
from ....ir.ops.traits.groups import LAYERS
from ...engine.context import Context
from ...quantize.qdq.pairs import Pairs
from ...quantize.qdq.scaled_weights import weights_between

Array = np.ndarray[Any, Any]


def float_weights(graph: gs.Graph, view: View, floats: gs.Graph) -> dict[str, Array]:
    """Return the weights of the same layer of `floats`, by the name of the integers in `graph`.

    Layers go by their name, or where nameless by what they give. Weights of another shape are none.
    """
    pairs = Pairs(graph, Context(graph))
    theirs_view = Context(floats).view()
    theirs = {node_key(node): node for node in floats.nodes if node.op in LAYERS}
    found = {}
    for node in graph.nodes:
        twin = theirs.get(node_key(node)) if node.op in LAYERS else None
        source = dequantizer(node.inputs[1], view) if twin is not None else None
        if twin is None or source is None:
            continue
        integers = dense_values(source.inputs[0])
        scaled = weights_between(node, twin, pairs, theirs_view)
        values = scaled.get(1, dense_values(twin.inputs[1]))
        if integers is not None and values is not None and integers.shape == values.shape:
            found[source.inputs[0].name] = values.astype(np.float32)
    return found
