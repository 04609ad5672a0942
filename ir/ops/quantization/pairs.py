"""Pairs: a QuantizeLinear, and the DequantizeLinears that alone read it.

    x -> QuantizeLinear -> q -> DequantizeLinear -> x'

Whoever inserted them: the node names and tensor names of the tools differ, the structure does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ...graph.view import View
from .nodes import is_dequantizer, is_quantizer
from .parameters import ConstantParameters, read_quantization


@dataclass(frozen=True)
class Pair:
    """A QuantizeLinear with the DequantizeLinears that alone read it."""

    quantizer: gs.Node
    dequantizers: tuple[gs.Node, ...]

    @property
    def source(self) -> gs.Tensor:
        """The tensor that is quantized, at this moment."""
        found: gs.Tensor = self.quantizer.inputs[0]
        return found

    def constants(self, view: View) -> ConstantParameters | None:
        """Return the parameters of the QuantizeLinear, None where they are computed."""
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
