"""Requantization barriers: they keep float layers float between integer ones.

    DQ -> Conv -> Q    becomes    DQ -> Conv -> LeakyRelu(alpha = 1) -> Q

ONNX Runtime quantizes the weight of a Conv, ConvTranspose or Gemm by itself, with one scale for the
whole tensor, wherever a DequantizeLinear stands before and a QuantizeLinear behind, past a Relu or
Clip too. The layer that was left in float because it is fragile then gets the crudest weights of
all: with the first depthwise convolution of EfficientNet-Lite0 in float, the logits fall from 19.0
to 8.8 dB. A LeakyRelu of slope 1 is the identity, is not looked past, and costs nothing: it becomes
the convolution's activation. (Seen in ONNX Runtime 1.31 and 1.32.)
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.quantization.barriers import add_barrier
from ....ir.ops.quantization.nodes import dequantizer, quantizer
from ..qdq.units import BOUNDING

# What ONNX Runtime quantizes by itself: an observation, no trait.
_REQUANTIZED = frozenset({"Conv", "ConvTranspose", "Gemm"})


def insert_requantization_barriers(graph: gs.Graph, edit: Edit, view: View) -> None:
    """Put a LeakyRelu of slope 1 behind each layer of `graph` that a runtime would quantize."""
    for node in list(graph.nodes):
        if node.op in _REQUANTIZED and _is_between_integers(node, view) and edit.begin():
            result = node.outputs[0]
            source = edit.variable(f"{result.name}_float", view.type(result))
            readers = view.readers(result)
            edit.rename_output(node, result, source)
            add_barrier(edit, source, result, node)
            edit.replace(source, result, readers)


def _is_between_integers(node: gs.Node, view: View) -> bool:
    if not is_standard(node) or view.constant(node.inputs[1]) is None:
        return False
    if dequantizer(node.inputs[0], view) is None:
        return False
    result = node.outputs[0]
    reader = view.only_reader(result)
    if reader is not None and reader.op in BOUNDING:
        result = reader.outputs[0]
    return quantizer(result, view) is not None
