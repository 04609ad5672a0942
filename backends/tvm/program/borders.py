"""How far the kernels of convolutions read around their input."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.graph.view import View
from ....ir.ops.quantization.nodes import is_dequantizer
from ..graph.linear_layer import linear_layer
from ..graph.quantized import quantization_of
from ..graph.spatial import SpatialWindow, read_sizes, read_transposed, read_window
from ..kernels.byte_depthwise import RowTaps, beyond
from ..kernels.dot import dot_of
from ..kernels.transposed import TransposedPhases
from ..spec.layout import Halo
from ..spec.machine import CpuMachine


def border_of(node: gs.Node, view: View, machine: CpuMachine) -> Halo | None:
    """Return how many positions before and behind each of three axes the kernel of a node reads.

    None for what is no convolution.
    """
    if node.op == "ConvTranspose":
        window, befores = read_transposed(node, view)
        return TransposedPhases(
            x=read_sizes(node.inputs[0], view),
            y=read_sizes(node.outputs[0], view),
            kernel=window.kernel,
            strides=window.strides,
            dilations=window.dilations,
            befores=befores,
        ).pads
    if node.op != "Conv":
        return None
    window = read_window(node, view)
    first, second, (low, high) = window.pads
    return first, second, (low, high + _columns_beyond(node, window, view, machine))


def _columns_beyond(node: gs.Node, window: SpatialWindow, view: View, machine: CpuMachine) -> int:
    """Return how many columns the kernel of a Conv reads behind its padding."""
    made = view.producer(node.inputs[0])
    layer = linear_layer(node, view)
    if made is None or not is_dequantizer(made) or layer is None:
        return 0
    grid = quantization_of(made, view)
    if grid is None or not layer.group == layer.inputs == layer.outputs or window.is_pointwise:
        return 0
    if dot_of(machine, grid.dtype) is None or window.dilations[2] != 1:
        return 0
    taps = RowTaps(window.kernel[2], window.strides[2])
    *_, columns = read_sizes(node.outputs[0], view)
    *_, width = read_sizes(node.inputs[0], view)
    return beyond(taps, columns, width + sum(window.pads[2]))
