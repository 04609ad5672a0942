"""Fold per-channel Mul, Div, Add, Sub and Neg into the linear operator before them.

s * (W x + b) + t = (s W) x + (s b + t)        s2 * (s1 x + t1) + t2 = (s2 s1) x + (s2 t1 + t2)
a - (W x + b) = a + (-W x - b)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ....ir.core.decline import need
from ....ir.core.variables import is_standard
from ....ir.graph.edit import Edit
from ....ir.graph.view import View
from ....ir.ops.linear.affine import AFFINE_OPS, Affine, affine_below, is_chained, read_affine
from ....ir.ops.linear.layer import Layer, read_layer
from ....ir.ops.traits.groups import LAYERS
from ...engine.rewrite import Rewrite, RewritePass
from ..fold_after import AffineAfterLayer, fold_after, site_after
from ..shared_weights import SharedWeights
from .differences import AddNegative, AddTwo
from .merge import MergeAffine


@dataclass(frozen=True)
class FoldAffine(RewritePass):
    """Fold per-channel Mul, Div, Add, Sub and Neg into the linear operator before them.

    Chains of any length and order, BatchNormalization among them, go into Conv, ConvTranspose,
    Gemm or MatMul in float64, with one rounding. Where no linear operator is there to take a chain
    in, it becomes one Mul and one Add, or one BatchNormalization, if that is fewer operators. A
    linear operator that is subtracted from another tensor is negated and added, so that it may be
    fused with the sum; a Sum of two is an Add.
    """

    name: ClassVar[str] = "fold-affine"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the rewrites for chains after a linear operator, any others, and differences."""
        shared = SharedWeights()
        return (AddTwo(), FoldIntoLinear(shared), MergeAffine(), AddNegative(shared))


class FoldIntoLinear(Rewrite[AffineAfterLayer]):
    """Fold the whole chain that begins at a node into the linear operator that it reads."""

    ops = AFFINE_OPS

    def __init__(self, shared: SharedWeights) -> None:
        self._shared = shared

    def match(self, node: gs.Node, view: View) -> AffineAfterLayer | None:
        """Return the operator and the chain."""
        if node.op == "BatchNormalization" and not is_chained(node, view):
            return None  # fold-batchnorm takes it
        linear = linear_before(node, view)
        first = None if linear is None else read_affine(node, view)
        if linear is None or first is None or view.producer(first.source) is not linear:
            return None
        layer = read_layer(linear, view)
        need(
            first.on_channels(layer.rank, layer.axis, layer.outputs),
            f"its constant is not one value per channel of {layer.op}",
        )
        chain = affine_below(first, layer.rank, layer.axis, layer.outputs, view)
        if all(affine.is_batchnorm for affine in chain) or _is_bias_already(layer, chain):
            return None
        return site_after(layer, chain, view, self._shared)

    def rewrite(self, site: AffineAfterLayer, edit: Edit) -> None:
        """Write the operator anew, with other weights."""
        fold_after(site, edit)


def linear_before(node: gs.Node, view: View) -> gs.Node | None:
    """Return the linear operator that gives an operand of the affine operator `node`, or None."""
    for tensor in node.inputs[:2]:
        producer = view.producer(tensor)
        if producer is not None and producer.op in LAYERS and is_standard(producer):
            return producer
    return None


def _is_bias_already(layer: Layer, chain: Sequence[Affine]) -> bool:
    """Say whether `chain` is the one operator that a MatMul needs for its bias."""
    return layer.op == "MatMul" and len(chain) == 1 and chain[0].node.op == "Add"
