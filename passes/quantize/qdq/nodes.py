"""QuantizeLinear and DequantizeLinear as nodes, and beside a tensor."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ....ir.core.variables import STANDARD_DOMAINS, is_standard
from ....ir.graph.view import View

_DOMAINS = STANDARD_DOMAINS | {"com.microsoft"}


def is_quantizer(node: gs.Node) -> bool:
    """Say whether `node` is a QuantizeLinear, of the standard or as ONNX Runtime extends it."""
    return node.op == "QuantizeLinear" and node.domain in _DOMAINS


def is_dequantizer(node: gs.Node) -> bool:
    """Say whether `node` is a DequantizeLinear, of the standard or as ONNX Runtime extends it."""
    return node.op == "DequantizeLinear" and node.domain in _DOMAINS


def dequantizer(tensor: gs.Tensor, view: View) -> gs.Node | None:
    """Return the DequantizeLinear that makes `tensor`, or None."""
    producer = view.producer(tensor)
    if producer is None or producer.op != "DequantizeLinear" or not is_standard(producer):
        return None
    return producer


def quantizer(tensor: gs.Tensor, view: View) -> gs.Node | None:
    """Return the QuantizeLinear that alone reads `tensor`, or None."""
    reader = view.only_reader(tensor)
    if reader is None or reader.op != "QuantizeLinear" or not is_standard(reader):
        return None
    return reader if reader.inputs[0] is tensor else None
