"""Pairs: a QuantizeLinear, and the DequantizeLinears that alone read it.

    x -> QuantizeLinear -> q -> DequantizeLinear -> x'

A DynamicQuantizeLinear makes one with the DequantizeLinears that read its scale. Whoever inserted
them: the node names and tensor names of the tools differ, the structure does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...graph.view import View
from .nodes import is_dequantizer, is_dynamic_quantizer, is_quantizer
from .parameters import ConstantParameters, read_quantization


@dataclass(frozen=True)
class Pair:
    """What quantizes a tensor, and the DequantizeLinears that read it."""

    quantizer: gs.Node
    dequantizers: tuple[gs.Node, ...]

    @property
    def source(self) -> gs.Tensor:
        """The tensor that is quantized, at this moment."""
        found: gs.Tensor = self.quantizer.inputs[0]
        return found

    def constants(self, view: View) -> ConstantParameters | None:
        """Return the parameters of the QuantizeLinear, None where they are computed."""
        if is_dynamic_quantizer(self.quantizer):
            return None
        return read_quantization(self.quantizer).constants(view.constant)


def find_pairs(view: View) -> Iterator[Pair]:
    """Yield the pairs on what is computed in the scope of `view`, in graph order."""
    for node in view.scope.nodes:
        if is_quantizer(node) and not view.is_constant(node.inputs[0]):
            readers = view.readers(node.outputs[0])
            if not readers or view.is_output(node.outputs[0]):
                continue
            if all(map(is_dequantizer, readers)):
                yield Pair(node, tuple(readers))
        elif is_dynamic_quantizer(node):
            readers = [n for n in view.readers(node.outputs[0]) if is_dequantizer(n)]
            scaled = tuple(n for n in readers if n.inputs[1] is node.outputs[1])
            if scaled:
                yield Pair(node, scaled)
