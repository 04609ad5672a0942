"""Differences, and sums of two tensors, spelled as the sums that everything after reads.

a - (W x + b) = a + (-W x - b)        sum(a, b) = a + b
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.types import TensorType
from ....ir.graph.view import View
from ....ir.ops.linear.kernel import Kernel
from ....ir.ops.linear.layer import Layer, read_layer, read_with_bias, write_layer
from ....ir.ops.linear.storing import need_storable
from ....ir.ops.opsets import aligns, broadcasts
from ....ir.ops.traits.groups import LAYERS
from ...engine.rewrite import Rewrite
from ..shared_weights import SharedWeights


@dataclass(frozen=True)
class SubtractedLayer:
    """A difference, the layer it subtracts, and the negative kernel of that."""

    node: gs.Node
    layer: Layer
    kernel: Kernel
    type: TensorType | None


class AddNegative(Rewrite[SubtractedLayer]):
    """Add the negative of a layer instead of subtracting it: runtimes fuse sums with layers."""

    ops = frozenset({"Sub"})

    def __init__(self, shared: SharedWeights) -> None:
        self._shared = shared

    def match(self, node: gs.Node, view: View) -> SubtractedLayer | None:
        """Return the layer that is subtracted from what is no constant."""
        if not is_standard(node) or not aligns(node.op, view.opset):
            return None
        below = view.producer(node.inputs[1])
        if below is None or view.is_constant(node.inputs[0]):
            return None
        layer = _layer_at(below, view)
        if layer is None or layer.result is not node.inputs[1]:
            return None
        need(
            view.read_only_by(layer.result, node),
            f"the result of {layer.op} has other readers than the Sub",
        )
        self._shared.need_room(layer, view)
        kernel = layer.kernel().then_affine(np.full(layer.outputs, -1.0), None)
        need_storable(kernel, layer.weight.dtype)
        return SubtractedLayer(node, layer, kernel, view.type(layer.result))

    def rewrite(self, site: SubtractedLayer, edit: Edit) -> None:
        """Negate the layer and add it."""
        node = site.node
        edit.remove(node)
        write_layer(edit, site.layer, site.kernel, like=site.type)
        edit.node("Add", list(node.inputs), list(node.outputs), at=node)


def _layer_at(node: gs.Node, view: View) -> Layer | None:
    """Return the layer that ends with `node`; declines where it is one that cannot be read."""
    if not is_standard(node):
        return None
    if node.op in LAYERS:
        return read_with_bias(node, view)
    product = next((n for t in node.inputs if (n := view.producer(t)) and n.op == "MatMul"), None)
    return read_layer(node, view) if node.op == "Add" and product is not None else None


class AddTwo(Rewrite[gs.Node]):
    """Spell a Sum of two tensors as an Add."""

    ops = frozenset({"Sum"})

    def match(self, node: gs.Node, view: View) -> gs.Node | None:
        """Return a Sum of two."""
        both = is_standard(node) and len(node.inputs) == 2
        same = aligns("Add", view.opset) and broadcasts("Sum", view.opset)
        return node if both and same else None

    def rewrite(self, site: gs.Node, edit: Edit) -> None:
        """Put the Add in its place."""
        edit.remove(site)
        edit.node("Add", list(site.inputs), list(site.outputs), at=site)
