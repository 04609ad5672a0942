"""Sizes behind windows and scales: pools, transposed convolutions, Resize."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....graph.view import View
from ...resizing import resized_shape
from ...windows.attributes import window_attributes
from .rule import Rule, RuntimeShape, values_of


def _rounds_up(node: gs.Node, opset: int) -> bool:
    """Inference counts a window that starts in the pad, and pads SAME by the dilated kernel."""
    if node.attrs.get("ceil_mode", 0):
        return True
    dilations = node.attrs.get("dilations") or ()
    bound = isinstance(dilations, gs.Node.AttributeRef)
    return (bound or any(size != 1 for size in dilations)) and _is_same(node)


def _pads_by_size(node: gs.Node, opset: int) -> bool:
    """Inference leaves `output_padding` out of what SAME pads, and `output_shape` lacks axes."""
    return _is_same(node) or "output_shape" in node.attrs


def _is_same(node: gs.Node) -> bool:
    auto = node.attrs.get("auto_pad", "NOTSET")
    if isinstance(auto, gs.Node.AttributeRef):
        return True
    return "SAME" in (auto.decode() if isinstance(auto, bytes) else str(auto))


def _windowed(node: gs.Node, view: View) -> RuntimeShape | None:
    x = view.shape(node.inputs[0])
    kernel, channels = node.attrs.get("kernel_shape"), None if x is None else x[1:2]
    if node.op == "ConvTranspose":
        weight = view.shape(node.inputs[1])
        if weight is None or not all(isinstance(size, int) for size in weight[1:]):
            return None
        kernel, channels = weight[2:], (weight[1] * node.attrs.get("group", 1),)
    if x is None or channels is None or not kernel or len(kernel) != len(x) - 2:
        return None
    window = window_attributes(node.op, node.attrs, kernel)
    return RuntimeShape((x[0], *channels, *window.outputs(x[2:])))


def _has_scales(node: gs.Node, opset: int) -> bool:
    """Inference multiplies scales in another precision, and keeps another ratio of sizes."""
    return True


def _resized(node: gs.Node, view: View) -> RuntimeShape | None:
    found = resized_shape(node, view, values_of(view))
    return None if found is None else RuntimeShape(found)


POOL = Rule(_rounds_up, _windowed)
CONV_TRANSPOSE = Rule(_pads_by_size, _windowed)
RESIZE = Rule(_has_scales, _resized)
