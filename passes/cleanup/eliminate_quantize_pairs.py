"""Leave out dequantizing that the same quantizing undoes.

Q(DQ(q; s, z); s, z) = q

DQ gives (q - z) s, Q gives saturate(round(x / s) + z) (ONNX operators QuantizeLinear and
DequantizeLinear, opset 10 and later). The product and the quotient round once each, by at most one
unit u of the scale's type, so round() returns q - z as long as |q - z| 4u < 1; and q is in range,
so nothing saturates. The other order, DQ(Q(x)), rounds and saturates x, and stays.
A row Q -> DQ -> Q -> DQ of equal parameters becomes one pair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from ...ir.core import dtypes
from ...ir.core.decline import need
from ...ir.graph.view import View
from ...ir.ops.quantization.nodes import QUANTIZE, dequantizer
from ...ir.ops.quantization.parameters import ConstantParameters, read_quantization
from ..engine.rewrite import Rewrite, RewritePass
from .bypass import Bypass

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class EliminateQuantizePairs(RewritePass):
    """Remove DequantizeLinear followed by QuantizeLinear with the same scale, zero point and type.

    Scale and zero point must be constant; per tensor, per axis or in blocks.
    """

    name: ClassVar[str] = "eliminate-quantize-pairs"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite."""
        return (_RemovePair(),)


class _RemovePair(Bypass):
    ops = frozenset({QUANTIZE})

    def returned(self, node: gs.Node, view: View) -> gs.Tensor | None:
        first = dequantizer(node.inputs[0], view)
        if first is None:
            return None
        q = first.inputs[0]
        dtype = need(view.dtype(q), "the type of what was dequantized is unknown")
        need(dtype == view.dtype(node.outputs[0]), "it quantizes to another type")
        bounds = need(_bounds(dtype), f"{dtype} has no fixed step between its values")
        here, there = (_constants(n, view) for n in (node, first))
        need(_equal(here.scale, there.scale), "the scales differ")
        if here.scale.ndim:
            same = _same_axis(here.axis, there.axis, view.rank(q))
            need(same, "they quantize along different axes")
            need(here.block == there.block, "their blocks differ")
        zeros = (_zero_point(known, dtype) for known in (here, there))
        need(_equal(*zeros), "the zero points differ")
        _check_rounding(here.scale, bounds)
        return q


def _constants(node: gs.Node, view: View) -> ConstantParameters:
    stated = read_quantization(node)
    need(not (stated.precision or stated.unread), "it has attributes of a later opset")
    need(view.constant(stated.scale), f"the scale of {node.op} is not constant")
    return need(stated.constants(view.constant), f"the zero point of {node.op} is not constant")


def _zero_point(known: ConstantParameters, dtype: np.dtype[Any]) -> Array:
    return np.zeros(known.scale.shape, dtype) if known.zero_point is None else known.zero_point


def _equal(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and bool(np.all(a == b))


def _same_axis(a: int, b: int, rank: int | None) -> bool:
    return a == b or (rank is not None and a % rank == b % rank)


def _bounds(dtype: np.dtype[Any]) -> int | None:
    """Return the largest distance of two values of an integer type that Q can produce, or None."""
    if dtype.kind in "iu" and dtype.itemsize <= 2:
        return int(2 ** (8 * dtype.itemsize) - 1)
    return 15 if dtypes.bits(dtype) == 4 and "int" in dtype.name else None


def _check_rounding(scale: Array, distance: int) -> None:
    info = ml_dtypes.finfo(scale.dtype)
    need(distance * 2 * float(info.eps) < 1, f"{scale.dtype} is too coarse to undo the product")
    wide = np.abs(scale.astype(np.float64))
    need(np.all(wide >= float(info.tiny)), "a scale is zero, subnormal or no number")
    need(np.all(wide * distance <= float(info.max)), "a product with the scale may overflow")
