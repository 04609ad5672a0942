"""QuantizeLinear and DequantizeLinear as nodes, and beside a tensor."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ...core.variables import STANDARD_DOMAINS, is_standard
from ...graph.view import View

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_DOMAINS = STANDARD_DOMAINS | {"com.microsoft"}


def is_quantizer(node: gs.Node) -> bool:
    """Say whether `node` is a QuantizeLinear, of the standard or as ONNX Runtime extends it."""
    return node.op == QUANTIZE and node.domain in _DOMAINS


def is_dequantizer(node: gs.Node) -> bool:
    """Say whether `node` is a DequantizeLinear, of the standard or as ONNX Runtime extends it."""
    return node.op == DEQUANTIZE and node.domain in _DOMAINS


def quantizes_or_back(node: gs.Node) -> bool:
    """Say whether `node` is one of the two."""
    return is_quantizer(node) or is_dequantizer(node)


def is_dynamic_quantizer(node: gs.Node) -> bool:
    """Say whether `node` quantizes by the range that it finds, and gives the grid with it."""
    return node.op == "DynamicQuantizeLinear" and is_standard(node)


def converts(node: gs.Node) -> bool:
    """Say whether `node` makes integers of floats, by whichever grid, or floats of integers."""
    return quantizes_or_back(node) or is_dynamic_quantizer(node)


def dequantizer(tensor: gs.Tensor, view: View) -> gs.Node | None:
    """Return the DequantizeLinear of the standard that makes `tensor`, or None."""
    node = view.producer(tensor)
    found = node is not None and is_dequantizer(node) and is_standard(node)
    return node if found else None


def quantizer(tensor: gs.Tensor, view: View) -> gs.Node | None:
    """Return the QuantizeLinear of the standard that alone reads `tensor`, or None."""
    node = view.only_reader(tensor)
    found = node is not None and is_quantizer(node) and is_standard(node)
    return node if found and node is not None and node.inputs[0] is tensor else None
