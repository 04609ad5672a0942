"""Operators whose result may jump where their data moves a little.

A float that two graphs round otherwise comes out of these as another integer, index or choice.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..core import dtypes
from ..core.variables import is_standard, subgraphs_of
from .traits import attribute, traits_of

# Those that no trait tells of: what they choose, count or draw depends on the order of numbers.
_CHOOSING = frozenset({
    "Bernoulli", "Compress", "Hardmax", "MaxRoiPool", "MaxUnpool", "Mod", "Multinomial",
    "NonMaxSuppression", "NonZero", "OneHot", "RoiAlign", "TopK", "Unique",
})  # fmt: skip
_INTEGERS_INSIDE = frozenset({"ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul"})


def jumps(node: gs.Node, opset: int) -> bool:
    """Say whether small changes of the floats that `node` reads may make large ones of a result.

    True of operators of which nothing is known.
    """
    if not is_standard(node):
        return True
    traits = traits_of(node, opset)
    op = str(node.op)
    if op in ("Cast", "CastLike"):
        to = attribute(node, "to", opset) if op == "Cast" else None
        return not isinstance(to, int) or not dtypes.is_float(dtypes.numpy_dtype(to))
    if traits.unary:
        return not (traits.continuous or traits.moves)
    if traits.quantizer:
        return op != "DequantizeLinear"
    if traits.comparison or traits.arg_reduction or op in _CHOOSING | _INTEGERS_INSIDE:
        return True
    bodies = [inner for body in subgraphs_of(node) for inner in body.nodes]
    return not traits.known or any(jumps(inner, opset) for inner in bodies)
