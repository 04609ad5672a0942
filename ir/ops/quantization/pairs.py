"""Pairs: a QuantizeLinear, and the DequantizeLinears that alone read it.

    x -> QuantizeLinear -> q -> DequantizeLinear -> x'

The two may have unlike scales s and s': x' is x s' / s on the grid then, and a scale of its own for
each channel goes in or out with the integers. What takes a pair away has to keep that factor.

A DynamicQuantizeLinear makes one with the DequantizeLinears that read its scale. Whoever inserted
them: the node names and tensor names of the tools differ, the structure does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...core.errors import PassError
from ...graph.view import View
from .nodes import is_dequantizer, is_dynamic_quantizer, is_quantizer, quantizer
from .parameters import ConstantParameters, read_quantization

Array = np.ndarray[Any, Any]


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

    def ratio(self, view: View) -> Array | None:
        """Return what the pair multiplies by, beside rounding, as it broadcasts against the source.

        None where that is nothing, or where scales are computed or blocks. Raises PassError where
        it has a value for each index of an axis and the rank of the source is unknown.
        """
        known = self._differing(view)
        if known is None:
            return None
        scales = [each.scale.astype(np.float64) for each in known]
        rank = view.rank(self.source)
        if rank is None and any(scale.size > 1 for scale in scales):
            raise PassError(f"the rank of '{self.source.name}' is not known; run infer-shapes")
        shaped = [
            scale.reshape(())
            if scale.size == 1
            else scale.reshape((-1,) + (1,) * (int(rank or 0) - each.axis % int(rank or 1) - 1))
            for scale, each in zip(scales, known, strict=True)
        ]
        return np.asarray(shaped[0] / shaped[1])

    def channel_ratio(self, view: View) -> Array | None:
        """Return the same [M] by channel, of whatever rank the source is; None for one number."""
        known = self._differing(view)
        if known is None or all(each.scale.size == 1 for each in known):
            return None
        behind, given = (each.scale.astype(np.float64).reshape(-1) for each in known)
        return np.asarray(behind / given)

    def _differing(self, view: View) -> tuple[ConstantParameters, ConstantParameters] | None:
        """Return the parameters of dequantizing and of quantizing, where they have other scales."""
        given, behind = (
            None if is_dynamic_quantizer(n) else read_quantization(n).constants(view.constant)
            for n in (self.quantizer, self.dequantizers[0])
        )
        if given is None or behind is None or given.block or behind.block:
            return None
        alike = behind.scale.shape == given.scale.shape and (behind.scale == given.scale).all()
        return None if alike else (behind, given)


def channel_scale(tensor: gs.Tensor, view: View) -> Array | None:
    """Return what the pair on `tensor` multiplies its channels by [M]; None for nothing."""
    first = quantizer(tensor, view)
    if first is None:
        return None
    # Nothing reads the integers of a layer that no output needs.
    behind = tuple(filter(is_dequantizer, view.readers(first.outputs[0])))
    return Pair(first, behind).channel_ratio(view) if behind else None


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
