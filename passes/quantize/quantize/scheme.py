"""The number formats of one quantization."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ....ir.ops.opsets import opset_taking
from ....ir.ops.quantization.nodes import DEQUANTIZE
from ..grids.formats import IntegerFormat

_OPSET_OF_AXES = 13


@dataclass(frozen=True)
class QuantizationScheme:
    """Formats of weights and activations. `symmetric`: zero points in the middle of the range."""

    weights: IntegerFormat
    activations: IntegerFormat
    per_channel: bool = True
    symmetric: bool = False

    @property
    def opset(self) -> int:
        """Least opset that has both types, and scales along an axis (13)."""
        types = (self.weights.dtype, self.activations.dtype)
        return max(_OPSET_OF_AXES, *(opset_taking(DEQUANTIZE, dtype) or 0 for dtype in types))

    def with_weight_bits(self, bits: int) -> QuantizationScheme:
        """Return the scheme with weights of at most `bits` bits."""
        return replace(self, weights=replace(self.weights, bits=min(bits, self.weights.bits)))
