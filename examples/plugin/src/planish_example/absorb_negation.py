"""Absorb a negation into the linear operator before it.

-(W x + b) = (-W) x + (-b)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from planish import Edit, Layer, Rewrite, RewritePass, View, need, read_layer, write_layer


@dataclass(frozen=True)
class AbsorbNegation(RewritePass):
    """Absorb Neg into the weights of the Conv, ConvTranspose, Gemm or MatMul before it.

    `largest`: layers with more weights than this keep theirs; 0 sets no bound.
    """

    name: ClassVar[str] = "absorb-negation"

    largest: int = 0

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Return the one rewrite of this pass."""
        return (_Absorb(self.largest),)


@dataclass(frozen=True)
class _Site:
    negation: gs.Node
    layer: Layer


@dataclass(frozen=True)
class _Absorb(Rewrite[_Site]):
    ops: ClassVar[frozenset[str]] = frozenset({"Neg"})

    largest: int

    def match(self, node: gs.Node, view: View) -> _Site | None:
        linear = view.producer(node.inputs[0])
        if linear is None or linear.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul", "Add"):
            return None  # no candidate: say nothing
        layer = read_layer(linear, view)  # declines what is no linear operator by itself
        need(view.read_only_by(layer.result, node), "its operand has other readers")
        need(
            not self.largest or layer.weight.size <= self.largest,
            f"its layer has {layer.weight.size} weights, more than {self.largest}",
        )
        return _Site(node, layer)

    def rewrite(self, site: _Site, edit: Edit) -> None:
        result = site.negation.outputs[0]
        edit.remove(site.negation)
        negated = site.layer.kernel().then_affine(np.full(site.layer.outputs, -1.0), None)
        write_layer(edit, site.layer, negated, result=result)
