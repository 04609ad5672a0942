"""Which linear operators have kernels of ours, on any device."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.decline import DeclinedError
from ....ir.core.variables import is_standard
from ....ir.graph.view import View
from ....ir.ops.linear.layer import Layer, read_layer
from ....ir.ops.linear.operators import reads_transposed
from ....ir.ops.traits.groups import LAYERS
from ....ir.ops.windows.attributes import read_window


def linear_layer(node: gs.Node, view: View) -> Layer | None:
    """Return a Conv, ConvTranspose, Gemm or MatMul as a layer with constant weights, or None."""
    if node.op not in LAYERS or not is_standard(node) or reads_transposed(node):
        return None
    try:
        layer = read_layer(node, view)
        return layer if _fits(layer, node, view) else None
    except DeclinedError:
        return None


def _fits(layer: Layer, node: gs.Node, view: View) -> bool:
    """Say whether the kernel lies inside the padded input: ONNX Runtime refuses a larger one."""
    shape = view.shape(node.inputs[0]) if layer.is_spatial else None
    return shape is None or read_window(node, view).fits(shape[2:])
