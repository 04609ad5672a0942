"""Fold BatchNormalization into the linear operator before it.

BN(W x + b) = (s W) x + (s b + t)   with s = scale / sqrt(var + epsilon), t = bias - mean * s
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import onnx_graphsurgeon as gs

from ...ir.core.decline import need
from ...ir.core.variables import is_standard
from ...ir.graph.edit import Edit
from ...ir.graph.view import View
from ...ir.ops.linear.affine import read_affine, try_affine
from ...ir.ops.linear.layer import read_layer
from ...ir.ops.traits.groups import LAYERS
from ..engine.rewrite import Rewrite, RewritePass
from .fold_after import AffineAfterLayer, fold_after, site_after
from .shared_weights import SharedWeights


@dataclass(frozen=True)
class FoldBatchnorm(RewritePass):
    """Fold BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul that feeds it.

    Per-channel Mul, Div, Add, Sub and Neg between the two are taken in. The results between must
    have no other readers, and all parameters must be constant; they are folded in float64 and
    stored in the weight's own type.
    """

    name: ClassVar[str] = "fold-batchnorm"

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_FoldIntoProducer(SharedWeights()),)


class _FoldIntoProducer(Rewrite[AffineAfterLayer]):
    ops = frozenset({"BatchNormalization"})

    def __init__(self, shared: SharedWeights) -> None:
        self._shared = shared

    def match(self, node: gs.Node, view: View) -> AffineAfterLayer | None:
        affine = read_affine(node, view)
        if affine is None:
            return None
        chain = [affine]
        while True:
            linear = need(
                view.producer(chain[-1].source),
                "its input is a graph input, not the result of a linear operator",
            )
            between = None if linear.op == "BatchNormalization" else try_affine(linear, view)
            if between is None:
                break
            chain.append(between)
        need(
            linear.op in LAYERS and is_standard(linear),
            f"its input comes from {linear.op}, which is not a linear operator to fold into",
        )
        return site_after(read_layer(linear, view), chain[::-1], view, self._shared)

    def rewrite(self, site: AffineAfterLayer, edit: Edit) -> None:
        fold_after(site, edit)
